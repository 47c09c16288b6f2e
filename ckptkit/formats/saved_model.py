"""SavedModel folders: a tensor bundle in `variables/`, and in `saved_model.pb` what the variables are part of.

TensorFlow 2 stores an object graph there whose nodes carry Keras's class names and configurations; it is matched with
the bundle's own object graph by walking both from the root, as TensorFlow's loader does, not by node number.
TensorFlow 1 stores a graph with its variable collections.

Sources: tensorflow/core/protobuf/saved_model.proto, saved_object_graph.proto, tensorflow/python/saved_model/load.py,
tensorflow/python/keras/protobuf/saved_metadata.proto (`keras_metadata.pb`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import CkptkitError, FormatError, LimitError
from ckptkit.formats.json_text import parse_json
from ckptkit.formats.meta_graph import MAX_PART_BYTES, NO_META, Meta, read_meta_graph
from ckptkit.formats.names import INDEX_SUFFIX, add, files_below, is_file, join
from ckptkit.formats.storage import Storage, open_storage, read
from ckptkit.formats.tensor_bundle import open_bundle, rewrite_bundle
from ckptkit.formats.tensor_bundle.object_graph import MAX_NODES, parse_children
from ckptkit.formats.wire import (
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
from ckptkit.model import WRITE_BYTES, Contents, ObjectGraph, StoredTensor, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

GRAPH_FILE = "saved_model.pb"
TEXT_GRAPH_FILE = "saved_model.pbtxt"
KERAS_METADATA_FILE = "keras_metadata.pb"
FINGERPRINT_FILE = "fingerprint.pb"
VARIABLES = "variables"


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


def is_saved_model(folder: str) -> bool:
    """Whether `folder` is a SavedModel, or what is left of one: its graph file, or a bundle in its `variables`."""
    names = (GRAPH_FILE, TEXT_GRAPH_FILE, join(VARIABLES, VARIABLES + INDEX_SUFFIX))
    return any(is_file(join(folder, name)) for name in names)


def variables_prefix(folder: str) -> str:
    """Prefix of the bundle inside the SavedModel `folder`."""
    return join(join(folder, VARIABLES), VARIABLES)


def open_saved_model(folder: str) -> tuple[Contents, TensorSource]:
    """Open the variables of the SavedModel `folder`, with all that its graph tells of them.

    Raises:
        CkptkitError: it has no variables, or their bundle cannot be read. A graph that cannot be read is a note.
    """
    prefix = variables_prefix(folder)
    if not is_file(add(prefix, INDEX_SUFFIX)):
        raise FormatError(
            "the SavedModel holds no variables", path=folder, expected=f"{VARIABLES}/{VARIABLES}{INDEX_SUFFIX}",
            hint="Frozen graphs keep their weights as constants, which are not read.",
        )  # fmt: skip
    contents, source = open_bundle(prefix)
    meta, objects, notes = _read_graphs(folder)
    contents = replace(
        contents,
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
    return contents, source


def _read_graphs(folder: str) -> tuple[Meta, tuple[SavedObject, ...], list[str]]:
    """Graph, objects and notes of `saved_model.pb` and `keras_metadata.pb`."""
    meta, notes = NO_META, list[str]()
    objects: tuple[SavedObject, ...] = ()
    path = join(folder, GRAPH_FILE)
    if not is_file(path):
        return meta, objects, [f"without {GRAPH_FILE}: only the variables are known"]
    try:
        storage = open_storage(path)
        try:
            with naming(path):
                meta = _read_first_graph(storage)
                if meta.object_graph:
                    described = _read_keras_metadata(join(folder, KERAS_METADATA_FILE))
                    objects = parse_saved_objects(_read_part(storage, *meta.object_graph), described)
        finally:
            storage.close()
    except CkptkitError as error:
        notes.append(f"what the variables are part of is not known: {error}")
    return meta, objects, notes


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


def _read_keras_metadata(path: str) -> dict[int, tuple[str, bytes]]:
    """Node number -> (identifier, JSON text) from TensorFlow 2.5 to 2.15's `keras_metadata.pb`; empty without one."""
    if not is_file(path):
        return {}
    storage = open_storage(path)
    try:
        with naming(path):
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


def rewrite_saved_model(
    folder: str,
    template_folder: str,
    tensors: Mapping[str, TensorSpec],
    source: TensorSource,
    *,
    num_shards: int = 1,
) -> None:
    """Write the SavedModel `folder`: all files of `template_folder`, with the data of `tensors` in its variables.

    `fingerprint.pb` is left out: it holds a hash of the variables' index, and loaders do without it.

    Args:
        folder: the new folder; may exist when it is empty.
        template_folder: the template's.
        tensors: key in the template's bundle -> what `source` has for it.
        source: where the new data is read from.
        num_shards: see `tensor_bundle.write_bundle`.

    Raises:
        CkptkitError: as `tensor_bundle.rewrite_bundle`, or a file of the template that is no regular one.
    """
    replaced = variables_prefix("")
    Path(folder, VARIABLES).mkdir(parents=True, exist_ok=True)
    for name in files_below(template_folder):
        if name == FINGERPRINT_FILE or name.startswith(f"{replaced}."):
            continue
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with closing(open_storage(join(template_folder, name))) as storage, target.open("wb") as copy:
            for at in range(0, storage.size, WRITE_BYTES):
                copy.write(read(storage, at, min(WRITE_BYTES, storage.size - at)))
    rewrite_bundle(variables_prefix(folder), variables_prefix(template_folder), tensors, source, num_shards=num_shards)
