"""SavedModel folders: a tensor bundle in `variables/`, and in `saved_model.pb` what the variables are part of.

TensorFlow 2 stores an object graph there whose nodes carry Keras's class names and configurations; it is matched with
the bundle's own object graph by walking both from the root, as TensorFlow's loader does, not by node number.
TensorFlow 1 stores a graph with its variable collections.

Sources: tensorflow/core/protobuf/saved_model.proto, saved_object_graph.proto, tensorflow/python/saved_model/load.py,
tensorflow/python/keras/protobuf/saved_metadata.proto (`keras_metadata.pb`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ckptkit.errors import CkptkitError, FormatError, LimitError
from ckptkit.formats.json_text import parse_json
from ckptkit.formats.tensorflow.bundle import reader as bundle
from ckptkit.formats.tensorflow.bundle.object_graph import MAX_NODES, parse_children
from ckptkit.formats.tensorflow.layout import GRAPH_FILE, KERAS_METADATA_FILE, VARIABLES, variables_prefix
from ckptkit.formats.tensorflow.meta_graph import MAX_PART_BYTES, NO_META, Meta, read_meta_graph
from ckptkit.formats.tensorflow.names import INDEX_SUFFIX
from ckptkit.formats.tensorflow.saved_model.tables import SavedModelSource, find_files, find_tables
from ckptkit.formats.tensorflow.wire import (
    Buffer,
    field_bytes,
    length_tag,
    naming,
    number,
    parse_fields,
    scan_fields,
    text,
    varint_tag,
)
from ckptkit.model import Contents, ObjectGraph, StoredAsset, StoredTensor, TensorSource
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.storage.address import Address


@dataclass(frozen=True, slots=True)
class SavedObject:
    """A node of a `SavedObjectGraph`.

    Attributes:
        children: (name, node).
        identifier: what it is (`_tf_keras_layer`), or None.
        metadata: JSON text of Keras's description; empty when there is none.
        name: for a variable its own name, else empty.
        trainable: for a variable, else None.
    """

    children: tuple[tuple[str, int], ...] = ()
    identifier: str | None = None
    metadata: bytes = b""
    name: str = ""
    trainable: bool | None = None


def files(folder: Address) -> tuple[Address, ...]:
    """Graphs and variables of the SavedModel `folder`."""
    return (folder.join(GRAPH_FILE), folder.join(KERAS_METADATA_FILE), *bundle.files(variables_prefix(folder)))


def open(folder: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """Open the variables of the SavedModel `folder`, with all that its graph tells of them.

    Raises:
        CkptkitError: it has no variables, or their bundle cannot be read. A graph that cannot be read is a note.
    """
    prefix = variables_prefix(folder)
    if not prefix.add(INDEX_SUFFIX).is_file():
        raise FormatError(
            "the SavedModel holds no variables", path=folder, expected=f"{VARIABLES}/{VARIABLES}{INDEX_SUFFIX}",
            hint="Frozen graphs keep their weights as constants, which are not read.",
        )  # fmt: skip
    contents, source = bundle.open(prefix)
    graphs = _read_graphs(folder)
    meta, objects, notes = graphs.meta, graphs.objects, graphs.notes
    files = find_files(folder)
    contents = replace(
        contents,
        assets=(*contents.assets, *graphs.tables, *files),
        format="saved-model",
        producer=meta.producer or contents.producer,
        meta_graph=meta.graph or contents.meta_graph,
        notes=(*contents.notes, *meta.notes, *notes),
    )
    if meta.graph and not contents.structure:
        trainable = {variable.name: variable.trainable for variable in meta.graph.variables}
        contents = replace(
            contents, tensors=tuple(replace(each, trainable=trainable.get(each.key)) for each in contents.tensors)
        )
    if isinstance(contents.structure, ObjectGraph) and objects:
        contents = _merge(contents, contents.structure, objects)
    return contents, SavedModelSource(source, folder) if files else source


@dataclass(frozen=True, slots=True)
class _Graphs:
    """What `saved_model.pb` and `keras_metadata.pb` tell."""

    meta: Meta = NO_META
    objects: tuple[SavedObject, ...] = ()
    tables: tuple[StoredAsset, ...] = ()
    notes: tuple[str, ...] = ()


def _read_graphs(folder: Address) -> _Graphs:
    meta = NO_META
    objects: tuple[SavedObject, ...] = ()
    tables: tuple[StoredAsset, ...] = ()
    path = folder.join(GRAPH_FILE)
    if not path.is_file():
        return _Graphs(notes=(f"without {GRAPH_FILE}: only the variables are known",))
    try:
        storage = path.open()
        try:
            with naming(path.text):
                meta = _read_first_graph(storage)
                if meta.object_graph:
                    described = _read_keras_metadata(folder.join(KERAS_METADATA_FILE))
                    body = _read_part(storage, *meta.object_graph)
                    objects = parse_saved_objects(body, described)
                    if meta.graph_def:
                        tables = find_tables(body, partial(_read_part, storage, *meta.graph_def))
        finally:
            storage.close()
    except CkptkitError as error:
        return _Graphs(meta, objects, (), (f"what the variables are part of is not known: {error}",))
    return _Graphs(meta, objects, tables)


def _read_first_graph(storage: Storage) -> Meta:
    """The first `MetaGraphDef`: TensorFlow 2 writes one, TensorFlow 1 several over the same variables."""
    for tag, begin, end in scan_fields(storage, 0, storage.size):
        if tag == length_tag(2):
            return read_meta_graph(storage, begin, end)
    return NO_META


def _read_part(storage: Storage, begin: int, end: int) -> bytearray:
    if end - begin > MAX_PART_BYTES:
        raise LimitError("the object graph is too large", expected=f"at most {MAX_PART_BYTES} bytes", found=end - begin)
    return read(storage, begin, end - begin)


def _read_keras_metadata(path: Address) -> dict[int, tuple[str, bytes]]:
    """Node number -> (identifier, JSON text) from TensorFlow 2.5 to 2.15's `keras_metadata.pb`; empty without one."""
    if not path.is_file():
        return {}
    storage = path.open()
    try:
        with naming(path.text):
            data = _read_part(storage, 0, storage.size)
            described = {}
            for tag, node in parse_fields(data):
                if tag == length_tag(1):
                    place, identifier, metadata = 0, "", b""
                    for inner, value in parse_fields(field_bytes(node)):
                        if inner == varint_tag(2):
                            place = number(value)
                        elif inner == length_tag(4):
                            identifier = text(value)
                        elif inner == length_tag(5):
                            metadata = field_bytes(value)
                    described[place] = (identifier, metadata)
            return described
    finally:
        storage.close()


