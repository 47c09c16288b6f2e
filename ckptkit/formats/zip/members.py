"""The one reader of zip archives: a directory that is believed only where it agrees with the file.

Python's `zipfile` takes the last of two members with one name, members that share bytes, and sizes that nothing backs;
other readers decide otherwise. Here such an archive is refused, and a member inflates to exactly the bytes it declares
or not at all.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.5 (the structures bear its names).
"""

from __future__ import annotations

import stat
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ckptkit.errors import ChecksumError, FormatError, LimitError, UnsupportedError
from ckptkit.storage.bytes import Storage, Window, read
from ckptkit.storage.crc32 import crc32
from ckptkit.storage.scratch import hold

if TYPE_CHECKING:
    from collections.abc import Iterator

STORED = 0
DEFLATED = 8

# signature, disk numbers (2), entries on this disk, entries, directory size, directory offset, comment length
_END = struct.Struct("<4s4H2LH")
# signature, disk, offset of the zip64 end record, disks
_LOCATOR = struct.Struct("<4sLQL")
# signature, record size, versions (2), disk numbers (2), entries on this disk, entries, directory size and offset
_END64 = struct.Struct("<4sQ2H2L4Q")
# signature, versions (2), flags, method, time, date, crc, compressed, size, name length, extra length, comment length,
# disk, internal attributes, external attributes, offset of the local header
_CENTRAL = struct.Struct("<4s6H3L5H2L")
# signature, version, flags, method, time, date, crc, compressed, size, name length, extra length
_LOCAL = struct.Struct("<4s5H3L2H")

_LARGEST_COMMENT = 0xFFFF
_ZIP64_EXTRA = 0x0001
_IN_ZIP64 = 0xFFFFFFFF  # a 32-bit field whose value is in the zip64 extra field instead

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # flags: traditional, strong, masked directory
_PATCHED = 0x0020
_SIZES_FOLLOW = 0x0008  # the local header's sizes and checksum are zero, a data descriptor has them
_UTF8 = 0x0800

# An archive of 100,000 variables has a directory of about 10 MiB; the factor in hand is for long names.
_LARGEST_DIRECTORY = 64 << 20
_MOST_MEMBERS = 400_000

# Deflate cannot do better than 258 bytes for two bits: https://www.zlib.net/zlib_tech.html
_LARGEST_RATIO = 1032

