"""TensorFlow 1's `MetaGraphDef`: in a `.meta` file beside a checkpoint, and inside `saved_model.pb`.

It tells what a checkpoint of names alone does not: the order in which variables were made, which are trainable, the
partitions that belong together. The file can hold constants of any size; only what is needed is read from it.

Sources: tensorflow/core/protobuf/meta_graph.proto; variable.proto, graph.proto and node_def.proto in
tensorflow/core/framework.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.formats.tensorflow.wire import (
    Buffer,
    field_bytes,
    length_tag,
    naming,
    parse_fields,
    scan_fields,
    text,
)
from ckptkit.model import GraphOp, MetaGraph, MetaVariable
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.storage.address import Address

MAX_PART_BYTES = 64 << 20
"""Most bytes of a graph, a collection or an object graph that are read; a larger one is left out and said."""

MAX_FLOW_BYTES = 4 << 20
"""Largest graph of which the edges between nodes are read: about 30,000 nodes, which take half a second."""

# Nodes of training and saving, which use weights backwards or write them (`tf.gradients`, `Optimizer`, `Saver`).
_BACKWARDS = re.compile(rb"(^|/)(gradients(_[0-9]+)?|save(_[0-9]+)?|Initializer|report_uninitialized_variables)/")

# Collections whose items are `VariableDef`s, in the order in which creation order is taken from them
# (tensorflow/python/framework/ops.py, `GraphKeys`).
_VARIABLE_COLLECTIONS = (
    "variables",
    "local_variables",
    "metric_variables",
    "model_variables",
    "moving_average_variables",
    "global_step",
    "trainable_variables",
)

# Types of nodes that use weights, by which a variable's role can be told when its name does not
# (tensorflow/core/ops/nn_ops.cc, math_ops.cc, array_ops.cc, cudnn_rnn_ops.cc).
_WEIGHT_OPS = frozenset(
    {
        b"BatchMatMul", b"BatchMatMulV2", b"BatchNormWithGlobalNormalization", b"BiasAdd", b"Conv2D",
        b"Conv2DBackpropInput", b"Conv3D", b"Conv3DBackpropInputV2", b"CudnnRNN", b"CudnnRNNV2", b"CudnnRNNV3",
        b"DepthwiseConv2dNative", b"Einsum", b"FusedBatchNorm", b"FusedBatchNormV2", b"FusedBatchNormV3", b"GatherV2",
        b"Gather", b"MatMul", b"ResourceGather",
    }
)  # fmt: skip

# The output of a node that another takes: `name` is its first one.
_INPUT = re.compile(r":[0-9]{1,9}$")

_META_INFO, _GRAPH, _COLLECTION, _OBJECT_GRAPH = length_tag(1), length_tag(2), length_tag(4), length_tag(7)


@dataclass(frozen=True, slots=True)
class Meta:
    """What a `MetaGraphDef` tells.

    Attributes:
        graph: its variables; None when it lists none.
        producer: "TensorFlow 1.15.0", or None.
        object_graph: place of the `SavedObjectGraph` in the file, or None.
        graph_def: place of the `GraphDef` in the file, or None.
        notes: what could not be read of it.
    """

    graph: MetaGraph | None = None
    producer: str | None = None
    object_graph: tuple[int, int] | None = None
    graph_def: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


NO_META = Meta()
"""No file, nothing known."""


def read_meta(path: Address) -> Meta:
    """What the `.meta` file `path` tells; one that cannot be read is a note, since the weights do not depend on it."""
    try:
        with closing(path.open()) as storage, naming(path.text):
            return read_meta_graph(storage, 0, storage.size)
    except CkptkitError as error:
        return Meta(notes=(f"the graph beside it is not used: {error}",))


def read_meta_graph(storage: Storage, begin: int, end: int) -> Meta:
    """What the `MetaGraphDef` at bytes `begin` to `end` of `storage` tells.

    Raises:
        FormatError: it is malformed.
    """
    collections: dict[str, list[bytes]] = {}
    ops: dict[str, str] = {}
    read_nodes = None
    producer: str | None = None
    object_graph: tuple[int, int] | None = None
    graph_def: tuple[int, int] | None = None
    notes = []
    for tag, first, last in scan_fields(storage, begin, end):
        if tag == _OBJECT_GRAPH:
            object_graph = (first, last)
        elif tag not in (_META_INFO, _GRAPH, _COLLECTION):
            continue
        elif last - first > MAX_PART_BYTES:
            notes.append(f"a part of the graph of {last - first} bytes was left out")
        elif tag == _META_INFO:
            producer = _parse_producer(read(storage, first, last - first))
        elif tag == _GRAPH:
            graph_def = (first, last)
            graph = read(storage, first, last - first)
            ops = _parse_ops(memoryview(graph))
            read_nodes = partial(parse_nodes, bytes(graph)) if len(graph) <= MAX_FLOW_BYTES else None
        else:
            name, variables = _parse_collection(read(storage, first, last - first))
            if name in _VARIABLE_COLLECTIONS:
                collections[name] = variables
    found = tuple(_variables(collections))
    return Meta(MetaGraph(found, ops, read_nodes) if found else None, producer, object_graph, graph_def, tuple(notes))


def _parse_producer(data: Buffer) -> str | None:
    for tag, value in parse_fields(data):
        if tag == length_tag(5) and value:
            return f"TensorFlow {text(value)}"
    return None


def _parse_ops(data: memoryview) -> dict[str, str]:
    """Name -> type of the nodes of a `GraphDef` that use weights."""
    ops = {}
    for tag, node in parse_fields(data):
        if tag != length_tag(1) or isinstance(node, int):
            continue
        name: Buffer = b""
        for inner, value in parse_fields(node):
            if inner == length_tag(1):
                name = field_bytes(value)
            elif inner == length_tag(2):
                kind = field_bytes(value)
                if kind in _WEIGHT_OPS:
                    ops[text(name)] = text(kind)
                break  # attributes follow, and may hold constants of any size
    return ops


def parse_nodes(data: bytes) -> tuple[GraphOp, ...]:
    """The nodes of a `GraphDef` that run forwards, with their inputs; none where one of them is malformed."""
    nodes = []
    try:
        for tag, node in parse_fields(data):
            if tag == length_tag(1) and not isinstance(node, int):
                nodes.append(_parse_node(node))
    except CkptkitError:
        return ()
    return tuple(node for node in nodes if node is not None)


def _parse_node(data: Buffer) -> GraphOp | None:
    name: Buffer = b""
    kind: Buffer = b""
    inputs: list[Buffer] = []
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            name = field_bytes(value)
            if _BACKWARDS.search(name):
                return None
        elif tag == length_tag(2):
            kind = field_bytes(value)
        elif tag == length_tag(3):
            inputs.append(field_bytes(value))
        else:
            break  # attributes follow, and may hold constants of any size
    taken = tuple(_INPUT.sub("", text(source)) for source in inputs if source[:1] != b"^")
    return GraphOp(text(name), text(kind), taken)


def _parse_collection(data: Buffer) -> tuple[str, list[bytes]]:
    """Name and items of an entry of `collection_def`; no items when they are not byte strings."""
    name, items = "", []
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            name = text(value)
        elif tag == length_tag(2):
            for kind, values in parse_fields(field_bytes(value)):
                if kind == length_tag(2):
                    items += [field_bytes(item) for inner, item in parse_fields(field_bytes(values)) if inner == 0x0A]
    return name, items


def _variables(collections: dict[str, list[bytes]]) -> Iterator[MetaVariable]:
    """Every variable once, in order of creation: a collection lists its own in that order."""
    member_of: dict[str, dict[str, None]] = {}
    for collection in _VARIABLE_COLLECTIONS:
        for definition in collections.get(collection, ()):
            name = _parse_variable_name(definition)
            if name:
                member_of.setdefault(name, {})[collection] = None
    for name, names in member_of.items():
        yield MetaVariable(name, "trainable_variables" in names, tuple(names))


def _parse_variable_name(data: Buffer) -> str:
    """The name under which a `VariableDef` is saved: its own, or that of the variable it is a partition of."""
    name = whole = ""
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            name = text(value)
        elif tag == length_tag(4):
            whole = next((text(inner) for kind, inner in parse_fields(field_bytes(value)) if kind == 0x0A), "")
    return whole or name.removesuffix(":0")
