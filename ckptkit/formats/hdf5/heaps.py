"""Heaps and B-trees that keep many links or attributes, and strings of variable length (III.A, III.D to III.G)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.hdf5.file import Hdf5File

_MAX_TREE_DEPTH = 32


def read_local_heap(file: Hdf5File, address: int) -> bytes:
    """The data segment of a local heap: the names of a group's links, found by offset."""
    head = file.read(address, 8 + 2 * file.length_size + file.offset_size)
    if head[:5] != b"HEAP\0":
        raise file.broken("broken local heap of a group")
    return file.read(file.offset(head, 8 + 2 * file.length_size), file.length(head, 8))


class GlobalHeaps:
    """Objects of the global heap, by address of their collection and index."""

    def __init__(self, file: Hdf5File) -> None:
        self._file = file

    def strings(self, references: bytes) -> Iterator[bytes]:
        """The strings that a sequence of references (length, address, index) stands for."""
        width = 8 + self._file.offset_size
        for at in range(0, len(references), width):
            reference = references[at : at + width]
            length = int.from_bytes(reference[:4], "little")
            address = self._file.offset(reference, 4)
            if not length or not address:
                yield b""
                continue
            found = self._collection(address).get(int.from_bytes(reference[width - 4 :], "little"))
            if found is None or len(found) < length:
                raise self._file.broken("a string of variable length that is not in its heap")
            yield found[:length]

    def _collection(self, address: int) -> dict[int, bytes]:
        file = self._file
        found = file.collections.get(address)
        if found is not None:
            return found
        head = file.read(address, 8 + file.length_size)
        if head[:5] != b"GCOL\1":
            raise file.broken("broken heap of strings")
        data = file.read(address, file.length(head, 8))
        objects: dict[int, bytes] = {}
        at, step = 8 + file.length_size, 8 + file.length_size
        while at + step <= len(data):
            index, size = int.from_bytes(data[at : at + 2], "little"), file.length(data, at + 8)
            at += step
            if not index:  # the free space at the end
                break
            if at + size > len(data):
                raise file.broken("broken heap of strings")
            objects[index] = data[at : at + size]
            at += -(-size // 8) * 8
        file.collections[address] = objects
        return objects


class FractalHeap:
    """Managed objects of a fractal heap (III.G): dense links and attributes.

    Filtered heaps and those with huge objects exist on paper; no writer of checkpoints makes one, and they are refused.
    """

    def __init__(self, file: Hdf5File, address: int) -> None:
        self._file = file
        o, n = file.offset_size, file.length_size
        size = 26 + 3 * o + 12 * n
        head = file.read(address, size)
        if head[:5] != b"FRHP\0":
            raise file.broken("broken heap of links or attributes")
        file.checked(file.read(address, size), "a heap of links or attributes")
        self._id_length, filters = struct.unpack_from("<HH", head, 5)
        if filters:
            raise file.broken("a filtered heap of links or attributes, which is not read")
        largest = int.from_bytes(head[10:14], "little")
        at = 14 + n + o + n + o + 8 * n
        self._columns = int.from_bytes(head[at : at + 2], "little")
        self._start, self._max_direct = file.length(head, at + 2), file.length(head, at + 2 + n)
        bits = int.from_bytes(head[at + 2 + 2 * n : at + 4 + 2 * n], "little")
        at += 6 + 2 * n
        self._root, self._rows = file.offset(head, at), int.from_bytes(head[at + o : at + o + 2], "little")
        if not self._columns or not self._start or self._start > self._max_direct or bits > 64:
            raise file.broken("broken heap of links or attributes")
        self._offset_bytes = -(-bits // 8)
        self._length_bytes = min(_encoded_bytes(self._max_direct), _encoded_bytes(largest))

    def read(self, identifier: bytes) -> bytes:
        """The object that a heap id stands for."""
        kind = identifier[0] >> 4 & 3
        if kind == 2:  # tiny: the object is in the id itself
            return identifier[1 : 2 + (identifier[0] & 15)]
        if kind != 0:
            raise self._file.broken("a huge object in a heap of links or attributes, which is not read")
        at = 1 + self._offset_bytes
        offset = int.from_bytes(identifier[1:at], "little")
        length = int.from_bytes(identifier[at : at + self._length_bytes], "little")
        address, rows, inside = self._root, self._rows, offset
        for _ in range(_MAX_TREE_DEPTH):
            if not rows:
                return self._file.read(address + inside, length)
            address, rows, inside = self._child(address, rows, inside)
        raise self._file.broken("a heap of links or attributes that is nested too deep")

    def _child(self, address: int, rows: int, inside: int) -> tuple[int, int, int]:
        """(address, rows, offset in it) of the block that holds offset `inside` of the indirect block at `address`."""
        file = self._file
        first, row, size = 0, 0, self._start
        while row < rows and inside >= first + size * self._columns:
            first += size * self._columns
            row += 1
            size = self._row_size(row)
        if row >= rows:
            raise file.broken("an object outside its heap of links or attributes")
        column, inside = divmod(inside - first, size)
        head = 5 + file.offset_size + self._offset_bytes
        block = file.read(address, head + (row * self._columns + column + 1) * file.offset_size)
        if block[:5] != b"FHIB\0":
            raise file.broken("broken heap of links or attributes")
        child = file.offset(block, len(block) - file.offset_size)
        if size <= self._max_direct:
            return child, 0, inside
        child_rows, covered = 0, 0
        while covered < size:
            covered += self._row_size(child_rows) * self._columns
            child_rows += 1
        return child, child_rows, inside

    def _row_size(self, row: int) -> int:
        return self._start << max(0, min(row, 64) - 1)


def read_tree_records(file: Hdf5File, address: int) -> list[bytes]:
    """All records of a B-tree of version 2 (III.A.2), in order."""
    size = 22 + file.offset_size + file.length_size
    head = file.checked(file.read(address, size), "a B-tree")
    if head[:5] != b"BTHD\0":
        raise file.broken("broken B-tree")
    node_size, record_size, depth = struct.unpack_from("<IHH", head, 6)
    root, count = file.offset(head, 16), int.from_bytes(head[16 + file.offset_size : 18 + file.offset_size], "little")
    if not record_size or depth > _MAX_TREE_DEPTH or node_size < 10 + record_size:
        raise file.broken("broken B-tree")
    if root == file.undefined:
        return []
    most = (node_size - 10) // record_size
    count_bytes = _encoded_bytes(most)
    total_bytes = [0]
    for _ in range(depth):
        pointer = file.offset_size + count_bytes + total_bytes[-1]
        here = max(0, node_size - 10 - pointer) // (record_size + pointer)
        most = (here + 1) * most + here
        total_bytes.append(_encoded_bytes(most))
    records: list[bytes] = []
    nodes = [(root, count, depth)]
    while nodes:
        address, count, level = nodes.pop()
        length = 6 + count * record_size
        if level:
            pointer = file.offset_size + count_bytes + total_bytes[level - 1]
            length += (count + 1) * pointer
        data = file.checked(file.read(address, length + 4), "a B-tree")
        if data[:4] != (b"BTIN" if level else b"BTLF"):
            raise file.broken("broken B-tree")
        records += (data[6 + record_size * index : 6 + record_size * (index + 1)] for index in range(count))
        if level:
            for at in range(6 + count * record_size, length, pointer):
                below = int.from_bytes(data[at + file.offset_size : at + file.offset_size + count_bytes], "little")
                nodes.append((file.offset(data, at), below, level - 1))
    return records


def _encoded_bytes(largest: int) -> int:
    """Bytes in which a number up to `largest` is written."""
    return max(1, -(-largest.bit_length() // 8))
