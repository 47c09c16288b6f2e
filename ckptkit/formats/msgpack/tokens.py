"""MessagePack, token by token, with the places of what is not looked at.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ckptkit.errors import FormatError
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

Kind = Literal["map", "array", "str", "bin", "ext", "int", "float", "bool", "nil"]

_WINDOW_BYTES = 1 << 16

# First byte -> (kind, bytes of the length, bytes that follow it).
_LENGTHS: dict[int, tuple[Kind, int, int]] = {
    0xC4: ("bin", 1, 0), 0xC5: ("bin", 2, 0), 0xC6: ("bin", 4, 0),
    0xC7: ("ext", 1, 1), 0xC8: ("ext", 2, 1), 0xC9: ("ext", 4, 1),
    0xD9: ("str", 1, 0), 0xDA: ("str", 2, 0), 0xDB: ("str", 4, 0),
    0xDC: ("array", 2, 0), 0xDD: ("array", 4, 0), 0xDE: ("map", 2, 0), 0xDF: ("map", 4, 0),
}  # fmt: skip

# First byte -> (kind, `struct` format of the value).
_VALUES: dict[int, tuple[Kind, str]] = {
    0xCA: ("float", ">f"), 0xCB: ("float", ">d"),
    0xCC: ("int", ">B"), 0xCD: ("int", ">H"), 0xCE: ("int", ">I"), 0xCF: ("int", ">Q"),
    0xD0: ("int", ">b"), 0xD1: ("int", ">h"), 0xD2: ("int", ">i"), 0xD3: ("int", ">q"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """One value, or the head of one that holds others.

    Attributes:
        kind: what it is.
        value: of a number or a truth value; how many items of an array or map; the type of an extension.
        offset: of the first byte of a string's, binary's or extension's content; else of what follows.
        length: bytes of that content.
    """

    kind: Kind
    value: float
    offset: int
    length: int = 0

    @property
    def end(self) -> int:
        """Where the next token begins, if what this one holds is skipped or is none."""
        return self.offset + self.length


class Tokens:
    """The tokens of a storage, wherever they are asked for."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._begin = 0
        self._window = b""

    def bytes(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            FormatError: they are not all there.
        """
        at = offset - self._begin
        if at < 0 or at + length > len(self._window):
            if length > _WINDOW_BYTES or offset + length > self.storage.size:
                return bytes(read(self.storage, offset, length))
            self._begin, at = offset, 0
            self._window = bytes(read(self.storage, offset, min(_WINDOW_BYTES, self.storage.size - offset)))
        return self._window[at : at + length]

    def at(self, offset: int) -> Token:
        """The token that begins at `offset`.

        Raises:
            FormatError: it is none, or is longer than what is left.
        """
        first = self.bytes(offset, 1)[0]
        after = offset + 1
        if first < 0x80 or first >= 0xE0:
            return Token("int", first - 256 if first >= 0xE0 else first, after)
        if first < 0xA0:
            return self._container("map" if first < 0x90 else "array", first & 0x0F, after)
        if first < 0xC0:
            return self._content("str", 0, after, first & 0x1F)
        if first in _VALUES:
            kind, layout = _VALUES[first]
            size = struct.calcsize(layout)
            return Token(kind, struct.unpack(layout, self.bytes(after, size))[0], after + size)
        if first in _LENGTHS:
            kind, width, more = _LENGTHS[first]
            length = int.from_bytes(self.bytes(after, width), "big")
            after += width
            if kind in ("map", "array"):
                return self._container(kind, length, after)
            return self._content(kind, self.bytes(after, 1)[0] if more else 0, after + more, length)
        if 0xD4 <= first <= 0xD8:
            return self._content("ext", self.bytes(after, 1)[0], after + 1, 1 << (first - 0xD4))
        if first == 0xC0:
            return Token("nil", 0, after)
        if first in (0xC2, 0xC3):
            return Token("bool", first == 0xC3, after)
        raise FormatError("not MessagePack", path=self.storage.name, found=f"byte {first:#04x} at {offset}")

    def _container(self, kind: Kind, count: int, offset: int) -> Token:
        if count * (2 if kind == "map" else 1) > self.storage.size - offset:  # an item takes a byte at least
            raise self._cut(offset + count)
        return Token(kind, count, offset)

    def _content(self, kind: Kind, value: int, offset: int, length: int) -> Token:
        if offset + length > self.storage.size:
            raise self._cut(offset + length)
        return Token(kind, value, offset, length)

    def _cut(self, end: int) -> FormatError:
        return FormatError(
            "the file is cut short or is not MessagePack", path=self.storage.name, expected=f"{end} bytes",
            found=f"{self.storage.size} bytes",
        )  # fmt: skip
