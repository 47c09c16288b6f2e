"""Partitioned variables: the names of their parts, and what the parts are.

Sources: tensorflow/core/util/saved_tensor_slice_util.cc (`EncodeTensorNameSlice`),
tensorflow/core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import FormatError
from ckptkit.formats.partitions import Partition, check_tiling

if TYPE_CHECKING:
    from ckptkit.formats.tensorflow.bundle.entries import Extent


def encode_slice_key(name: bytes, extents: tuple[Extent, ...]) -> bytes:
    """The key under which a part of variable `name` is stored; it begins with a NUL, as no variable's name does."""
    bounds = b"".join(_ordered_signed(start) + _ordered_signed(length) for start, length in extents)
    return b"".join((_ordered_unsigned(0), _ordered_string(name), _ordered_unsigned(len(extents)), bounds))


def _ordered_string(value: bytes) -> bytes:
    """`OrderedCode::WriteString`: 0x00 and 0xFF escaped by each other, 0x00 0x01 at the end."""
    if b"\x00" in value or b"\xff" in value:
        escapes = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}
        value = b"".join(escapes.get(byte, bytes([byte])) for byte in value)
    return value + b"\x00\x01"


def _ordered_unsigned(value: int) -> bytes:
    """`OrderedCode::WriteNumIncreasing`: the number of bytes, then these, big-endian."""
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(body)]) + body


def _ordered_signed(value: int) -> bytes:
    """`OrderedCode::WriteSignedNumIncreasing`: two's complement, its top bits turned into a count of its bytes."""
    magnitude = ~value if value < 0 else value
    length = magnitude.bit_length() // 7 + 1
    header = ((1 << length) - 1) << 7 * length
    return ((value % (1 << 8 * length)) ^ header).to_bytes(length, "big")


def infer_parts(shape: tuple[int, ...], slices: tuple[tuple[Extent, ...], ...]) -> tuple[Partition, ...]:
    """The parts of a variable of `shape`, once they are proven to tile it: no hole, no overlap.

    Raises:
        FormatError: a part is not inside, or they do not tile.
    """
    parts = []
    for extents in slices:
        if len(extents) != len(shape):
            raise FormatError("a partition has another rank than its variable", expected=len(shape), found=len(extents))
        bounds = [
            (0, size) if length == -1 else (start, length) for (start, length), size in zip(extents, shape, strict=True)
        ]
        if any(
            start < 0 or length < 0 or start + length > size
            for (start, length), size in zip(bounds, shape, strict=True)
        ):
            raise FormatError("a partition reaches beyond its variable", expected=list(shape), found=list(extents))
        parts.append(Partition(tuple(start for start, _ in bounds), tuple(length for _, length in bounds)))
    check_tiling(shape, parts)
    return tuple(parts)
