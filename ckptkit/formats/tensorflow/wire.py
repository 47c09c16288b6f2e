"""Protocol-buffer wire format: the few rules that TensorFlow's messages need, on bytes and on stored ranges.

A field is known by its tag, which is field number and wire type in one number, so a field of the right number and the
wrong type is an unknown one and skipped, as protocol buffers have it. Nothing recurses: a message inside a message is
handed out as its bytes.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_WORD = 1 << 64

# A tag and a length take at most 20 bytes; one read of this size serves some hundred small fields.
_WINDOW_BYTES = 16 << 10

Buffer = bytes | bytearray | memoryview


def varint_tag(number: int) -> int:
    """Tag of a varint field: integers, booleans, enums."""
    return number << 3 | _VARINT


def length_tag(number: int) -> int:
    """Tag of a length-delimited field: bytes, strings, messages, packed numbers."""
    return number << 3 | _LENGTH


def fixed32_tag(number: int) -> int:
    """Tag of a fixed32 or float field."""
    return number << 3 | _FIXED32


@contextmanager
def naming(path: str, key: str | None = None) -> Iterator[None]:
    """Give the errors raised inside the file (and key) that they concern, where they do not name one."""
    try:
        yield
    except CkptkitError as error:
        error.path = error.path or path
        error.key = error.key or key
        raise


def parse_varint(data: Buffer, at: int) -> tuple[int, int]:
    """The unsigned varint at `at` and the place after it. Over-long forms are legal, more than 10 bytes are not.

    Raises:
        FormatError: it is too long or cut.
    """
    value = 0
    try:
        for shift in range(0, 70, 7):
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value % _WORD, at
    except IndexError as error:
        raise FormatError("a message ends inside a number") from error
    raise FormatError("a number takes more than 10 bytes")


def signed(value: int) -> int:
    """The two's complement reading of a 64-bit varint, which is how int32 and int64 are stored."""
    return value - _WORD if value >> 63 else value


def parse_fields(data: Buffer) -> Iterator[tuple[int, int | Buffer]]:
    """(tag, value) of every field: an integer for numbers, a slice of `data` for length-delimited ones.

    Raises:
        FormatError: the message is malformed.
    """
    at, end = 0, len(data)
    open_groups: list[int] = []
    value: int | Buffer
    # Numbers of one byte, which nearly all are, are read in place: this is where opening a large index spends its time.
    while at < end:
        tag = data[at]
        at += 1
        if tag > 0x7F:
            tag, at = parse_varint(data, at - 1)
        wire = tag & 7
        if wire <= _LENGTH and wire != _FIXED64:
            if at < end and data[at] < 0x80:
                head = data[at]
                at += 1
            else:
                head, at = parse_varint(data, at)
            if wire == _LENGTH:
                value = data[at : at + head]
                at += head
            else:
                value = head
        elif wire in _FIXED_BYTES:
            stop = at + _FIXED_BYTES[wire]
            value = int.from_bytes(data[at:stop], "little")
            at = stop
        else:
            _step_group(open_groups, tag)
            continue
        if at > end:
            raise FormatError("a message ends inside a field", expected=f"{at} bytes", found=end)
        if tag < 8:
            raise FormatError("a message has a field of number 0")
        if not open_groups:
            yield tag, value
    if open_groups:
        raise FormatError("a message ends inside a group")


def scan_fields(storage: Storage, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a stored message, without reading what is length-delimited.

    Yields:
        (tag, value, value) for numbers; (tag, begin, end) as places in `storage` for length-delimited fields.

    Raises:
        FormatError: the message is malformed.
    """
    at, base, window = begin, begin, b""
    open_groups: list[int] = []
    while at < end:
        if at + 20 > base + len(window) < end:
            base, window = at, bytes(read(storage, at, min(_WINDOW_BYTES, end - at)))
        tag, place = parse_varint(window, at - base)
        wire = tag & 7
        if wire == _VARINT:
            first, place = parse_varint(window, place)
            second, at = first, base + place
        elif wire == _LENGTH:
            length, place = parse_varint(window, place)
            first, second = base + place, base + place + length
            at = second
        elif wire in _FIXED_BYTES:
            stop = place + _FIXED_BYTES[wire]
            first = second = int.from_bytes(window[place:stop], "little")
            at = base + stop
        else:
            _step_group(open_groups, tag)
            at = base + place
            continue
        if at > end:
            raise FormatError("a message ends inside a field", expected=f"{at - begin} bytes", found=end - begin)
        if tag < 8:
            raise FormatError("a message has a field of number 0")
        if not open_groups:
            yield tag, first, second
    if open_groups:
        raise FormatError("a message ends inside a group")


def _step_group(open_groups: list[int], tag: int) -> None:
    """Enter or leave a group (a deprecated form, legal as an unknown field); depth is a list, not the stack."""
    wire, number = tag & 7, tag >> 3
    if wire == _GROUP:
        open_groups.append(number)
    elif wire != _END_GROUP:
        raise FormatError("a message has a field of no known type", found=f"wire type {wire}")
    elif not open_groups or open_groups.pop() != number:
        raise FormatError("a message closes a group that is not open")


def text(value: int | Buffer) -> str:
    """A string field; bytes that are not UTF-8 are kept visible as escapes."""
    return str(field_bytes(value), "utf-8", "backslashreplace")


def field_bytes(value: int | Buffer) -> bytes:
    """A length-delimited value as bytes of its own."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        raise FormatError("a number stands where bytes belong")
    return bytes(value)


def number(value: int | Buffer) -> int:
    """An int32, int64 or enum field, signed."""
    if isinstance(value, int):
        return value - _WORD if value >> 63 else value
    raise FormatError("bytes stand where a number belongs")


def encode_varint(value: int) -> bytes:
    """`value`, negative ones in two's complement of 64 bits, in the shortest form."""
    value %= _WORD
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_number(field: int, value: int) -> bytes:
    """A varint field; nothing for 0, which is what a missing field means."""
    return encode_varint(varint_tag(field)) + encode_varint(value) if value else b""


def encode_bytes(field: int, value: bytes) -> bytes:
    """A length-delimited field, also when it is empty: a sub-message's presence counts."""
    return encode_varint(length_tag(field)) + encode_varint(len(value)) + value


def encode_text(field: int, value: str) -> bytes:
    """A string field; nothing when it is empty."""
    return encode_bytes(field, value.encode("utf-8", "surrogateescape")) if value else b""
