"""Where the chunks of a dataset lie (III.A.1, VII)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckptkit.formats.hdf5 import messages as hdf5_messages
from ckptkit.formats.hdf5.chunk_arrays import extensible_array, fixed_array
from ckptkit.formats.hdf5.chunks import chunk_nbytes, grid_shape
from ckptkit.formats.hdf5.heaps import read_tree_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.hdf5.dataset import Dataset
    from ckptkit.formats.hdf5.file import Hdf5File

READABLE_INDEXES = {
    hdf5_messages.TREE_INDEX,
    hdf5_messages.SINGLE_INDEX,
    hdf5_messages.IMPLICIT_INDEX,
    hdf5_messages.FIXED_ARRAY_INDEX,
    hdf5_messages.EXTENSIBLE_ARRAY_INDEX,
    hdf5_messages.RECORDS_INDEX,
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
            for number in range(_entries_needed(dataset))
        )
    elif layout.index == hdf5_messages.RECORDS_INDEX:
        found = _from_records(file, dataset, layout.address)
    else:
        array = fixed_array if layout.index == hdf5_messages.FIXED_ARRAY_INDEX else extensible_array
        found = _from_array(file, dataset, array(file, layout.address, _entries_needed(dataset)))
    chunks = {}
    grid = grid_shape(dataset)
    for position, address, size, skipped in found:
        if any(at >= count for at, count in zip(position, grid, strict=True)):
            continue  # of a dataset that was larger, or that may become so
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


def _from_array(
    file: Hdf5File, dataset: Dataset, entries: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    """Chunks by their number: the address, and where chunks are filtered their size and the filters not applied."""
    for number, entry in entries:
        child = file.offset(entry, 0)
        if child == file.undefined:
            continue
        position = _position(dataset, number)
        if len(entry) > file.offset_size:
            stored = int.from_bytes(entry[file.offset_size : -4], "little")
            yield position, child, stored, int.from_bytes(entry[-4:], "little")
        else:
            yield position, child, chunk_nbytes(dataset), 0


def _from_records(file: Hdf5File, dataset: Dataset, address: int) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    """A B-tree of version 2 whose records end in the position of the chunk."""
    rank = len(dataset.shape)
    for record in read_tree_records(file, address):
        width = len(record) - 8 * rank
        if width not in (file.offset_size, *range(file.offset_size + 5, file.offset_size + 13)):
            raise file.broken("broken index of chunks")
        position = tuple(
            int.from_bytes(record[width + 8 * axis : width + 8 * axis + 8], "little") for axis in range(rank)
        )
        if width == file.offset_size:
            yield position, file.offset(record, 0), chunk_nbytes(dataset), 0
        else:
            size = int.from_bytes(record[file.offset_size : width - 4], "little")
            yield position, file.offset(record, 0), size, int.from_bytes(record[width - 4 : width], "little")


def _numbering(dataset: Dataset) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes from the slowest on, and how many chunks along each are counted, in the numbers of an array's entries.

    What counts is what the dataset may grow to. Of an extensible array the axis without end is the slowest
    (H5Dearray.c, `H5VM_swizzle_coords`), and its own count does not matter.
    """
    limits = dataset.limits or dataset.shape
    axes = list(range(len(dataset.shape)))
    endless = next((axis for axis in axes if limits[axis] is None), None)
    if endless is not None:
        axes.remove(endless)
        axes.insert(0, endless)
    chunk = dataset.layout.chunk or ()
    counts = [-(-(limits[axis] or dataset.shape[axis]) // chunk[axis]) for axis in axes]
    return tuple(axes), tuple(counts)


def _entries_needed(dataset: Dataset) -> int:
    """How many entries of an array are those of chunks that the dataset now has, and of some between them."""
    axes, counts = _numbering(dataset)
    grid = grid_shape(dataset)
    last = 0
    for axis, count in zip(axes, counts, strict=True):
        last = last * count + grid[axis] - 1
    return last + 1


def _position(dataset: Dataset, number: int) -> tuple[int, ...]:
    axes, counts = _numbering(dataset)
    position = [0] * len(axes)
    for axis, count in zip(reversed(axes[1:]), reversed(counts[1:]), strict=True):
        number, position[axis] = divmod(number, count)
    if axes:
        position[axes[0]] = number
    return tuple(position)
