"""Header and entries of a tensor bundle's index: what each says of the bundle and of one tensor.

Source: tensorflow/core/protobuf/tensor_bundle.proto, tensor_shape.proto, tensor_slice.proto, versions.proto.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from ckptkit.errors import FormatError, UnsupportedError
from ckptkit.formats.tensorflow.wire import (
    Buffer,
    encode_bytes,
    encode_number,
    encode_varint,
    field_bytes,
    fixed32_tag,
    length_tag,
    number,
    parse_fields,
    parse_varint,
    signed,
    varint_tag,
)

HEADER_KEY = b""
"""The index's first key."""

FORMAT_VERSION = 1
"""`kTensorBundleVersion`: the only version there is, and the one that is read and written here."""

# `StringPiece` names go through `%05d-of-%05d`; more shards than five digits can count were never written.
MAX_SHARDS = 99_999

Extent = tuple[int, int]
"""Start and length of a partition along one axis; length -1 for the whole axis."""


class BundleHeader(NamedTuple):
    """`BundleHeaderProto`."""

    num_shards: int


class BundleEntry(NamedTuple):
    """`BundleEntryProto`; a named tuple because 100,000 of them are made while a person waits."""

    dtype: int
    """Number in TensorFlow's `DataType`."""
    shape: tuple[int, ...] | None
    """None for a shape of unknown rank."""
    shard: int
    offset: int
    size: int
    crc: int
    """Masked CRC-32C, as stored."""
    slices: tuple[tuple[Extent, ...], ...] = ()
    """The partitions of a variable that is stored in several entries."""


def parse_header(data: bytes) -> BundleHeader:
    """The header, once it is one that is understood.

    Raises:
        FormatError: it is malformed or declares no shards.
        UnsupportedError: big-endian data, or a version that asks for a later reader.
    """
    shards = endianness = 0
    version: Buffer = b""
    for tag, value in parse_fields(data):
        if tag == varint_tag(1):
            shards = number(value)
        elif tag == varint_tag(2):
            endianness = number(value)
        elif tag == length_tag(3):
            version = field_bytes(value)
    if not 0 < shards <= MAX_SHARDS:
        raise FormatError("the bundle's header has no sound number of shards", found=shards)
    if endianness:
        raise UnsupportedError(
            "the bundle is big-endian", hint="Read it with TensorFlow on a machine of that byte order and save it anew."
        )
    check_version(version, FORMAT_VERSION)
    return BundleHeader(shards)


def check_version(data: Buffer, known: int) -> None:
    """Refuse a `VersionDef` that does not let version `known` of the reader read what it stands in.

    Raises:
        FormatError: it is malformed.
        UnsupportedError: it asks for a later reader.
    """
    min_consumer = 0
    bad: list[int] = []
    for tag, value in parse_fields(data):
        if tag == varint_tag(2):
            min_consumer = number(value)
        elif tag == varint_tag(3):
            bad.append(number(value))
        elif tag == length_tag(3):
            bad += parse_packed_varints(field_bytes(value))
    if min_consumer > known or known in bad:
        raise UnsupportedError(
            "the checkpoint asks for a later reader", expected=f"version {known}", found=f"version {min_consumer}"
        )


def parse_packed_varints(data: bytes) -> list[int]:
    """The signed numbers of a packed field."""
    numbers, at = [], 0
    while at < len(data):
        value, at = parse_varint(data, at)
        numbers.append(signed(value))
    return numbers


def parse_shape(data: Buffer) -> tuple[int, ...] | None:
    """The dimensions of a `TensorShapeProto`; None when its rank is unknown.

    Raises:
        FormatError: it is malformed or a dimension is negative.
    """
    dims = []
    for tag, value in parse_fields(data):
        if tag == length_tag(2):
            size = 0
            for inner, extent in parse_fields(field_bytes(value)):
                if inner == varint_tag(1):
                    size = number(extent)
            if size < 0:
                raise FormatError("a dimension is negative", found=size)
            dims.append(size)
        elif tag == varint_tag(3) and value:
            return None
    return tuple(dims)


def parse_slice(data: Buffer) -> tuple[Extent, ...]:
    """The extents of a `TensorSliceProto`."""
    extents = []
    for tag, value in parse_fields(data):
        if tag == length_tag(1):
            start, length = 0, -1
            for inner, bound in parse_fields(field_bytes(value)):
                if inner == varint_tag(1):
                    start = number(bound)
                elif inner == varint_tag(2):
                    length = number(bound)
            extents.append((start, length))
    return tuple(extents)


_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = varint_tag(1), length_tag(2), varint_tag(3), varint_tag(4), varint_tag(5)
_CRC, _SLICES = fixed32_tag(6), length_tag(7)