_PIECE = 1 << 20
_FIRST_PIECE = 1 << 14  # often all that is wanted: the header of an array


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive; its range is inside the archive and shared with no other.

    Attributes:
        name: as stored, decoded.
        method: `STORED` or `DEFLATED`, or another number that `open_member` refuses.
        size: bytes that it declares to inflate to.
        compressed: bytes that it takes.
        crc: CRC-32 of the inflated bytes.
        offset: where its bytes begin.
        comment: free bytes that the directory keeps for it.
    """

    name: str
    method: int
    size: int
    compressed: int
    crc: int
    offset: int
    comment: bytes = b""


@dataclass(frozen=True, slots=True)
class _Entry:
    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header: int
    comment: bytes


def is_zip(storage: Storage) -> bool:
    """Whether the file begins as an archive does; an empty archive is its end record alone."""
    return storage.size >= _END.size and bytes(read(storage, 0, 4)) in (b"PK\x03\x04", b"PK\x05\x06")


def members(storage: Storage, *, paths: bool = True) -> dict[str, Member]:
    """The members of an archive by name, in the order of its directory; folders are left out.

    Args:
        storage: the archive.
        paths: whether names are paths, so that absolute ones and `..` are refused; in an npz they are mere keys.

    Raises:
        FormatError: no archive, cut short, contradictory, with two members of one name or shared bytes.
        UnsupportedError: encrypted, or spread over several files.
        LimitError: a directory beyond 64 MiB or 400,000 members.
    """
    count, start, size = _find_directory(storage)
    found: dict[str, Member] = {}
    ends: list[tuple[int, int, str]] = []
    entries = _parse_directory(storage.name, bytes(read(storage, start, size)), count)
    storage.expect(entry.header for entry in entries)
    for entry in entries:
        if entry.name in found:
            raise _wrong(storage, entry.name, "two members have this name; readers differ in which one counts")
        if paths:
            _check_path(storage, entry.name)
        member = _locate(storage, entry, start)
        found[entry.name] = member
        ends.append((entry.header, member.offset + member.compressed, entry.name))
    ends.sort()
    for (_, end, name), (header, _, other) in pairwise(ends):
        if header < end:
            raise _wrong(storage, other, f"shares bytes with the member {name}")
    return {name: member for name, member in found.items() if not name.endswith("/")}


def open_member(storage: Storage, member: Member, limit: int) -> Storage:
    """The inflated bytes of `member` for reading by ranges.

    A stored member is read in place (`check_member` verifies its checksum); a deflated one is inflated here, into
    memory or an unlinked temporary file, and verified.

    Args:
        storage: the archive; stays open and is still needed for a stored member.
        member: one of `members(storage)`.
        limit: most bytes to inflate; judged on what the member declares.

    Raises:
        LimitError: it declares more than `limit`.
        ChecksumError, FormatError: it is damaged or does not inflate to what it declares.
    """
    name = f"{storage.name}:{member.name}"
    if member.method == STORED:
        return Window(storage, name, member.offset, member.size)
    if member.size > limit:
        raise LimitError(
            "a compressed member is too large to inflate",
            path=storage.name,
            key=member.name,
            expected=f"at most {limit} bytes",
            found=member.size,
            hint="Pack the archive again without compression",
        )
    return hold(name, member.size, stream_member(storage, member))


def stream_member(storage: Storage, member: Member) -> Iterator[bytes]:
    """The inflated bytes of `member` in order, in pieces of at most 1 MiB.

    Raises:
        ChecksumError, FormatError: at the latest after the last piece, when bytes and declaration do not agree.
    """
    if member.method == STORED:
        pieces = _stored(storage, member)
    elif member.method == DEFLATED:
        pieces = _inflated(storage, member)
    else:
        raise UnsupportedError(
            "the compression method is not read",
            path=storage.name,
            key=member.name,
            expected="stored or deflated",
            found=f"method {member.method}",
            hint="Pack the archive again with another method",
        )
    done = crc = 0
    for piece in pieces:
        done += len(piece)
        if done > member.size:
            break
        crc = crc32(piece, crc)
        yield piece
    if done != member.size:
        raise _wrong(storage, member.name, "does not inflate to what it declares", f"{member.size} bytes", done)
    if crc != member.crc:
        raise ChecksumError(
            "the member does not match its checksum",
            path=storage.name,
            key=member.name,
            expected=f"crc32 {member.crc:08x}",
            found=f"{crc:08x}",
        )


def check_member(storage: Storage, member: Member) -> None:
    """Read all of `member` once and verify its checksum, keeping nothing."""
    for _ in stream_member(storage, member):
        pass


def _stored(storage: Storage, member: Member) -> Iterator[bytes]:
    for piece in storage.stream(member.offset, member.size, memoryview(bytearray(_PIECE))):
        yield bytes(piece)


def _inflated(storage: Storage, member: Member) -> Iterator[bytes]:
    """Pieces of the deflate stream; one byte more than declared is enough to tell that it is too long."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    at, end = member.offset, member.offset + member.compressed
    pending, step = b"", _FIRST_PIECE
    try:
        while not inflater.eof:
            if not pending:
                pending = bytes(read(storage, at, min(step, end - at)))
                at += len(pending)
                step = min(4 * step, _PIECE)
            given = len(pending)
            piece = inflater.decompress(pending, _PIECE)
            pending = inflater.unconsumed_tail
            if piece:
                yield piece
            elif at == end and len(pending) == given and not inflater.eof:
                raise _wrong(storage, member.name, "the compressed data ends before its end mark")
    except zlib.error as error:
        raise _wrong(storage, member.name, "the compressed data is damaged") from error
    if at != end or pending or inflater.unused_data:
        raise _wrong(storage, member.name, "bytes follow the end of the compressed data")


def _wrong(
    storage: Storage, key: str | None, problem: str, expected: object = None, found: object = None
) -> FormatError:
    return FormatError(problem, path=storage.name, key=key, expected=expected, found=found)


# ----------------------------------------------------------------------------------------------------- the directory


def _find_directory(storage: Storage) -> tuple[int, int, int]:
    """(number of members, offset of the directory, its size), from the record at the very end of the file."""
    length = min(storage.size, _END.size + _LARGEST_COMMENT)
    tail = bytes(read(storage, storage.size - length, length))
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and not (
        at + _END.size <= length and at + _END.size + tail[at + 20] + (tail[at + 21] << 8) == length
    ):
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    if at < 0:
        raise _wrong(storage, None, "not a zip archive, or its end is missing", "an end record in the last 64 KiB")
    _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(tail, at)
    end = storage.size - length + at
    if end >= _LOCATOR.size:
        signature, _, record, _ = _LOCATOR.unpack(read(storage, end - _LOCATOR.size, _LOCATOR.size))
        if signature == b"PK\x06\x07":
            signature, _, _, _, disk, first_disk, here, count, size, start = _END64.unpack(
                read(storage, record, _END64.size)
            )
            if signature != b"PK\x06\x06" or record + _END64.size > end - _LOCATOR.size:
                raise _wrong(storage, None, "the zip64 end record is not where the archive says")
            end = record
    if disk or first_disk or here != count:
        raise UnsupportedError("an archive in several files is not read", path=storage.name)
    if start + size != end:
        raise _wrong(
            storage, None, "the directory is not where the archive says", f"its end at byte {end}", start + size
        )
    if size > _LARGEST_DIRECTORY or count > _MOST_MEMBERS:
        raise LimitError(
            "the archive's directory is too large",
            path=storage.name,
            expected=f"at most {_LARGEST_DIRECTORY} bytes and {_MOST_MEMBERS} members",
            found=f"{size} bytes and {count} members",
        )
    return count, start, size


