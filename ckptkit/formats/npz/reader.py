"""Reading npz archives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import (
    ChecksumError,
    FormatError,
    LimitError,
    NotFoundError,
    UnsupportedError,
    UsageError,
)
from ckptkit.formats.layout import decode_layout
from ckptkit.formats.npz.header import MAGIC, parse_header
from ckptkit.formats.npz.values import canonical_pieces, is_plain
from ckptkit.formats.zip.members import STORED, Member, check_member, members, open_member, stream_member
from ckptkit.model import Contents, Layout, StoredTensor, TensorSource, TensorSpec
from ckptkit.storage.bytes import Storage, Window, read
from ckptkit.storage.crc import CRC32, joined
from ckptkit.storage.crc32 import crc32
from ckptkit.storage.scratch import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.model.ranges import Sum
    from ckptkit.storage.address import Address

SUFFIX = ".npy"

# What all compressed members together may inflate to: so much in any case, and beyond that so much per byte of the
# archive (weights deflate by 1.1 to 3, an optimizer's zeros by far more, a bomb by 1000).
_INFLATED_ANYWAY = 512 << 20
_INFLATED_PER_BYTE = 20

_LARGEST_STRINGS = 64 << 20  # bytes; string tensors are read whole
_HEADER_AT_MOST = 1 << 16  # enough of a member to hold the longest header that is read


def files(path: Address) -> tuple[Address, ...]:
    """The file alone."""
    return (path,)


def open(path: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """The arrays of the archive `path`; raises as `open_npz`."""
    return path.read_with(open_npz)


def open_npz(storage: Storage) -> tuple[Contents, TensorSource]:
    """The arrays of an npz archive, in its own order, and their bytes.

    Arrays of Python objects and of dtypes that ckptkit has no name for are listed with a `problem`.

    Raises:
        FormatError: the archive or an array's header is wrong in any way, or it holds no arrays.
        LimitError: compressed members that together inflate to too much.
    """
    held = members(storage, paths=False)
    _check_budget(storage, held)
    arrays: dict[str, _Array] = {}
    others = []
    for name, member in held.items():
        if not _is_array(storage, member):
            others.append(name)
            continue
        array = _Array(storage, member)
        if array.key in arrays:
            raise FormatError("two members stand for one array", path=storage.name, key=array.key)
        arrays[array.key] = array
    if held and not arrays:
        raise FormatError("the archive holds no NumPy arrays", path=storage.name, found=", ".join(others[:3]))
    notes = (f"{len(others)} members that are no arrays are not shown",) if others else ()
    tensors = tuple(array.tensor() for array in arrays.values())
    contents = Contents("npz", None, tensors, layout=_layout(arrays), notes=notes)
    return contents, _Source(storage, arrays)


def _layout(arrays: Mapping[str, _Array]) -> Layout | None:
    """The layout that travels in the members' comments, each with its kind, group and word; in the members' order."""
    found = [array.member.comment.partition(b";")[2] for array in arrays.values()]
    if not any(found):
        return None
    parts = [decode_layout(each) for each in found]
    kinds = {part.kind for part in parts if part}
    if not all(parts) or len(kinds) != 1:
        return None
    return Layout(kinds.pop(), tuple(place for part in parts if part for place in part.places))


def _check_budget(storage: Storage, held: Mapping[str, Member]) -> None:
    declared = sum(member.size for member in held.values() if member.method != STORED)
    allowed = max(_INFLATED_ANYWAY, _INFLATED_PER_BYTE * storage.size)
    if declared > allowed:
        raise LimitError(
            "the compressed members inflate to too much",
            path=storage.name,
            expected=f"at most {allowed} bytes",
            found=declared,
            hint="Save it again with numpy.savez, which does not compress",
        )


def _head(storage: Storage, member: Member) -> bytes:
    """The first bytes of a member: all that a header can take, or the whole of a short one."""
    if member.method == STORED:
        return bytes(read(storage, member.offset, min(member.size, _HEADER_AT_MOST)))
    return next(iter(stream_member(storage, member)), b"")


def _is_array(storage: Storage, member: Member) -> bool:
    if member.name.endswith(SUFFIX):
        return True
    if member.method == STORED:
        return bytes(read(storage, member.offset, min(member.size, len(MAGIC)))) == MAGIC
    return _head(storage, member).startswith(MAGIC)


class _Array:
    """One array of an archive: its member, its header, and what is wrong with it."""

    def __init__(self, storage: Storage, member: Member) -> None:
        self.member = member
        self.key = member.name.removesuffix(SUFFIX)
        self.header = parse_header(_head(storage, member), path=storage.name, key=self.key)
        self.dtype, self.problem = self._dtype()
        present = member.size - self.header.data
        if self.header.kind != "other" and self.header.nbytes != present:
            raise FormatError(
                "the array's shape and its bytes do not agree",
                path=storage.name,
                key=self.key,
                expected=f"{self.header.nbytes} bytes",
                found=present,
            )

    def _dtype(self) -> tuple[str, str | None]:
        """Canonical dtype, and why the array cannot be read: then bytes, which are a weight like any numbers, and no text."""
        header = self.header
        noted = dtypes.BY_NAME.get(self.member.comment.partition(b";")[0].decode("ascii", "replace"))
        if noted and noted.itemsize and noted.itemsize == header.itemsize and header.kind in ("raw", "number"):
            return noted.name, None
        if header.kind == "raw":
            return "uint8", f"raw items ({header.descr}): NumPy does not store which dtype they are of"
        if "O" in header.descr:
            return "uint8", "an array of Python objects, which are pickled; ckptkit never loads those"
        if header.kind == "other":
            return "uint8", f"an array of dtype {header.descr}, which ckptkit has no name for"
        return header.dtype, None

    def tensor(self) -> StoredTensor:
        """As `Contents` lists it."""
        spec = TensorSpec(self.key, self.header.shape, self.dtype)
        nbytes = spec.nbytes or self.header.nbytes
        return StoredTensor(self.key, spec.shape, spec.dtype, nbytes, problem=self.problem)


class _Source:
    """Plain arrays are read in place; the others from a copy in the canonical layout, made when first asked for."""

    _MOST_COPIES = 2

    def __init__(self, storage: Storage, arrays: Mapping[str, _Array]) -> None:
        self._storage = storage
        self._arrays = arrays
        self._copies: dict[str, Storage] = {}
        self._lock = threading.Lock()

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        array = self._find(key)
        if offset < 0 or offset + len(buffer) > array.header.nbytes:
            raise UsageError("the range is not inside the tensor", path=self._storage.name, key=key, found=offset)
        if _in_place(array):
            self._storage.read_into(array.member.offset + array.header.data + offset, buffer)
            return
        with self._lock:  # held while reading, so that no other thread closes the copy
            self._copy(array).read_into(offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        array = self._find(key)
        sums: list[Sum] = []
        yield from self.stream_range(key, 0, array.header.nbytes, buffer, sums)
        if _in_place(array):  # otherwise the checksum was verified when the copy was made
            self.verify_ranges(key, [sums])

    def stored_checksum(self, key: str) -> str:
        return f"crc32:{self._find(key).member.crc:08x}"

    def can_cut(self, key: str) -> bool:
        return _in_place(self._find(key))

    def stream_range(
        self, key: str, start: int, stop: int, buffer: memoryview, sums: list[Sum]
    ) -> Iterator[memoryview]:
        array = self._find(key)
        crc = 0
        if _in_place(array):
            for piece in self._storage.stream(array.member.offset + array.header.data + start, stop - start, buffer):
                crc = crc32(piece, crc)
                yield piece
        else:
            for at in range(start, stop, len(buffer)):
                piece = buffer[: min(len(buffer), stop - at)]
                self.read_into(key, at, piece)
                yield piece
        sums.append((crc, stop - start))

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        array = self._find(key)
        head = read(self._storage, array.member.offset, array.header.data)
        crc = joined([(crc32(head), len(head)), *(part for found in sums for part in found)], CRC32)
        if crc != array.member.crc:
            raise ChecksumError(
                "the array does not match its checksum",
                path=self._storage.name,
                key=key,
                expected=f"crc32 {array.member.crc:08x}",
                found=f"{crc:08x}",
            )

    def read_strings(self, key: str) -> list[bytes]:
        array = self._find(key)
        header = array.header
        count = TensorSpec(key, header.shape, "string").size
        if header.kind not in ("bytes", "text"):
            raise UsageError("not a string tensor", path=self._storage.name, key=key)
        if max(header.nbytes, count) > _LARGEST_STRINGS:
            raise LimitError("too many bytes of strings", path=self._storage.name, key=key, found=header.nbytes)
        whole = bytearray(header.nbytes)
        for _ in range(1 if whole else 0):
            check_member(self._storage, array.member)
            self.read_into(key, 0, memoryview(whole))
        width = header.itemsize
        items = [bytes(whole[at * width : (at + 1) * width]) for at in range(count)]
        if header.kind == "bytes":
            return [item.rstrip(b"\0") for item in items]
        encoding = "utf-32-be" if header.big_endian else "utf-32-le"
        try:
            return [item.decode(encoding).rstrip("\0").encode() for item in items]
        except UnicodeDecodeError as error:
            raise FormatError("not Unicode text", path=self._storage.name, key=key) from error

    def close(self) -> None:
        with self._lock:
            for copy in self._copies.values():
                copy.close()
            self._copies.clear()
        self._storage.close()

    def _find(self, key: str) -> _Array:
        array = self._arrays.get(key)
        if array is None:
            raise NotFoundError("no such array in the archive", path=self._storage.name, key=key)
        if array.problem:
            raise UnsupportedError(array.problem, path=self._storage.name, key=key)
        return array

    def _copy(self, array: _Array) -> Storage:
        """The array's bytes, inflated, in the canonical layout; the caller holds the lock."""
        copy = self._copies.pop(array.key, None)
        if copy is None:
            while len(self._copies) >= self._MOST_COPIES:
                self._copies.pop(next(iter(self._copies))).close()
            copy = self._make_copy(array)
        self._copies[array.key] = copy
        return copy

    def _make_copy(self, array: _Array) -> Storage:
        if array.member.method == STORED:
            check_member(self._storage, array.member)
        inflated = open_member(self._storage, array.member, array.member.size)  # the sum is within the budget
        data = Window(inflated, inflated.name, array.header.data, array.header.nbytes)
        if is_plain(array.header):
            return _Owned(inflated, array.header.data, array.header.nbytes)
        try:
            return hold(data.name, data.size, canonical_pieces(array.header, data))
        finally:
            inflated.close()


class _Owned(Window):
    """A window that closes what it looks into."""

    def __init__(self, outer: Storage, offset: int, size: int) -> None:
        super().__init__(outer, outer.name, offset, size)
        self._inner = outer

    def close(self) -> None:
        self._inner.close()


def _in_place(array: _Array) -> bool:
    return array.member.method == STORED and is_plain(array.header)