def parse_saved_objects(data: Buffer, described: Mapping[int, tuple[str, bytes]]) -> tuple[SavedObject, ...]:
    """The nodes of a `SavedObjectGraph`; references that lead nowhere are left out.

    Args:
        data: the message.
        described: identifier and metadata of nodes, which take precedence over those in the message.
    """
    bodies = [field_bytes(value) for tag, value in parse_fields(data) if tag == length_tag(1)]
    if len(bodies) > MAX_NODES:
        raise LimitError("the object graph is too large", expected=f"at most {MAX_NODES} nodes", found=len(bodies))
    return tuple(_parse_saved_object(body, len(bodies), described.get(place)) for place, body in enumerate(bodies))


def _parse_saved_object(data: bytes, count: int, described: tuple[str, bytes] | None) -> SavedObject:
    children: list[Buffer] = []
    identifier, metadata = described or ("", b"")
    name, trainable = "", None
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            children.append(field_bytes(value))
        elif tag == length_tag(4) and not described:
            for inner, part in parse_fields(field_bytes(value)):
                if inner == length_tag(1):
                    identifier = text(part)
                elif inner == length_tag(3):
                    metadata = field_bytes(part)
        elif tag == length_tag(7):
            trainable = False
            for inner, part in parse_fields(field_bytes(value)):
                if inner == varint_tag(3):
                    trainable = bool(part)
                elif inner == length_tag(6):
                    name = text(part)
    return SavedObject(parse_children(children, count, []), identifier or None, metadata, name, trainable)


def _merge(contents: Contents, graph: ObjectGraph, objects: tuple[SavedObject, ...]) -> Contents:
    """`contents` with what `objects` tell of its nodes and variables."""
    counterpart = _counterparts(graph, objects)
    nodes, trainable, names = [], {}, {}
    for place, node in enumerate(graph.nodes):
        saved = objects[counterpart[place]] if place in counterpart else None
        if saved is None:
            nodes.append(node)
            continue
        nodes.append(replace(node, identifier=saved.identifier, metadata=_parse_metadata(saved.metadata)))
        for attribute in node.attributes:
            trainable[attribute.key] = saved.trainable
            names[attribute.key] = saved.name.removesuffix(":0")
    tensors = tuple(_described(tensor, trainable, names) for tensor in contents.tensors)
    return replace(contents, tensors=tensors, structure=ObjectGraph(tuple(nodes)))


def _counterparts(graph: ObjectGraph, objects: tuple[SavedObject, ...]) -> dict[int, int]:
    """Bundle node -> saved node that is reached by the same names; each is visited once."""
    counterpart = {0: 0}
    pending = [0]
    while pending:
        place = pending.pop()
        saved = dict(objects[counterpart[place]].children)
        for name, child in graph.nodes[place].children:
            if child not in counterpart and name in saved:
                counterpart[child] = saved[name]
                pending.append(child)
    return counterpart


def _parse_metadata(metadata: bytes) -> Mapping[str, Any] | None:
    """Keras's description of an object; None when there is none that can be read."""
    if not metadata:
        return None
    try:
        value = parse_json(metadata, path=GRAPH_FILE)
    except CkptkitError:
        return None
    return value if isinstance(value, dict) else None


def _described(tensor: StoredTensor, trainable: Mapping[str, bool | None], names: Mapping[str, str]) -> StoredTensor:
    name = names.get(tensor.key)
    aliases = tensor.aliases or ((name,) if name and name != tensor.key else ())
    return replace(tensor, trainable=trainable.get(tensor.key), aliases=aliases)
