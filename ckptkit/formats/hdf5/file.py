"""An HDF5 file as bytes: superblock, addresses, and reads of its metadata within a budget.

ckptkit reads HDF5 by itself. The HDF5 library (1.14.6) dies on damaged files: of 700 mutants of one file in the newer
format it crashed on 39, and one mutant of the older format made it take 3 GB. It also opens other files when a file
asks for it: external links, external storage, sources of virtual datasets, filter plugins. Nothing of that can happen
here.

Source for all `hdf5_*` modules: The HDF5 Group, "HDF5 File Format Specification Version 3.0"; sections are named there.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from ckptkit.errors import FormatError, LimitError, UnsupportedError
from ckptkit.storage.bytes import Storage, check_range, read

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# Metadata lie between the data, mostly some hundred bytes beside each other.
_PAGE_BYTES = 16 << 10
_PAGES = 128

# Structures that refer to each other can be walked again and again; a well-formed file needs each about twice.
_BUDGET_TIMES = 8
_BUDGET_FLOOR_BYTES = 8 << 20


def find_signature(storage: Storage) -> int | None:
    """Offset of the HDF5 signature: 0, or 512 and its doublings after a user block; None where there is none."""
    offset = 0
    while offset + len(SIGNATURE) <= storage.size:
        if read(storage, offset, len(SIGNATURE)) == SIGNATURE:
            return offset
        offset = offset * 2 or 512
    return None


class Hdf5File:
    """A checked superblock over a storage.

    Attributes:
        storage: the bytes.
        name: for messages.
        offset_size: bytes of an address.
        length_size: bytes of a length.
        undefined: the address that means "none".
        root: address of the root group's object header.
        collections: address -> index -> object: what was read of the global heap.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.name = storage.name
        self.collections: dict[int, dict[int, bytes]] = {}
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._budget = _BUDGET_TIMES * storage.size + _BUDGET_FLOOR_BYTES
        start = find_signature(storage)
        if start is None:
            raise FormatError("not an HDF5 file", path=storage.name, expected="the HDF5 signature")
        # II.A: the fields used here lie within 128 bytes in every version.
        head = bytes(read(storage, start, min(128, storage.size - start))).ljust(128, b"\0")
        version = head[8]
        if version > 3:
            raise self.broken("unknown HDF5 superblock", expected="version 0 to 3", found=f"version {version}")
        sizes, addresses = (13, 24 + 4 * version) if version < 2 else (9, 12)
        width = self.offset_size = head[sizes]
        self.length_size = head[sizes + 1]
        if width not in (2, 4, 8) or self.length_size not in (2, 4, 8):
            raise self.broken(
                "broken HDF5 superblock", expected="addresses and lengths of 2, 4 or 8 bytes", found=width
            )
        needed = addresses + (6 * width if version < 2 else 4 * width + 4)
        if storage.size - start < needed:
            raise self.broken(
                "the file is cut short", expected=f"{start + needed} bytes", found=f"{storage.size} bytes"
            )
        self.undefined = (1 << 8 * width) - 1
        base, _, end, fourth, _, fifth = (
            int.from_bytes(head[addresses + width * index : addresses + width * (index + 1)], "little")
            for index in range(6)
        )
        if version > 1:
            length = addresses + 4 * width
            if lookup3(head[:length]) != int.from_bytes(head[length : length + 4], "little"):
                raise self.broken("the checksum of the superblock does not match")
        if base not in (0, start):  # 0 where a user block was put before a finished file
            raise self.broken("broken HDF5 superblock", expected=f"base address {start}", found=base)
        if end + start - base > storage.size:
            raise self.broken("the file is cut short", expected=f"{end} bytes", found=f"{storage.size} bytes")
        if version < 2 and fourth != self.undefined:
            raise UnsupportedError("one part of an HDF5 file that is kept in several files", path=storage.name)
        self._start = start
        self.root = fifth if version < 2 else fourth

    def at(self, address: int) -> int:
        """Offset in the storage of an address, which counts from the superblock."""
        return address + self._start

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes of metadata at `address`.

        Raises:
            FormatError: they are not all in the file.
            LimitError: more was read already than a well-formed file of this size can need.
        """
        self._budget -= length
        if self._budget < 0:
            raise LimitError("its structure refers to the same bytes again and again", path=self.name)
        offset = address + self._start
        number, inside = divmod(offset, _PAGE_BYTES)
        if inside + length > _PAGE_BYTES or offset < 0 or self.storage.distant:  # which keeps pages of its own
            return bytes(read(self.storage, offset, length))
        page = self._pages.get(number)
        if page is None:
            check_range(self.storage, offset, length)
            begin = number * _PAGE_BYTES
            page = self._pages[number] = bytes(read(self.storage, begin, min(_PAGE_BYTES, self.storage.size - begin)))
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        found = page[inside : inside + length]
        if len(found) < length:
            check_range(self.storage, offset, length)
        return found

    def offset(self, data: bytes, at: int) -> int:
        """The address that stands at `at` of `data`."""
        return int.from_bytes(data[at : at + self.offset_size], "little")

    def length(self, data: bytes, at: int) -> int:
        """The length that stands at `at` of `data`."""
        return int.from_bytes(data[at : at + self.length_size], "little")

    def checked(self, data: bytes, what: str) -> bytes:
        """`data` without the checksum at its end.

        Raises:
            FormatError: the checksum is not that of the bytes before it.
        """
        body = data[:-4]
        if len(data) < 4 or lookup3(body) != int.from_bytes(data[-4:], "little"):
            raise self.broken(f"the checksum of {what} does not match")
        return body

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """For blocks that take structures apart: one shorter than what it says of itself is a broken one.

        The parsers index into a structure's bytes without asking for its length before each field.
        """
        try:
            yield
        except (IndexError, struct.error) as error:
            raise self.broken("a structure of the file is cut short") from error

    def broken(self, problem: str, *, expected: object = None, found: object = None) -> FormatError:
        """The error for bytes that are not what the specification wants, for the caller to raise."""
        return FormatError(problem, path=self.name, expected=expected, found=found)


def lookup3(data: bytes) -> int:
    """HDF5's metadata checksum: Bob Jenkins's `hashlittle` of `data` with initial value 0 (lookup3.c)."""
    mask = 0xFFFFFFFF
    length = len(data)
    a = b = c = (0xDEADBEEF + length) & mask
    if not length:
        return c
    padded = data + b"\0" * (-length % 12)
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    last = len(words) - 3
    for at in range(0, last, 3):
        a, b, c = a + words[at] & mask, b + words[at + 1] & mask, c + words[at + 2] & mask
        a = (a - c & mask) ^ (c << 4 & mask | c >> 28)
        c = c + b & mask
        b = (b - a & mask) ^ (a << 6 & mask | a >> 26)
        a = a + c & mask
        c = (c - b & mask) ^ (b << 8 & mask | b >> 24)
        b = b + a & mask
        a = (a - c & mask) ^ (c << 16 & mask | c >> 16)
        c = c + b & mask
        b = (b - a & mask) ^ (a << 19 & mask | a >> 13)
        a = a + c & mask
        c = (c - b & mask) ^ (b << 4 & mask | b >> 28)
        b = b + a & mask
    a, b, c = a + words[last] & mask, b + words[last + 1] & mask, c + words[last + 2] & mask
    c = (c ^ b) - (b << 14 & mask | b >> 18) & mask
    a = (a ^ c) - (c << 11 & mask | c >> 21) & mask
    b = (b ^ a) - (a << 25 & mask | a >> 7) & mask
    c = (c ^ b) - (b << 16 & mask | b >> 16) & mask
    a = (a ^ c) - (c << 4 & mask | c >> 28) & mask
    b = (b ^ a) - (a << 14 & mask | a >> 18) & mask
    checksum: int = (c ^ b) - (b << 24 & mask | b >> 8) & mask
    return checksum