# `TensorShapeProto` messages repeat (a model has few shapes), and parsing one costs more than the rest of its entry.
_MOST_SHAPES_KEPT = 4096


# Shard, offset, size and checksum as every writer puts them: each once, in order, nothing after them.
_VARINT = rb"([\x80-\xff]{0,8}[\x00-\x7f])"
_USUAL_END = re.compile(rb"(?:\x18%s)?(?:\x20%s)?(?:\x28%s)?\x35(.{4})" % (_VARINT, _VARINT, _VARINT), re.DOTALL)


class EntryParser:
    """Parses entries, remembering the shapes it has seen."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, tuple[int, ...] | None] = {b"": ()}
        self._begins: dict[bytes, tuple[int, tuple[int, ...] | None]] = {}

    def parse(self, data: bytes) -> BundleEntry:
        """One `BundleEntryProto`.

        Raises:
            FormatError: it is malformed or a dimension is negative.
        """
        # Type and shape come first, and most tensors share them with another one; the rest is four numbers then.
        if data[:1] == b"\x08" and data[2:3] == b"\x12":
            begin = data[: 4 + data[3]] if len(data) > 3 else b""
            known = self._begins.get(begin)
            usual = _USUAL_END.fullmatch(data, len(begin)) if known is not None else None
            if known is not None and usual is not None:
                shard, offset, size, crc = usual.groups(b"\0")
                return BundleEntry(
                    *known, _varint(shard), _varint(offset), _varint(size), int.from_bytes(crc, "little"), ()
                )
        entry = self._parse(data)
        if len(self._begins) < _MOST_SHAPES_KEPT and entry.shape is not None:
            begin = encode_number(1, entry.dtype) + encode_bytes(2, encode_shape(entry.shape))
            if data.startswith(begin):
                self._begins[begin] = entry.dtype, entry.shape
        return entry

    def _parse(self, data: bytes) -> BundleEntry:
        dtype = shard = offset = size = crc = 0
        shape: tuple[int, ...] | None = ()
        slices: list[tuple[Extent, ...]] = []
        for tag, value in parse_fields(data):
            if tag == _SHAPE:
                shape = self._shape(field_bytes(value))
            elif tag == _OFFSET:
                offset = number(value)
            elif tag == _SIZE:
                size = number(value)
            elif tag == _CRC:
                crc = number(value)
            elif tag == _DTYPE:
                dtype = number(value)
            elif tag == _SHARD:
                shard = number(value)
            elif tag == _SLICES:
                slices.append(parse_slice(field_bytes(value)))
        return BundleEntry(dtype, shape, shard, offset, size, crc, tuple(slices))

    def _shape(self, data: bytes) -> tuple[int, ...] | None:
        if data not in self._shapes:
            if len(self._shapes) >= _MOST_SHAPES_KEPT:
                return parse_shape(data)
            self._shapes[data] = parse_shape(data)
        return self._shapes[data]


def _varint(data: bytes) -> int:
    """A signed number of 63 bits at most, of which `data` is all."""
    return data[0] if len(data) == 1 else parse_varint(data, 0)[0]


def encode_header(num_shards: int) -> bytes:
    """A `BundleHeaderProto` of little-endian data in `num_shards` files."""
    return encode_number(1, num_shards) + encode_bytes(3, encode_number(1, FORMAT_VERSION))


def encode_shape(shape: tuple[int, ...]) -> bytes:
    """A `TensorShapeProto`."""
    return b"".join(encode_bytes(2, encode_number(1, size)) for size in shape)


def encode_slice(extents: tuple[Extent, ...]) -> bytes:
    """A `TensorSliceProto`; an axis that is taken whole has no fields."""
    return b"".join(
        encode_bytes(1, b"" if length == -1 else encode_number(1, start) + _encode_length(length))
        for start, length in extents
    )


def _encode_length(length: int) -> bytes:
    """Field 2 of an extent, also when it is 0: it is one of a `oneof`, whose presence counts."""
    return encode_varint(varint_tag(2)) + encode_varint(length)


def encode_entry(entry: BundleEntry) -> bytes:
    """A `BundleEntryProto`."""
    return b"".join(
        (
            encode_number(1, entry.dtype),
            encode_bytes(2, encode_shape(entry.shape or ())),
            encode_number(3, entry.shard),
            encode_number(4, entry.offset),
            encode_number(5, entry.size),
            encode_varint(fixed32_tag(6)) + struct.pack("<I", entry.crc),
            *(encode_bytes(7, encode_slice(extents)) for extents in entry.slices),
        )
    )
