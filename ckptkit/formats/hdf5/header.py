"""Object headers: the messages that say what a group or a dataset is (IV.A.1)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.hdf5.file import Hdf5File

# IV.A.2, header message types
DATASPACE = 0x01
LINK_INFO = 0x02
DATATYPE = 0x03
OLD_FILL_VALUE = 0x04
FILL_VALUE = 0x05
LINK = 0x06
EXTERNAL_FILES = 0x07
LAYOUT = 0x08
FILTERS = 0x0B
ATTRIBUTE = 0x0C
CONTINUATION = 0x10
SYMBOL_TABLE = 0x11
ATTRIBUTE_INFO = 0x15

_SHARED = 0x02
_V1_MESSAGE = struct.Struct("<HHB3x")
_V2_MESSAGE = struct.Struct("<BHB")


class Message(NamedTuple):
    """One header message: its type, and its bytes."""

    kind: int
    body: bytes


def read_header(file: Hdf5File, address: int) -> list[Message]:
    """All messages of the object header at `address`, those in continuations too, committed datatypes resolved.

    Raises:
        FormatError: the header is broken.
    """
    messages = []
    for kind, flags, body in _read_raw(file, address):
        shared = flags & _SHARED and kind == DATATYPE
        messages.append(Message(kind, read_shared(file, body) if shared else body))
    return messages


def read_shared(file: Hdf5File, body: bytes) -> bytes:
    """The committed datatype, in an object header of its own, that a shared message refers to (IV.A.2).

    Raises:
        FormatError: it is not there, or is kept in a heap of shared messages, which no writer of checkpoints makes.
    """
    version, where = (body[0], body[1]) if len(body) > 2 else (0, 0)
    if version not in (1, 2, 3) or (version == 3 and where != 2):
        raise file.broken("a shared header message of an unknown kind", found=f"version {version}, type {where}")
    for kind, flags, found in _read_raw(file, file.offset(body, 8 if version == 1 else 2)):
        if kind == DATATYPE and not flags & _SHARED:
            return found
    raise file.broken("a committed datatype that is not where it should be")


def _read_raw(file: Hdf5File, address: int) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, bytes) of every message but the continuations, which are followed, each once."""
    head = file.read(address, 12)
    newer = head[:4] == b"OHDR"
    if newer:
        if head[4] != 2:
            raise file.broken("broken object header", expected="version 2", found=f"version {head[4]}")
        prefix = 6 + 16 * (head[5] >> 5 & 1) + 4 * (head[5] >> 4 & 1)
        width = 1 << (head[5] & 3)
        size = int.from_bytes(file.read(address + prefix, width), "little")
        prefix += width
        data = file.checked(file.read(address, prefix + size + 4), "an object header")[prefix:]
        message, skip = _V2_MESSAGE, 2 * (head[5] >> 2 & 1)
    elif head[0] == 1:
        data = file.read(address + 16, int.from_bytes(head[8:12], "little"))
        message, skip = _V1_MESSAGE, 0
    else:
        raise file.broken("broken object header", expected="version 1 or 2", found=f"version {head[0]}")
    blocks: list[tuple[int, int]] = []
    followed = 0
    while True:
        at, end = 0, len(data)
        while at + message.size + skip <= end:
            kind, length, flags = message.unpack_from(data, at)
            at += message.size + skip
            if at + length > end:
                raise file.broken("a header message that is longer than its header", expected=end - at, found=length)
            if kind == CONTINUATION:
                block = file.offset(data, at), file.length(data, at + file.offset_size)
                if block in blocks:
                    raise file.broken("an object header that continues in itself")
                blocks.append(block)
            elif kind:
                yield kind, flags, data[at : at + length]
            at += length
        if followed == len(blocks):
            return
        begin, size = blocks[followed]
        followed += 1
        data = file.read(begin, size)
        if newer:
            if data[:4] != b"OCHK":
                raise file.broken("broken continuation of an object header")
            data = file.checked(data, "an object header")[4:]
