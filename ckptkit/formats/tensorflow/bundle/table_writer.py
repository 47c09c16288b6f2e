"""Writing a table (see `table.py` for its layout): uncompressed, with checksums, block by block."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ckptkit.formats.tensorflow.bundle.checksum import crc32c, mask
from ckptkit.formats.tensorflow.bundle.table import FOOTER_BYTES, MAGIC, TRAILER_BYTES, UNCOMPRESSED
from ckptkit.formats.tensorflow.wire import encode_varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A block is closed when it reaches this size; TensorFlow's default.
_BLOCK_BYTES = 256 << 10
_RESTART_INTERVAL = 16


def encode_table(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The bytes of an uncompressed table with `entries`, whose keys must rise, block by block."""
    index: list[tuple[bytes, bytes]] = []
    place = 0
    pending: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in entries:
        pending.append((key, value))
        size += len(key) + len(value)
        if size >= _BLOCK_BYTES:
            yield (block := _seal(encode_block(pending)))
            index.append((key, _encode_handle(place, block)))
            place, pending, size = place + len(block), [], 0
    if pending or not index:
        yield (block := _seal(encode_block(pending)))
        index.append((pending[-1][0] if pending else b"", _encode_handle(place, block)))
        place += len(block)
    yield (meta := _seal(encode_block([])))
    yield (directory := _seal(encode_block(index, restart_interval=1)))
    handles = _encode_handle(place, meta) + _encode_handle(place + len(meta), directory)
    yield handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC


def encode_block(entries: list[tuple[bytes, bytes]], restart_interval: int = _RESTART_INTERVAL) -> bytes:
    """The content of a block: prefix-compressed entries and the places of the restarts."""
    content = bytearray()
    restarts = []
    previous = b""
    for place, (key, value) in enumerate(entries):
        shared = 0
        if place % restart_interval == 0:
            restarts.append(len(content))
        else:
            longest = min(len(previous), len(key))
            while shared < longest and previous[shared] == key[shared]:
                shared += 1
        content += encode_varint(shared) + encode_varint(len(key) - shared) + encode_varint(len(value))
        content += key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(content) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _seal(content: bytes) -> bytes:
    """`content` with its trailer."""
    typed = content + bytes([UNCOMPRESSED])
    return typed + struct.pack("<I", mask(crc32c(typed)))


def _encode_handle(place: int, sealed: bytes) -> bytes:
    return encode_varint(place) + encode_varint(len(sealed) - TRAILER_BYTES)
