"""The values of a `TensorProto`, in which V1 checkpoints keep their data.

Each type has its own repeated field; a writer may pack it (one run of bytes) or not (a field per element), in any
number of pieces. Floats that are packed in one piece stay where they are in the file; all else is decoded once into
a scratch copy. Sources: tensorflow/core/framework/tensor.proto, tensorflow/core/util/saved_tensor_slice_util.h
(`TENSOR_PROTO_EXTRACT_TYPE`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError, UnsupportedError
from ckptkit.formats.tensorflow.wire import (
    field_bytes,
    length_tag,
    parse_fields,
    parse_varint,
    scan_fields,
    signed,
)
from ckptkit.storage.bytes import Storage, Window, read
from ckptkit.storage.scratch import hold

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTENT = length_tag(4)

# Packed numbers are decoded in units of this many bytes.
_UNIT_BYTES = 1 << 20

# A field per element is legal and was never TensorFlow's way; each costs a Python object.
_MOST_PIECES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Field:
    """Where a type's values are.

    Attributes:
        number: of the field in `TensorProto`.
        fixed: bytes of one stored number; 0 for varints.
        code: of one value, as `struct` has it.
        parts: numbers to an element; 2 for complex ones.
    """

    number: int
    fixed: int
    code: str
    parts: int = 1


# canonical dtype: its repeated field in TensorProto
_FIELDS = {
    "float32": _Field(5, 4, "f"),
    "float64": _Field(6, 8, "d"),
    "complex64": _Field(9, 4, "f", 2),
    "complex128": _Field(12, 8, "d", 2),
    "int32": _Field(7, 0, "i"),
    "int16": _Field(7, 0, "h"),
    "int8": _Field(7, 0, "b"),
    "uint16": _Field(7, 0, "H"),
    "uint8": _Field(7, 0, "B"),
    "qint32": _Field(7, 0, "i"),
    "qint16": _Field(7, 0, "h"),
    "qint8": _Field(7, 0, "b"),
    "quint16": _Field(7, 0, "H"),
    "quint8": _Field(7, 0, "B"),
    "int64": _Field(10, 0, "q"),
    "bool": _Field(11, 0, "?"),
    "float16": _Field(13, 0, "H"),
    "bfloat16": _Field(13, 0, "H"),
    "uint32": _Field(16, 0, "I"),
    "uint64": _Field(17, 0, "Q"),
}


def open_values(storage: Storage, begin: int, end: int, dtype: str, count: int) -> Storage:
    """The values of the `TensorProto` at bytes `begin` to `end`, little-endian in C order.

    Args:
        storage: the file, or an inflated block of it.
        begin: first byte of the message.
        end: the byte after it.
        dtype: canonical dtype.
        count: number of elements that there must be.

    Raises:
        FormatError: there are more or fewer, or one is out of its type's range.
        UnsupportedError: V1 checkpoints do not hold this type.
    """
    field = _FIELDS.get(dtype)
    if field is None:
        raise UnsupportedError(f"{dtype} is not read from V1 checkpoints")
    width = struct.calcsize(f"<{field.code}")
    expected = count * field.parts * width
    pieces = _find_pieces(storage, begin, end, field)
    fixed = field.fixed > 0
    if len(pieces) == 1 and (fixed or pieces[0][0] == _CONTENT) and pieces[0][0] & 7 == 2:
        _, first, last = pieces[0]
        _check_count(last - first, expected)
        return Window(storage, storage.name, first, last - first)
    return hold(storage.name, expected, _decode(storage, pieces, field, expected))


def _find_pieces(storage: Storage, begin: int, end: int, field: _Field) -> list[tuple[int, int, int]]:
    """(tag, begin, end) of every packed run, (tag, number, number) of every single value."""
    single = field.number << 3 | {0: 0, 4: 5, 8: 1}[field.fixed]
    wanted = (single, length_tag(field.number))
    values, content = [], []
    for piece in scan_fields(storage, begin, end):
        if piece[0] in wanted:
            values.append(piece)
            if len(values) > _MOST_PIECES:
                raise LimitError("the values of a tensor are scattered", expected=f"at most {_MOST_PIECES} pieces")
        elif piece[0] == _CONTENT and piece[2] > piece[1]:
            content.append(piece)
    if content and not values:
        return content[-1:]
    return values


def _check_count(found: int, expected: int) -> None:
    if found != expected:
        raise FormatError(
            "the tensor holds another number of values than its shape says", expected=f"{expected} bytes", found=found
        )


def _decode(storage: Storage, pieces: list[tuple[int, int, int]], field: _Field, expected: int) -> Iterator[bytes]:
    """The values as little-endian bytes, `expected` in all, in pieces."""
    total = 0
    singles: list[int] = []
    for tag, first, last in pieces:
        if tag & 7 != 2:
            singles.append(first)
            if len(singles) < _UNIT_BYTES // 16:
                continue
        if singles:
            block = _encode(singles, field)
            singles = []
            total += len(block)
            yield block
        if tag & 7 == 2:
            for block in _decode_packed(storage, first, last, field):
                total += len(block)
                if total > expected:
                    break
                yield block
        if total > expected:
            break
    if singles:
        block = _encode(singles, field)
        total += len(block)
        yield block
    _check_count(total, expected)


def _decode_packed(storage: Storage, begin: int, end: int, field: _Field) -> Iterator[bytes]:
    rest = b""
    for at in range(begin, end, _UNIT_BYTES):
        unit = bytes(read(storage, at, min(_UNIT_BYTES, end - at)))
        if field.fixed:
            yield unit
            continue
        unit = rest + unit
        numbers, place = [], 0
        stop = len(unit) if at + _UNIT_BYTES >= end else max(len(unit) - 10, 0)
        while place < stop:
            value, place = parse_varint(unit, place)
            numbers.append(value)
        rest = unit[place:]
        yield _encode(numbers, field)


def _encode(numbers: list[int], field: _Field) -> bytes:
    """Stored numbers as values: fixed ones as they are, varints in the type's own width."""
    if field.fixed:
        return b"".join(value.to_bytes(field.fixed, "little") for value in numbers)
    values = numbers if field.code in "?HBIQ" else [signed(value) for value in numbers]
    try:
        return struct.pack(f"<{len(values)}{field.code}", *values)
    except struct.error as error:
        raise FormatError("a value is out of its type's range") from error


def parse_string_values(data: bytes | bytearray, count: int) -> list[bytes]:
    """The `count` elements of a `TensorProto` of strings."""
    strings = [field_bytes(value) for tag, value in parse_fields(data) if tag == length_tag(8)]
    if len(strings) != count:
        raise FormatError(
            "the tensor holds another number of values than its shape says", expected=count, found=len(strings)
        )
    return strings
