"""The sorted string table of LevelDB, in which V2 indexes and V1 checkpoints are kept.

Layout: data blocks, a meta-index block, an index block, and a footer of 48 bytes with the places of the last two. A
block is a run of prefix-compressed entries, the places of its restarts, and five bytes of trailer: compression type
and masked CRC-32C over content and type. Sources: leveldb/doc/table_format.md, leveldb/table/block_builder.cc,
tensorflow/tsl/lib/io/table_options.h (blocks of 256 KiB, types 0 and 1 mixed in one file).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import ChecksumError, FormatError, LimitError, UnsupportedError
from ckptkit.formats.tensorflow.bundle.checksum import crc32c, unmask
from ckptkit.formats.tensorflow.wire import naming, parse_varint
from ckptkit.storage.bytes import Storage, Window, check_range, read
from ckptkit.storage.scratch import hold

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = bytes.fromhex("57fb808b247547db")
"""The last eight bytes of every table (0xdb4775248b80fb57, little-endian)."""

FOOTER_BYTES = 48
TRAILER_BYTES = 5
UNCOMPRESSED, _SNAPPY = 0, 1

# What opening a table may cost, whatever it declares: a block in memory, all blocks that are listed, the names
# (prefix compression makes a megabyte of name out of four bytes) and the number of entries.
MAX_BLOCK_BYTES = 64 << 20
MAX_LISTED_BYTES = 256 << 20
MAX_NAME_BYTES = 64 << 20
MAX_ENTRIES = 250_000

# A snappy copy of 64 bytes takes three, so no stream inflates to more than this many times its size.
_SNAPPY_RATIO = 22

# One read of this size serves the keys of many small entries.
_WINDOW_BYTES = 4 << 10


@dataclass(frozen=True, slots=True)
class Handle:
    """Place of a block: first byte and length without the trailer."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Table:
    """An open table: where its data blocks lie.

    Attributes:
        storage: the file.
        blocks: (a key not below any of the block and below all of the next, place), in order.
    """

    storage: Storage
    blocks: tuple[tuple[bytes, Handle], ...]


def open_table(storage: Storage) -> Table:
    """Read footer, meta-index and index of the table in `storage`.

    Raises:
        FormatError: it is not a table, is cut short, or its checksums do not match.
    """
    with naming(storage.name):
        if storage.size < FOOTER_BYTES:
            raise FormatError(
                "too short for a checkpoint table", expected=f"at least {FOOTER_BYTES} bytes", found=storage.size
            )
        footer = read(storage, storage.size - FOOTER_BYTES, FOOTER_BYTES)
        if footer[-8:] != MAGIC:
            raise FormatError(
                "not a checkpoint table, or one that is cut short", expected=f"last bytes {MAGIC.hex()}",
                found=bytes(footer[-8:]).hex(),
            )  # fmt: skip
        meta, at = _parse_handle(footer[:40], 0)
        index, _ = _parse_handle(footer[:40], at)
        read_block(storage, meta)
        blocks: list[tuple[bytes, Handle]] = []
        for key, value in parse_block(read_block(storage, index)):
            handle, _ = _parse_handle(value, 0)
            if blocks and key <= blocks[-1][0]:
                raise FormatError("the blocks of the table are not in order")
            blocks.append((key, handle))
        if sum(handle.size + TRAILER_BYTES for _, handle in blocks) > storage.size:
            raise FormatError("the blocks of the table overlap or reach beyond the file")
    return Table(storage, tuple(blocks))


def _parse_handle(data: bytes | bytearray, at: int) -> tuple[Handle, int]:
    offset, at = parse_varint(data, at)
    size, at = parse_varint(data, at)
    return Handle(offset, size), at


