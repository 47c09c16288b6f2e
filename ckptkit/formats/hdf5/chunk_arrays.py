"""Chunk indexes of HDF5 1.10 and later that are arrays: entry number n is of chunk number n (VII.C, VII.D).

A fixed array is one block, an extensible one blocks that become larger. Where a block is long it is cut into pages,
each with its own checksum; one that was never written has none, and holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptkit.formats.hdf5.file import Hdf5File

# More entries than any file can have chunks; what a header declares is held against the file's size besides.
_MOST_BITS = 64

Entries = Iterator[tuple[int, bytes]]
"""Number of a chunk, and the bytes of its entry."""


def fixed_array(file: Hdf5File, address: int, count: int) -> Entries:
    """The first `count` entries of the fixed array whose header is at `address`.

    Raises:
        FormatError: it is broken.
    """
    head = file.checked(file.read(address, 12 + file.length_size + file.offset_size), "an index of chunks")
    if head[:5] != b"FAHD\0" or head[7] > _MOST_BITS:
        raise file.broken("broken index of chunks")
    width, page = head[6], 1 << head[7]
    held = file.length(head, 8)
    block = file.offset(head, 8 + file.length_size)
    if block == file.undefined:
        return
    begin = 6 + file.offset_size
    if held <= page:
        yield from _entries(_block(file, block, begin + held * width + 4, b"FADB\0")[begin:], width, 0, count)
        return
    pages = -(-held // page)
    prefix = begin + -(-pages // 8) + 4
    written = _block(file, block, prefix, b"FADB\0")[begin:]
    for number in range(min(pages, -(-count // page))):
        if written[number // 8] >> (7 - number % 8) & 1:
            length = min(page, held - number * page) * width
            at = block + prefix + number * (page * width + 4)
            data = file.checked(file.read(at, length + 4), "an index of chunks")
            yield from _entries(data, width, number * page, count)


def _block(file: Hdf5File, address: int, size: int, signature: bytes) -> bytes:
    data = file.checked(file.read(address, size), "an index of chunks")
    if data[: len(signature)] != signature:
        raise file.broken("broken index of chunks")
    return data


def _entries(data: bytes, width: int, first: int, count: int) -> Entries:
    for number in range(min(len(data) // width, count - first)):
        yield first + number, data[number * width : (number + 1) * width]


def extensible_array(file: Hdf5File, address: int, count: int) -> Entries:
    """The first `count` entries of the extensible array whose header is at `address`.

    Raises:
        FormatError: it is broken.
    """
    yield from _ExtensibleArray(file, address, count).entries()


class _ExtensibleArray:
    """The sizes of its blocks follow from its header (H5EAhdr.c, `H5EA__hdr_init`)."""

    def __init__(self, file: Hdf5File, address: int, count: int) -> None:
        self._file = file
        self._count = count
        head = file.checked(file.read(address, 16 + 6 * file.length_size + file.offset_size), "an index of chunks")
        bits, self._in_index, self._least, pointers, page_bits = head[7:12]
        powers = all(value and not value & (value - 1) for value in (self._least, pointers))
        if head[:5] != b"EAHD\0" or bits > _MOST_BITS or page_bits > bits or not powers or not head[6]:
            raise file.broken("broken index of chunks")
        self._width, self._page = head[6], 1 << page_bits
        self._offset_bytes = -(-bits // 8)
        self._blocks = 1 + bits - (self._least.bit_length() - 1)
        self._direct = 2 * (pointers.bit_length() - 1)
        self._address = file.offset(head, 12 + 6 * file.length_size)

    def _sizes(self, number: int) -> tuple[int, int]:
        """How many data blocks super block `number` has, and how many entries each of them."""
        return 1 << number // 2, self._least << (number + 1) // 2

    def entries(self) -> Entries:
        """All that are there."""
        if self._address == self._file.undefined:
            return
        file, step = self._file, self._file.offset_size
        begin = 6 + step
        direct = [sizes for number in range(self._direct) for sizes in [self._sizes(number)] for _ in range(sizes[0])]
        inside = self._in_index * self._width
        size = begin + inside + (len(direct) + self._blocks - self._direct) * step + 4
        index = _block(file, self._address, size, b"EAIB\0")
        yield from _entries(index[begin : begin + inside], self._width, 0, self._count)
        first, at = self._in_index, begin + inside
        for _, length in direct:
            if first >= self._count:
                return
            yield from self._data_block(file.offset(index, at), first, length, None)
            first, at = first + length, at + step
        for number in range(self._direct, self._blocks):
            if first >= self._count:
                return
            blocks, length = self._sizes(number)
            yield from self._super_block(file.offset(index, at), first, blocks, length)
            first, at = first + blocks * length, at + step

    def _super_block(self, address: int, first: int, blocks: int, length: int) -> Entries:
        file = self._file
        if address == file.undefined:
            return
        pages = length // self._page if length > self._page else 0
        bitmap = -(-pages // 8)
        begin = 6 + file.offset_size + self._offset_bytes
        size = begin + blocks * (bitmap + file.offset_size) + 4
        data = _block(file, address, size, b"EASB\0")
        for block in range(blocks):
            if first >= self._count:
                return
            child = file.offset(data, begin + blocks * bitmap + block * file.offset_size)
            bits = range(
                block * pages, (block + 1) * pages
            )  # one after the other, whatever bytes they are said to take
            written = [data[begin + bit // 8] >> (7 - bit % 8) & 1 for bit in bits]
            yield from self._data_block(child, first, length, written if pages else None)
            first += length

    def _data_block(self, address: int, first: int, length: int, written: list[int] | None) -> Entries:
        """Entries from number `first` on; `written`: which pages are there, in a block of several."""
        file = self._file
        if address == file.undefined:
            return
        begin = 6 + file.offset_size + self._offset_bytes
        if written is None:
            data = _block(file, address, begin + length * self._width + 4, b"EADB\0")
            yield from _entries(data[begin:], self._width, first, self._count)
            return
        _block(file, address, begin + 4, b"EADB\0")
        page = self._page * self._width + 4
        for number in range(length // self._page):
            if first >= self._count:
                return
            if written[number]:
                data = file.checked(file.read(address + begin + 4 + number * page, page), "an index of chunks")
                yield from _entries(data, self._width, first, self._count)
            first += self._page
