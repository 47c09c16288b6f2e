"""What zarr says of an array, version 2 (`.zarray`) and 3 (`zarr.json`): shape, chunks, and how a chunk is packed.

Sources: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html, …/v3/core/index.html, …/v3/codecs/; names of types that
NumPy has not are tensorstore's (tensorstore/driver/zarr/index.rst and zarr3/index.rst).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ckptkit import dtypes
from ckptkit.errors import FormatError
from ckptkit.formats.npz.header import NUMBERS

V2_FILE, V3_FILE = ".zarray", "zarr.json"

MAX_RANK = 64

Packing = Literal["zstd", "gzip", "blosc"]

_V2_PACKINGS: Mapping[str, Packing] = {"zstd": "zstd", "gzip": "gzip", "zlib": "gzip", "blosc": "blosc"}
_V3_PACKINGS: Mapping[str, Packing] = {"zstd": "zstd", "gzip": "gzip", "blosc": "blosc"}


@dataclass(frozen=True, slots=True)
class Codec:
    """How the elements of a chunk become its bytes.

    Attributes:
        packing: what compresses them, or None.
        checksum: whether four bytes of CRC-32C follow.
        big_endian: the order of bytes within an element.
        order: axes of the tensor in the order in which they lie, the slowest first.
    """

    packing: Packing | None = None
    checksum: bool = False
    big_endian: bool = False
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """One array.

    Attributes:
        shape: its dimensions.
        dtype: canonical dtype.
        chunk: shape of what is packed by itself.
        codec: how.
        shard: shape of what has a key of its own and holds chunks behind an index; None where a chunk has.
        index_codec: of a shard's index.
        index_last: whether the index is at the end of the shard.
        fill: bytes of an element that is not stored; None where they are not understood.
        keys: what a key of a chunk begins with, and what is between numbers.
        scalar: the key of the one chunk of an array without dimensions.
        version: of zarr.
        problem: why it cannot be read, or None.
    """

    shape: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...] = ()
    codec: Codec = Codec()
    shard: tuple[int, ...] | None = None
    index_codec: Codec = Codec()
    index_last: bool = True
    fill: bytes | None = None
    keys: tuple[str, str] = ("", ".")
    scalar: str = "0"
    version: int = 2
    problem: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole value."""
        return math.prod(self.shape) * dtypes.itemsize(self.dtype)

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of what has a key of its own."""
        return self.shard if self.shard is not None else self.chunk

    @property
    def grid(self) -> tuple[int, ...]:
        """How many of those there are along every axis."""
        return tuple(-(-size // step) for size, step in zip(self.shape, self.stored, strict=True))

    def key(self, position: tuple[int, ...]) -> str:
        """Key, below the array's, of what is at `position` of the grid."""
        return self.keys[0] + self.keys[1].join(map(str, position)) if position else self.scalar


class _UnreadError(Exception):
    """The array is there, and something in it is not read here."""


def parse_array(value: Any, *, path: str, key: str) -> ZarrArray:
    """The array that the parsed JSON of `.zarray` or `zarr.json` declares; with a `problem` where it cannot be read.

    Raises:
        FormatError: it declares none.
    """
    if not isinstance(value, dict) or value.get("zarr_format") not in (2, 3):
        raise FormatError("not the metadata of a zarr array", path=path, key=key)
    shape = _sizes(value.get("shape"), 0)
    if shape is None:
        raise FormatError("the array has no shape", path=path, key=key, found=repr(value.get("shape"))[:80])
    word = value.get("dtype" if value["zarr_format"] == 2 else "data_type")
    dtype, big_endian = _dtype(word, value["zarr_format"])
    if dtype is None:
        return ZarrArray(shape, "uint8", problem=f"elements of type {str(word)[:60]}, which ckptkit has no name for")
    try:
        return (_parse_v2 if value["zarr_format"] == 2 else _parse_v3)(value, shape, dtype, big_endian)
    except _UnreadError as error:
        return ZarrArray(shape, dtype, problem=str(error))


def _parse_v2(value: dict[str, Any], shape: tuple[int, ...], dtype: str, big_endian: bool) -> ZarrArray:
    if value.get("filters"):
        raise _UnreadError("packed by filters of zarr, which ckptkit does not run")
    packing = None
    if value.get("compressor") is not None:
        packing = _V2_PACKINGS.get(str(_dict(value["compressor"]).get("id")))
        if packing is None:
            raise _UnreadError(
                f"packed by {str(_dict(value['compressor']).get('id'))[:60]}, which ckptkit does not unpack"
            )
    order = tuple(range(len(shape)))
    codec = Codec(packing, False, big_endian, order[::-1] if value.get("order") == "F" else order)
    separator = value.get("dimension_separator", ".")
    return ZarrArray(
        shape, dtype, _chunk(value.get("chunks"), shape), codec, fill=_fill(value.get("fill_value"), dtype),
        keys=("", separator if separator in (".", "/") else "."),
    )  # fmt: skip


