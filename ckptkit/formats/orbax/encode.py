"""What a store is made of, as bytes: metadata of arrays, and the index of an OCDBT store of one version.

Sources: those of `zarr` and `ocdbt`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ckptkit import dtypes
from ckptkit.formats.npz.header import NUMBERS
from ckptkit.formats.orbax.ocdbt import MANIFEST_MAGIC, NODE_MAGIC, Value

# Of a chunk before it is packed: what writing takes of memory, twice.
CHUNK_BYTES = 32 << 20

_V2_DTYPES = {name: f"{'|' if word[1:] == '1' else '<'}{word}" for word, name in NUMBERS.items()}
_ARITY_LOG2 = 4
_MOST_NODE_BYTES = (
    100_000_000  # what Orbax has tensorstore write (orbax/checkpoint/_src/serialization/tensorstore_utils.py)
)
_MOST_INLINE_BYTES = 1024


def chunk_of(shape: Sequence[int], dtype: str) -> tuple[int, ...]:
    """Chunks that follow each other in the tensor, of at most `CHUNK_BYTES` where one element of an axis is not larger."""
    chunk = [max(size, 1) for size in shape]
    width = dtypes.itemsize(dtype)
    for axis in range(len(chunk)):
        row = math.prod(chunk[axis + 1 :]) * width
        chunk[axis] = min(chunk[axis], max(1, CHUNK_BYTES // row))
        if row <= CHUNK_BYTES:
            break
    return tuple(chunk)


def array_json(shape: Sequence[int], dtype: str, chunk: Sequence[int], *, zarr3: bool) -> bytes:
    """The metadata of an array whose chunks are packed by Zstandard."""
    zero = False if dtype == "bool" else [0.0, 0.0] if dtype.startswith("complex") else 0.0 if "float" in dtype else 0
    if not zarr3:
        value: dict[str, object] = {
            "chunks": list(chunk), "compressor": {"id": "zstd", "level": 1}, "dimension_separator": ".",
            "dtype": _V2_DTYPES.get(dtype, dtype), "fill_value": None, "filters": None, "order": "C",
            "shape": list(shape), "zarr_format": 2,
        }  # fmt: skip
        return json.dumps(value, separators=(",", ":")).encode()
    little = (
        {"configuration": {"endian": "little"}, "name": "bytes"} if dtypes.itemsize(dtype) > 1 else {"name": "bytes"}
    )
    value = {
        "chunk_grid": {"configuration": {"chunk_shape": list(chunk)}, "name": "regular"},
        "chunk_key_encoding": {"name": "default"},
        "codecs": [little, {"configuration": {"checksum": False, "level": 1}, "name": "zstd"}],
        "data_type": dtype, "fill_value": zero, "node_type": "array", "shape": list(shape), "zarr_format": 3,
    }  # fmt: skip
    return json.dumps(value, separators=(",", ":")).encode()


def leaf_node(values: Mapping[str, Value]) -> bytes:
    """A leaf of the B+tree with all of `values`."""
    keys = sorted((key.encode("utf-8", "surrogateescape"), value) for key, value in values.items())
    names = sorted({value.file for _, value in keys if value.inline is None})
    shared = [0]
    for (before, _), (key, _) in pairwise(keys):
        same = next((at for at, (one, other) in enumerate(zip(before, key, strict=False)) if one != other), len(before))
        shared.append(min(same, len(before), len(key)))
    away = [value for _, value in keys if value.inline is None]
    body = bytes([0]) + _table(names) + _varints(len(keys), *shared[1:])
    body += _varints(*(len(key) - prefix for (key, _), prefix in zip(keys, shared, strict=True)))
    body += b"".join(key[prefix:] for (key, _), prefix in zip(keys, shared, strict=True))
    body += _varints(*(value.length for _, value in keys)) + bytes(value.inline is None for _, value in keys)
    numbers = {name: number for number, name in enumerate(names)}
    body += _varints(*(numbers[value.file] for value in away), *(value.offset for value in away))
    return _sealed(NODE_MAGIC, body + b"".join(value.inline or b"" for _, value in keys))


def manifest(root: Value, values: Mapping[str, Value], identity: bytes) -> bytes:
    """The manifest of a store whose tree is one leaf."""
    body = identity + _varints(0, _MOST_INLINE_BYTES, _MOST_NODE_BYTES) + bytes([_ARITY_LOG2]) + _varints(0)
    indirect = sum(value.length for value in values.values() if value.inline is None)
    body += _table([root.file]) + _varints(1, 1) + bytes([0])
    body += _varints(0, root.offset, root.length, len(values), root.length, indirect)
    body += time.time_ns().to_bytes(8, "little") + _varints(0)
    return _sealed(MANIFEST_MAGIC, body)


def _table(names: Sequence[str]) -> bytes:
    paths = [name.encode() for name in names]
    if not paths:
        return _varints(0)
    return _varints(len(paths), *([0] * (len(paths) - 1)), *map(len, paths), *([0] * len(paths))) + b"".join(paths)


def _varints(*values: int) -> bytes:
    out = bytearray()
    for value in values:
        left = value
        while left >= 0x80:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        out.append(left)
    return bytes(out)


def _sealed(magic: int, body: bytes) -> bytes:
    import crc32c

    head = _varints(0, 0)  # version, not compressed
    length = 12 + len(head) + len(body) + 4
    whole = magic.to_bytes(4, "big") + length.to_bytes(8, "little") + head + body
    checksum: int = crc32c.crc32c(whole)
    return whole + checksum.to_bytes(4, "little")
