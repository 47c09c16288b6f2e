"""The header of a safetensors file: eight bytes of length, a JSON document, and what it says of the bytes behind it.

Source: https://github.com/huggingface/safetensors, README "Format"; checked against the reference library 0.8. What the
reference refuses (holes, overlaps, names that stand twice) is refused here too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ckptkit import dtypes
from ckptkit.errors import FormatError, LimitError, UnsupportedError
from ckptkit.formats.json_text import parse_json
from ckptkit.model import StoredTensor, TensorSpec
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH = struct.Struct("<Q")

# The reference allows 100 MB. A quarter of a million tensors fit into this, and what Python makes of it into memory.
_LARGEST_HEADER = 32 << 20
# A tensor's entry takes 48 bytes at least and opens three containers. Long headers with far more of them than that
# are made to fill the memory; short ones can do no harm.
_HARMLESS_HEADER = 1 << 20
_BYTES_A_CONTAINER = 12

METADATA = "__metadata__"
_MOST_DIMENSIONS = 64  # as many as NumPy has


def is_safetensors(storage: Storage) -> bool:
    """Whether the file begins as safetensors does: a length that is inside it, then `{`."""
    if storage.size <= LENGTH.size:
        return False
    head = read(storage, 0, LENGTH.size + 1)
    return LENGTH.unpack_from(head)[0] <= storage.size - LENGTH.size and head[LENGTH.size] == ord("{")


Entry = tuple[tuple[int, ...], str, int, int]
"""Shape, canonical dtype, first byte in the file, byte after the last."""


def stored(key: str, entry: Entry) -> StoredTensor:
    """The tensor that an entry is of."""
    shape, dtype, start, end = entry
    return StoredTensor(key, shape, dtype, end - start)


def read_header(storage: Storage) -> tuple[dict[str, str], dict[str, Entry]]:
    """The metadata, and for each tensor its `Entry`, in the order of the header."""
    length: int = LENGTH.unpack(read(storage, 0, LENGTH.size))[0]
    if length > storage.size - LENGTH.size:
        raise FormatError(
            "the header is longer than the file", path=storage.name, expected=f"{length} bytes", found=storage.size
        )
    if length > _LARGEST_HEADER:
        raise LimitError(
            "the header is too long", path=storage.name, expected=f"at most {_LARGEST_HEADER} bytes", found=length
        )
    text = read(storage, LENGTH.size, length)
    containers = text.count(b"{") + text.count(b"[")
    if length > _HARMLESS_HEADER and containers > length // _BYTES_A_CONTAINER:
        raise LimitError("the header holds too many values for its length", path=storage.name, found=containers)
    header = parse_json(text, path=storage.name, constants=False, limit=_LARGEST_HEADER)
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise FormatError("the header is not a JSON object", path=storage.name)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("the metadata are not texts by name", path=storage.name, key=METADATA)
    begin = LENGTH.size + length
    entries = {key: _parse_entry(storage.name, key, entry, begin) for key, entry in header.items()}
    _check_ranges(storage, begin, entries)
    return metadata, entries


def _parse_entry(path: str, key: str, entry: Any, begin: int) -> Entry:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError("not a tensor's entry", path=path, key=key, expected="dtype, shape and data_offsets")
    row = dtypes.BY_SAFETENSORS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if row is None:
        raise UnsupportedError("a dtype that ckptkit does not know", path=path, key=key, found=repr(entry["dtype"]))
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _is_sizes(shape) or not _is_sizes(offsets) or len(offsets) != 2 or len(shape) > _MOST_DIMENSIONS:
        raise FormatError("shape and offsets are not whole numbers from 0 up", path=path, key=key)
    nbytes = TensorSpec(key, tuple(shape), row.name).nbytes
    if offsets[1] - offsets[0] != nbytes:
        raise FormatError(
            "shape and byte range do not agree", path=path, key=key, expected=f"{nbytes} bytes",
            found=offsets[1] - offsets[0],
        )  # fmt: skip
    return tuple(shape), row.name, begin + offsets[0], begin + offsets[1]


def _is_sizes(values: Any) -> bool:
    """Whether `values` is a list of integers that fit an unsigned 64-bit field."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 64 for value in values)


def _check_ranges(storage: Storage, begin: int, entries: Mapping[str, Entry]) -> None:
    """Raise unless the ranges tile the file from `begin` to its end."""
    at = begin
    for key, (_, _, start, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != at:
            problem = "tensors share bytes" if start < at else "bytes belong to no tensor"
            raise FormatError(problem, path=storage.name, key=key, expected=f"begin at byte {at}", found=start)
        at = end
    if at != storage.size:
        problem = "the file is cut short" if at > storage.size else "bytes follow the last tensor"
        raise FormatError(problem, path=storage.name, expected=f"{at} bytes", found=storage.size)