def _parse_v3(value: dict[str, Any], shape: tuple[int, ...], dtype: str, big_endian: bool) -> ZarrArray:  # noqa: ARG001
    grid = _dict(value.get("chunk_grid"))
    if grid.get("name") != "regular":
        raise _UnreadError("chunks that do not lie in a regular grid")
    outer = _chunk(_dict(grid.get("configuration")).get("chunk_shape"), shape)
    encoding = _dict(value.get("chunk_key_encoding"))
    usual = encoding.get("name") == "default"
    separator = _dict(encoding.get("configuration")).get("separator", "/" if usual else ".")
    if separator not in (".", "/") or encoding.get("name") not in ("default", "v2"):
        raise _UnreadError("keys of chunks of a kind that ckptkit does not know")
    keys = (f"c{separator}" if usual else "", separator)
    scalar = "c" if usual else "0"
    fill = _fill(value.get("fill_value"), dtype)
    codecs = _list(value.get("codecs"))
    if len(codecs) == 1 and codecs[0].get("name") == "sharding_indexed":
        inner = _dict(codecs[0].get("configuration"))
        chunk = _chunk(inner.get("chunk_shape"), shape)
        if any(whole % part for whole, part in zip(outer, chunk, strict=True)):
            raise _UnreadError("shards that are not made of whole chunks")
        return ZarrArray(
            shape, dtype, chunk, _codec(_list(inner.get("codecs")), len(shape), dtype), outer,
            _codec(_list(inner.get("index_codecs")), len(shape) + 1, "uint64"),
            inner.get("index_location", "end") != "start", fill, keys, scalar, 3,
        )  # fmt: skip
    codec = _codec(codecs, len(shape), dtype)
    return ZarrArray(shape, dtype, outer, codec, fill=fill, keys=keys, scalar=scalar, version=3)


def _codec(codecs: list[dict[str, Any]], rank: int, dtype: str) -> Codec:
    """A chain of zarr 3: transpose or not, bytes, one that compresses or none, a checksum or none."""
    order, big_endian = tuple(range(rank)), False
    packing: Packing | None = None
    checksum = False
    stage = 0
    for each in codecs:
        name, settings = each.get("name"), _dict(each.get("configuration"))
        if name == "transpose" and stage == 0:
            order = tuple(_sizes(settings.get("order"), 0) or ())
            if sorted(order) != list(range(rank)):
                raise _UnreadError("axes in an order that is none")
            stage = 1
        elif name == "bytes" and stage <= 1:
            big_endian = settings.get("endian") == "big" and dtypes.itemsize(dtype) > 1
            stage = 2
        elif name in _V3_PACKINGS and stage == 2:
            packing, stage = _V3_PACKINGS[str(name)], 3
        elif name == "crc32c" and stage in (2, 3):
            checksum, stage = True, 4
        else:
            raise _UnreadError(f"packed by {str(name)[:60]}, which ckptkit does not unpack there")
    if stage < 2:
        raise _UnreadError("no codec makes bytes of its elements")
    return Codec(packing, checksum, big_endian, order)


def _dtype(word: Any, version: int) -> tuple[str | None, bool]:
    """Canonical dtype, and whether its bytes are in falling order of significance."""
    if not isinstance(word, str):
        return None, False
    if version == 2 and word[:1] in "<>|" and word[1:] in NUMBERS:
        return NUMBERS[word[1:]], word[0] == ">" and dtypes.itemsize(NUMBERS[word[1:]]) > 1
    known = dtypes.BY_NAME.get(word)
    return (word, False) if known and known.itemsize and not word.startswith(("qint", "quint")) else (None, False)


def _fill(value: Any, dtype: str) -> bytes | None:
    """The bytes of one element with the fill value, or None; null is zero, as tensorstore reads it."""
    import numpy as np

    if value is None or value in (0, [0, 0]):
        return bytes(dtypes.itemsize(dtype))
    if isinstance(value, bool | int | float) or value in ("NaN", "Infinity", "-Infinity"):
        try:
            number = float(value) if isinstance(value, str) else value
            return bytes(np.asarray(number).astype(dtypes.numpy_dtype(dtype)).tobytes())
        except (OverflowError, ValueError, TypeError):
            return None
    return None


def _chunk(value: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    chunk = _sizes(value, 1)
    if chunk is None or len(chunk) != len(shape):
        raise _UnreadError("chunks of a shape that is none")
    return chunk


def _sizes(value: Any, least: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > MAX_RANK:
        return None
    if not all(type(size) is int and least <= size < 1 << 62 for size in value):
        return None
    return tuple(value)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [_dict(each) for each in value] if isinstance(value, list) else []