def read_entries(table: Table) -> Iterator[tuple[bytes, bytes]]:
    """Every (key, value) of the table in order; each block is verified before anything of it is given.

    Raises:
        FormatError: a block is malformed or keys are out of order.
        LimitError: the table declares more than is ever read into memory.
    """
    with naming(table.storage.name):
        if sum(handle.size for _, handle in table.blocks) > MAX_LISTED_BYTES:
            raise LimitError("the index is too large to be listed", expected=f"at most {MAX_LISTED_BYTES} bytes")
        count, listed, names = 0, 0, MAX_NAME_BYTES
        previous: bytes | None = None
        for separator, handle in table.blocks:
            block = read_block(table.storage, handle)
            listed += len(block)
            entries = parse_block(block, names)
            count += len(entries)
            if listed > MAX_LISTED_BYTES or count > MAX_ENTRIES:
                raise LimitError("the index declares too much", expected=f"at most {MAX_ENTRIES} entries")
            for key, value in entries:
                if previous is not None and key <= previous:
                    raise FormatError("the keys of the table are not in order")
                previous = key
                names -= len(key)
                yield key, value
            if previous is not None and previous > separator:
                raise FormatError("a key of the table is beyond its block's range")


def parse_block(block: bytes | bytearray, name_budget: int = MAX_NAME_BYTES) -> list[tuple[bytes, bytes]]:
    """The (key, value) pairs of a block's content.

    Args:
        block: content without the trailer.
        name_budget: bytes that all keys together may take.

    Raises:
        FormatError: entries or restarts do not fit the block.
        LimitError: the keys take more than `name_budget`.
    """
    content = bytes(block)
    limit, count = _parse_restarts(content[-4:], len(content))
    starts = _parse_starts(content, limit, count)
    entries: list[tuple[bytes, bytes]] = []
    at, met, key = 0, 0, b""
    while at < limit:
        restart = at in starts
        shared, fresh, length = content[at], content[at + 1], content[at + 2]
        if (shared | fresh | length) < 0x80:
            at += 3
        else:
            shared, at = parse_varint(content, at)
            fresh, at = parse_varint(content, at)
            length, at = parse_varint(content, at)
        stop = at + fresh
        end = stop + length
        if end > limit or shared > len(key) or (restart and shared):
            raise FormatError("an entry of a table block does not fit it")
        met += restart
        key = key[:shared] + content[at:stop]
        entries.append((key, content[stop:end]))
        at = end
        name_budget -= len(key)
        if name_budget < 0:
            raise LimitError("the names in the index are too long", expected=f"at most {MAX_NAME_BYTES} bytes in all")
    if met != len(starts):
        raise FormatError("the restarts of a table block are not where its entries are")
    return entries


def _parse_restarts(tail: bytes, size: int) -> tuple[int, int]:
    """Where the entries of a block of `size` bytes end, and its number of restarts, from its last four bytes."""
    if len(tail) < 4:
        raise FormatError("a table block is too short", expected="at least 4 bytes", found=size)
    count = int.from_bytes(tail, "little")
    limit = size - 4 * (count + 1)
    if limit < 0 or (limit and not count):
        raise FormatError("a table block declares another number of restarts than it has room for", found=count)
    return limit, count


def _parse_starts(content: bytes, limit: int, count: int) -> frozenset[int]:
    """The places of a block's restarts; none for a block without entries, which still declares one at 0."""
    restarts = struct.unpack_from(f"<{count}I", content, limit)
    starts = frozenset(restarts)
    if (restarts and restarts[0]) or len(starts) != count:
        raise FormatError("the restarts of a table block are not where its entries are")
    return starts if limit else frozenset()


def read_block(storage: Storage, handle: Handle) -> bytes | bytearray:
    """The content of a block: checksum verified, inflated, of bounded size.

    Raises:
        FormatError: it is not wholly in the file, does not match its checksum or does not inflate as declared.
        LimitError: it is larger than `MAX_BLOCK_BYTES`.
    """
    check_range(storage, handle.offset, handle.size + TRAILER_BYTES)
    if handle.size > MAX_BLOCK_BYTES:
        raise LimitError(
            "a table block is too large to be read whole",
            expected=f"at most {MAX_BLOCK_BYTES} bytes",
            found=handle.size,
        )
    stored = read(storage, handle.offset, handle.size + TRAILER_BYTES)
    kind = _check_trailer(crc32c(memoryview(stored)[:-4]), stored[-TRAILER_BYTES:])
    # Not shortened in place: a profiler that holds a frame of the reading above holds a view of the bytes with it.
    content = stored[:-TRAILER_BYTES]
    return content if kind == UNCOMPRESSED else _inflate(content)


