"""Lookup tables and asset files of a SavedModel: what its functions fill tables with when the model is loaded.

A table that cannot change (`StaticHashTable`) is a resource of the object graph with a function that imports keys and values
into it. What the function is bound to are nodes of the object graph: the table, and two constants that stand in the graph.

Sources: tensorflow/core/protobuf/saved_object_graph.proto; tensorflow/python/ops/lookup_ops.py,
`KeyValueTensorInitializer.initialize`; tensorflow/core/framework/tensor.proto.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError
from ckptkit.formats.tensorflow.wire import (
    Buffer,
    field_bytes,
    length_tag,
    number,
    parse_fields,
    parse_varint,
    signed,
    text,
    varint_tag,
)
from ckptkit.model import WRITE_BYTES, StoredAsset
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ckptkit.model import TensorSource
    from ckptkit.storage.address import Address

ASSETS = "assets"

# `DataType` (types.proto) -> field of `TensorProto` and code of one number in `tensor_content`; strings have neither.
_NUMBERS = {1: (5, "f"), 2: (6, "d"), 3: (7, "i"), 9: (10, "q")}
_STRING = 7

_INITIALIZERS = ("_initialize", "_initializer")


@dataclass(slots=True)
class _Objects:
    """The parts of a `SavedObjectGraph` that tables need, by node number."""

    children: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    functions: dict[int, list[str]] = field(default_factory=dict)
    constants: dict[int, str] = field(default_factory=dict)
    bound: dict[str, list[int]] = field(default_factory=dict)


def find_tables(objects: Buffer, graph: Callable[[], Buffer]) -> tuple[StoredAsset, ...]:
    """The tables that are filled with constants, by the path of attributes that leads to each.

    Args:
        objects: the `SavedObjectGraph`.
        graph: gives the `GraphDef` with the constants; called where there are tables.

    Raises:
        FormatError: a message is malformed.
    """
    parsed = _parse_objects(objects)
    found = [(path, pair) for path, node in _paths(parsed) if (pair := _filled_with(parsed, node)) is not None]
    if not found:
        return ()
    constants = _parse_constants(memoryview(graph()), {name for _, pair in found for name in pair})
    tables = []
    for path, pair in found:
        columns = [constants.get(name) for name in pair]
        if columns[0] is not None and columns[1] is not None and len(columns[0]) == len(columns[1]):
            entries = tuple(zip(columns[0], columns[1], strict=True))
            tables.append(StoredAsset(path, sum(len(item) for row in entries for item in row), entries=entries))
    return tuple(tables)


def _parse_objects(data: Buffer) -> _Objects:
    found = _Objects()
    place = 0
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            for inner, part in parse_fields(field_bytes(value)):
                if inner == length_tag(1):
                    found.children.setdefault(place, []).append(_parse_child(field_bytes(part)))
                elif inner == length_tag(6):
                    names = [text(each) for kind, each in parse_fields(field_bytes(part)) if kind == length_tag(1)]
                    found.functions[place] = names
                elif inner == length_tag(9):
                    for kind, each in parse_fields(field_bytes(part)):
                        if kind == length_tag(1):
                            found.constants[place] = text(each)
            place += 1
        elif tag == length_tag(2):
            name, bound = "", list[int]()
            for inner, part in parse_fields(field_bytes(value)):
                if inner == length_tag(1):
                    name = text(part)
                elif inner == length_tag(2):
                    bound = _parse_bound(field_bytes(part))
            found.bound[name] = bound
    return found


def _parse_child(data: bytes) -> tuple[str, int]:
    node, name = 0, ""
    for tag, value in parse_fields(data):
        if tag == varint_tag(1):
            node = number(value)
        elif tag == length_tag(2):
            name = text(value)
    return name, node


def _parse_bound(data: bytes) -> list[int]:
    """`SavedConcreteFunction.bound_inputs`, packed or not."""
    bound = []
    for tag, value in parse_fields(data):
        if tag == varint_tag(2):
            bound.append(number(value))
        elif tag == length_tag(2):
            packed, at = field_bytes(value), 0
            while at < len(packed):
                one, at = parse_varint(packed, at)
                bound.append(one)
    return bound


def _paths(objects: _Objects) -> Iterator[tuple[str, int]]:
    """(path of attributes, node) of everything that is reached, each once, by the first path that leads there."""
    seen = {0}
    pending = [("", 0)]
    while pending:
        path, node = pending.pop(0)
        yield path, node
        for name, child in objects.children.get(node, ()):
            if child not in seen:
                seen.add(child)
                pending.append((f"{path}/{name}" if path else name, child))


def _filled_with(objects: _Objects, node: int) -> tuple[str, str] | None:
    """Names of the constants with the keys and the values of the table that `node` is; None where it is none."""
    for name, child in objects.children.get(node, ()):
        if name not in _INITIALIZERS:
            continue
        for function in objects.functions.get(child, ()):
            bound = objects.bound.get(function, [])
            if len(bound) == 3 and bound[0] == node and bound[1] in objects.constants and bound[2] in objects.constants:
                return objects.constants[bound[1]], objects.constants[bound[2]]
    return None


def _parse_constants(graph: memoryview, wanted: set[str]) -> Mapping[str, tuple[bytes, ...] | None]:
    """Name -> elements as text of the constants in `wanted`; None for a type that no table has."""
    found: dict[str, tuple[bytes, ...] | None] = {}
    for tag, node in parse_fields(graph):
        if tag != length_tag(1) or isinstance(node, int):
            continue
        name = ""
        for inner, value in parse_fields(node):
            if inner == length_tag(1):
                name = text(value)
                if name not in wanted:
                    break
            elif inner == length_tag(5):
                tensor = _tensor_of(field_bytes(value))
                if tensor is not None:
                    found[name] = parse_elements(tensor)
    return found


def _tensor_of(entry: bytes) -> bytes | None:
    """The `TensorProto` in an entry of `NodeDef.attr` if it is that of `value`."""
    name, tensor = "", None
    for tag, value in parse_fields(entry):
        if tag == length_tag(1):
            name = text(value)
        elif tag == length_tag(2):
            tensor = next(
                (field_bytes(each) for kind, each in parse_fields(field_bytes(value)) if kind == length_tag(8)), None
            )
    return tensor if name == "value" else None


def parse_elements(tensor: bytes) -> tuple[bytes, ...] | None:
    """The elements of a small `TensorProto` as text; None for a type that is neither string nor number of a table."""
    fields = list(parse_fields(tensor))
    dtype = next((number(value) for tag, value in fields if tag == varint_tag(1)), 0)
    if dtype == _STRING:
        return tuple(field_bytes(value) for tag, value in fields if tag == length_tag(8))
    if dtype not in _NUMBERS:
        return None
    where, code = _NUMBERS[dtype]
    content = next((field_bytes(value) for tag, value in fields if tag == length_tag(4)), b"")
    numbers: list[float] = []
    if content:
        numbers += _unpacked(content, code)
    for tag, value in fields:
        if tag >> 3 != where:
            continue
        if tag == length_tag(where):
            packed, at = field_bytes(value), 0
            if code in "fd":
                numbers += _unpacked(packed, code)
                continue
            while at < len(packed):
                one, at = parse_varint(packed, at)
                numbers.append(signed(one))
        elif code in "iq":
            numbers.append(signed(number(value)))
    count = 1
    for tag, value in fields:
        if tag == length_tag(2):
            for inner, dim in parse_fields(field_bytes(value)):
                if inner == length_tag(2):
                    size = next(
                        (number(each) for kind, each in parse_fields(field_bytes(dim)) if kind == varint_tag(1)), 0
                    )
                    count *= size
    if len(numbers) == 1 and 1 < count <= len(tensor):
        numbers *= count  # one number stands for as many as the shape says
    return tuple(str(each).encode() for each in numbers)


def _unpacked(data: bytes, code: str) -> list[float]:
    if len(data) % struct.calcsize(f"<{code}"):
        raise FormatError(
            "a constant is cut short", expected=f"numbers of {struct.calcsize(f'<{code}')} bytes", found=len(data)
        )
    return [each for (each,) in struct.iter_unpack(f"<{code}", data)]


def find_files(folder: Address) -> tuple[StoredAsset, ...]:
    """The files below `assets`, such as vocabularies that were given by their path."""
    found = []
    for name in folder.files_below():
        if name.startswith(f"{ASSETS}/"):
            storage = folder.join(name).open()
            try:
                found.append(StoredAsset(name, storage.size))
            finally:
                storage.close()
    return tuple(found)


class SavedModelSource:
    """The source of a SavedModel's variables, with the files of its `assets` folder."""

    def __init__(self, inner: TensorSource, folder: Address) -> None:
        self._inner = inner
        self._folder = folder

    def behind(self, key: str) -> tuple[TensorSource, str]:
        """See `ForwardingSource.behind`."""
        return self._inner, key

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """As `TensorSource.read_into`."""
        self._inner.read_into(key, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """As `TensorSource.stream`."""
        return self._inner.stream(key, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """As `TensorSource.read_strings`."""
        return self._inner.read_strings(key)

    def stream_asset(self, name: str) -> Iterator[bytes]:
        """The bytes of the file `name` of the folder."""
        storage = self._folder.join(name).open()
        try:
            for at in range(0, storage.size, WRITE_BYTES):
                yield bytes(read(storage, at, min(WRITE_BYTES, storage.size - at)))
        finally:
            storage.close()

    def close(self) -> None:
        """Give back files; idempotent."""
        self._inner.close()