def _parse_directory(path: str, data: bytes, count: int) -> list[_Entry]:
    """The entries of the central directory `data`, which they fill exactly."""
    entries = []
    at = 0
    for number in range(count):
        if at + _CENTRAL.size > len(data):
            raise FormatError("the directory is too short", path=path, expected=f"{count} members", found=number)
        fields = _CENTRAL.unpack_from(data, at)
        flags, method, crc, compressed, size = fields[3], fields[4], *fields[7:10]
        names, extras, comments, disk, attributes, header = *fields[10:14], *fields[15:17]
        body = at + _CENTRAL.size
        at = body + names + extras + comments
        if fields[0] != b"PK\x01\x02" or at > len(data):
            raise FormatError("the directory is damaged", path=path, expected=f"{count} members", found=number)
        raw_name = data[body : body + names]
        name = _parse_name(path, raw_name, flags)
        if flags & _ENCRYPTED:
            raise UnsupportedError("encrypted members are not read", path=path, key=name)
        if flags & _PATCHED or disk not in (0, 0xFFFF):
            raise UnsupportedError("a patch, or an archive in several files, is not read", path=path, key=name)
        if stat.S_ISLNK(attributes >> 16):
            raise FormatError("a member that is a symbolic link", path=path, key=name)
        size, compressed, header = _parse_zip64(
            path, name, data[body + names : body + names + extras], (size, compressed, header)
        )
        comment = data[at - comments : at]
        entries.append(_Entry(raw_name, name, flags, method, crc, compressed, size, header, comment))
    if at != len(data):
        raise FormatError(
            "the directory is longer than its members", path=path, expected=f"{at} bytes", found=len(data)
        )
    return entries


def _parse_name(path: str, raw: bytes, flags: int) -> str:
    """A member's name; the old encoding is code page 437, which decodes any byte."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise FormatError("a member's name is not UTF-8", path=path, key=repr(raw)) from error
    if not name or "\0" in name:
        raise FormatError("a member's name is empty or holds a NUL byte", path=path, key=name)
    return name


def _parse_zip64(path: str, name: str, extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
    """`values` (size, compressed size, header offset) with those that are in the zip64 extra field taken from there."""
    if _IN_ZIP64 not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + length]
        if kind == _ZIP64_EXTRA and len(field) == length:
            wanted = values.count(_IN_ZIP64)
            if length >= 8 * wanted:
                large = iter(struct.unpack_from(f"<{wanted}Q", field))
                return tuple(next(large) if value == _IN_ZIP64 else value for value in values)
        at += 4 + length
    raise FormatError("a member's zip64 sizes are missing", path=path, key=name)


def _check_path(storage: Storage, name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or (len(parts[0]) > 1 and parts[0][1] == ":"):
        raise _wrong(storage, name, "a member's name leads out of the archive")


def _locate(storage: Storage, entry: _Entry, directory: int) -> Member:
    """The member of `entry`, with its local header read and found to agree."""
    if entry.header + _LOCAL.size > directory:
        raise _wrong(storage, entry.name, "the member begins after the directory", f"before {directory}", entry.header)
    signature, _, flags, method, _, _, crc, compressed, size, names, extras = _LOCAL.unpack(
        read(storage, entry.header, _LOCAL.size)
    )
    raw_name = bytes(read(storage, entry.header + _LOCAL.size, names))
    if signature != b"PK\x03\x04" or raw_name != entry.raw_name or method != entry.method:
        raise _wrong(storage, entry.name, "the member and the directory do not agree")
    if flags & _ENCRYPTED:
        raise UnsupportedError("encrypted members are not read", path=storage.name, key=entry.name)
    if not flags & _SIZES_FOLLOW and not (
        crc == entry.crc and size in (entry.size, _IN_ZIP64) and compressed in (entry.compressed, _IN_ZIP64)
    ):
        raise _wrong(storage, entry.name, "the member and the directory do not agree on size or checksum")
    offset = entry.header + _LOCAL.size + names + extras
    if offset + entry.compressed > directory:
        raise _wrong(
            storage, entry.name, "the member is cut short", f"{entry.compressed} bytes", max(0, directory - offset)
        )
    least = entry.size if entry.method == STORED else -(-entry.size // _LARGEST_RATIO)
    if entry.compressed < least or (entry.method == STORED and entry.compressed != entry.size):
        raise _wrong(storage, entry.name, "declares a size that its bytes cannot hold", entry.size, entry.compressed)
    return Member(entry.name, entry.method, entry.size, entry.compressed, entry.crc, offset, entry.comment)