def open_block(storage: Storage, handle: Handle) -> Storage:
    """The verified content of a block as something to read ranges of.

    Uncompressed blocks, which in V1 checkpoints hold whole tensors, stay in the file and may have any size.
    """
    check_range(storage, handle.offset, handle.size + TRAILER_BYTES)
    end = handle.offset + handle.size
    trailer = read(storage, end, TRAILER_BYTES)
    if trailer[0] != UNCOMPRESSED:
        inflated = read_block(storage, handle)
        return hold(storage.name, len(inflated), [bytes(inflated)])
    crc, at = 0, handle.offset
    buffer = memoryview(bytearray(min(1 << 20, handle.size)))
    while at < end:
        piece = buffer[: min(len(buffer), end - at)]
        storage.read_into(at, piece)
        crc = crc32c(piece, crc)
        at += len(piece)
    _check_trailer(crc32c(trailer[:1], crc), trailer)
    return Window(storage, storage.name, handle.offset, handle.size)


def locate_entries(block: Storage) -> dict[bytes, tuple[int, int]]:
    """Key -> (begin, end) of its value, for a block of any size of which only the keys are read.

    Raises:
        FormatError: an entry does not fit the block.
        LimitError: the keys take more than `MAX_NAME_BYTES`.
    """
    limit, _ = _parse_restarts(bytes(read(block, max(block.size - 4, 0), min(block.size, 4))), block.size)
    places: dict[bytes, tuple[int, int]] = {}
    at, base, window, key = 0, 0, b"", b""
    names = MAX_NAME_BYTES
    while at < limit:
        if at + 30 > base + len(window) and base + len(window) < limit:
            base, window = at, bytes(read(block, at, min(_WINDOW_BYTES, limit - at)))
        shared, place = parse_varint(window, at - base)
        fresh, place = parse_varint(window, place)
        length, place = parse_varint(window, place)
        begin = base + place + fresh
        names -= shared + fresh
        if begin + length > limit or shared > len(key):
            raise FormatError("an entry of a table block does not fit it")
        if names < 0:
            raise LimitError("the names in the index are too long", expected=f"at most {MAX_NAME_BYTES} bytes in all")
        key = key[:shared] + bytes(read(block, base + place, fresh))
        at = begin + length
        places[key] = (begin, at)
    return places


def _check_trailer(crc: int, trailer: bytes | bytearray) -> int:
    """The compression type, once `crc` over content and type is what the trailer says."""
    expected = unmask(int.from_bytes(trailer[1:], "little"))
    if crc != expected:
        raise ChecksumError(
            "a table block does not match its checksum", expected=f"crc32c {expected:08x}", found=f"{crc:08x}"
        )
    if trailer[0] not in (UNCOMPRESSED, _SNAPPY):
        raise UnsupportedError("a table block is compressed in an unknown way", found=f"type {trailer[0]}")
    return trailer[0]


def _inflate(stored: bytearray) -> bytes:
    length, _ = parse_varint(stored, 0)
    if length > MAX_BLOCK_BYTES or length > len(stored) * _SNAPPY_RATIO:
        raise LimitError(
            "a compressed table block declares too much", expected=f"at most {MAX_BLOCK_BYTES} bytes", found=length
        )
    import cramjam

    try:
        inflated = bytes(cramjam.snappy.decompress_raw(stored))
    except cramjam.DecompressionError as error:
        raise FormatError("a compressed table block does not inflate") from error
    if len(inflated) != length:
        raise FormatError("a compressed table block is not as long as it says", expected=length, found=len(inflated))
    return inflated
