"""One file of a V1 checkpoint: what it lists, and where in it the values of a slice are.

Sources: tensorflow/core/util/saved_tensor_slice.proto, tensor_slice_reader.cc, tensor_slice_writer.cc.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.tensorflow.bundle.entries import Extent, check_version, parse_shape, parse_slice
from ckptkit.formats.tensorflow.bundle.table import MAX_BLOCK_BYTES, Table, locate_entries, open_block, open_table
from ckptkit.formats.tensorflow.wire import (
    field_bytes,
    length_tag,
    naming,
    number,
    parse_fields,
    scan_fields,
    text,
    varint_tag,
)
from ckptkit.storage.bytes import Storage, read

LIST_KEY = b""
"""Key of the entry that lists the tensors (`kSavedTensorSlicesKey`)."""

FORMAT_VERSION = 1
"""`TF_CHECKPOINT_VERSION`."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A tensor as one file's list has it."""

    shape: tuple[int, ...] | None
    dtype: int
    slices: tuple[tuple[Extent, ...], ...]


def is_v1_list(table: Table) -> bool:
    """Whether the first entry of `table` lists the tensors of a V1 checkpoint; otherwise it is a bundle's header."""
    if not table.blocks:
        raise FormatError("an empty table, no checkpoint", path=table.storage.name)
    with naming(table.storage.name):
        block = open_block(table.storage, table.blocks[0][1])
        try:
            begin, end = locate_entries(block).get(LIST_KEY, (0, 0))
            return any(tag == length_tag(1) for tag, _, _ in scan_fields(block, begin, end))
        finally:
            block.close()


def parse_list(data: bytes) -> dict[bytes, Listed]:
    """The tensors that a `SavedTensorSlices` lists, by name.

    Raises:
        FormatError: it is malformed, lists a tensor twice or is the header of a V2 bundle.
        UnsupportedError: it asks for a later reader.
    """
    listed: dict[bytes, Listed] = {}
    found = False
    for tag, meta in parse_fields(data):
        if tag != length_tag(1):
            continue
        found = True
        for inner, value in parse_fields(field_bytes(meta)):
            if inner == length_tag(1):
                name, tensor = _parse_listed(field_bytes(value))
                if name in listed:
                    raise FormatError("a tensor is listed twice", key=text(name))
                listed[name] = tensor
            elif inner == length_tag(2):
                check_version(field_bytes(value), FORMAT_VERSION)
    if not found:
        raise FormatError("the table holds no V1 checkpoint")
    return listed


def _parse_listed(data: bytes) -> tuple[bytes, Listed]:
    """A `SavedSliceMeta`."""
    name, dtype = b"", 0
    shape: tuple[int, ...] | None = ()
    slices = []
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            name = field_bytes(value)
        elif tag == length_tag(2):
            with naming("", text(name)):
                shape = parse_shape(field_bytes(value))
        elif tag == varint_tag(3):
            dtype = number(value)
        elif tag == length_tag(4):
            slices.append(parse_slice(field_bytes(value)))
    return name, Listed(shape, dtype, tuple(slices))


class V1File:
    """One file: its table, and which entries its blocks hold as far as they have been looked at."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._table: Table | None = None
        self._entries: dict[int, dict[bytes, tuple[int, int]]] = {}

    @property
    def table(self) -> Table:
        """The table, whose index is read when it is first needed."""
        if self._table is None:
            self._table = open_table(self.storage)
        return self._table

    def open_entry(self, key: bytes) -> tuple[Storage, int, int]:
        """The verified block that holds `key`, and begin and end of its value in it."""
        blocks = self.table.blocks
        place = bisect_left(blocks, key, key=lambda block: block[0])
        if place < len(blocks):
            block = open_block(self.storage, blocks[place][1])
            if place not in self._entries:
                self._entries[place] = locate_entries(block)
            if key in self._entries[place]:
                return block, *self._entries[place][key]
            block.close()
        raise FormatError("the data of the tensor, or of a slice of it, is not in the file", path=self.storage.name)

    def read_list(self) -> bytes:
        """The entry that lists the file's tensors (see `parse_list`)."""
        block, begin, end = self.open_entry(LIST_KEY)
        try:
            if end - begin > MAX_BLOCK_BYTES:
                raise LimitError("the list of tensors is too large", expected=f"at most {MAX_BLOCK_BYTES} bytes")
            return bytes(read(block, begin, end - begin))
        finally:
            block.close()


def find_data(block: Storage, begin: int, end: int) -> tuple[int, int]:
    """Begin and end of the `TensorProto` in the `SavedTensorSlices` at bytes `begin` to `end`."""
    for tag, first, last in scan_fields(block, begin, end):
        if tag == length_tag(2):
            for inner, start, stop in scan_fields(block, first, last):
                if inner == length_tag(3):
                    return start, stop
    raise FormatError("an entry holds no data")
