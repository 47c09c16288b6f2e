"""Where the chunks of a dataset lie (III.A.1, VII)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ckptkit.formats import hdf5_messages
from ckptkit.formats.hdf5_chunks import chunk_nbytes, grid_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.hdf5_dataset import Dataset
    from ckptkit.formats.hdf5_file import Hdf5File

READABLE_INDEXES = {
    hdf5_messages.TREE_INDEX,
    hdf5_messages.SINGLE_INDEX,
    hdf5_messages.IMPLICIT_INDEX,
    hdf5_messages.FIXED_ARRAY_INDEX,
}

_MAX_TREE_LEVELS = 32


class StoredChunk(NamedTuple):
    """Where a chunk lies in the storage, in how many bytes, and which filters it did not go through."""

    offset: int
    size: int
    skipped: int


def read_chunk_index(file: Hdf5File, dataset: Dataset) -> dict[tuple[int, ...], StoredChunk]:
    """Position in the grid -> chunk, for every chunk that is stored.

    Raises:
        FormatError: the index is broken, or names bytes outside the file.
    """
    layout = dataset.layout
    if layout.address is None or layout.chunk is None:
        return {}
    if layout.index == hdf5_messages.TREE_INDEX:
        found = _from_tree(file, layout.address, layout.chunk)
    elif layout.index == hdf5_messages.SINGLE_INDEX:
        size, skipped = layout.single or (chunk_nbytes(dataset), 0)
        found = iter([((0,) * len(layout.chunk), layout.address, size, skipped)])
    elif layout.index == hdf5_messages.IMPLICIT_INDEX:
        size = chunk_nbytes(dataset)
        found = (
            (_position(dataset, number), layout.address + number * size, size, 0)
            for number in range(math.prod(grid_shape(dataset)))
        )
    else:
        found = _from_fixed_array(file, dataset, layout.address)
    chunks = {}
    for position, address, size, skipped in found:
        offset = file.at(address)
        if offset < 0 or offset + size > file.storage.size:
            raise file.broken("a chunk outside the file", expected=f"bytes {offset} to {offset + size}")
        chunks[position] = StoredChunk(offset, size, skipped)
    return chunks


def _from_tree(file: Hdf5File, address: int, chunk: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    """A B-tree of version 1 whose keys are (size, skipped filters, index of the first element and a 0)."""
    nodes = [(address, _MAX_TREE_LEVELS)]
    key = 8 + 8 * (len(chunk) + 1)
    while nodes:
        address, limit = nodes.pop()
        head = file.read(address, 8 + 2 * file.offset_size)
        level, count = head[5], int.from_bytes(head[6:8], "little")
        if head[:5] != b"TREE\1" or level >= limit:
            raise file.broken("broken index of chunks")
        step = key + file.offset_size
        data = file.read(address + len(head), count * step + key)
        for at in range(0, count * step, step):
            child = file.offset(data, at + key)
            if level:
                nodes.append((child, level))
                continue
            corner = (
                int.from_bytes(data[at + 8 + 8 * axis : at + 16 + 8 * axis], "little") for axis in range(len(chunk))
            )
            position = tuple(first // size for first, size in zip(corner, chunk, strict=True))
            yield (
                position,
                child,
                int.from_bytes(data[at : at + 4], "little"),
                int.from_bytes(data[at + 4 : at + 8], "little"),
            )


def _from_fixed_array(
    file: Hdf5File, dataset: Dataset, address: int
) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    """A fixed array: one entry for each chunk of the grid, in C order."""
    size = 12 + file.length_size + file.offset_size
    head = file.checked(file.read(address, size), "an index of chunks")
    if head[:5] != b"FAHD\0":
        raise file.broken("broken index of chunks")
    filtered, width, bits = head[5], head[6], head[7]
    count = file.length(head, 8)
    if count > 1 << bits:
        raise file.broken("an index of chunks in pages, which is not read")
    begin = 6 + file.offset_size
    block = file.read(file.offset(head, 8 + file.length_size), begin + count * width + 4)
    block = file.checked(block, "an index of chunks")
    if block[:5] != b"FADB\0" or width != file.offset_size + (filtered and width - file.offset_size):
        raise file.broken("broken index of chunks")
    for number in range(min(count, math.prod(grid_shape(dataset)))):
        at = begin + number * width
        child = file.offset(block, at)
        if child == file.undefined:
            continue
        if filtered:
            stored = int.from_bytes(block[at + file.offset_size : at + width - 4], "little")
            skipped = int.from_bytes(block[at + width - 4 : at + width], "little")
            yield _position(dataset, number), child, stored, skipped
        else:
            yield _position(dataset, number), child, chunk_nbytes(dataset), 0


def _position(dataset: Dataset, number: int) -> tuple[int, ...]:
    position = []
    for count in reversed(grid_shape(dataset)):
        number, at = divmod(number, count)
        position.append(at)
    return tuple(reversed(position))
