"""safetensors: eight bytes of length, a JSON header, the tensors' bytes without holes.

Source: https://github.com/huggingface/safetensors, README "Format"; checked against the reference library 0.8. What the
reference refuses (holes, overlaps, names that stand twice) is refused here too.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import dtypes
from ckptkit.errors import (
    CkptkitError,
    FormatError,
    LimitError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    WriteError,
)
from ckptkit.formats.json_text import LARGEST_JSON, parse_json
from ckptkit.formats.names import beside, ends_with
from ckptkit.formats.output import writing
from ckptkit.formats.storage import Storage, open_storage, read
from ckptkit.model import WRITE_BYTES, Contents, StoredTensor, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.model.ranges import Sum

_LENGTH = struct.Struct("<Q")

# The reference allows 100 MB. A quarter of a million tensors fit into this, and what Python makes of it into memory.
_LARGEST_HEADER = 32 << 20
# A tensor's entry takes 48 bytes at least and opens three containers. Long headers with far more of them than that
# are made to fill the memory; short ones can do no harm.
_HARMLESS_HEADER = 1 << 20
_BYTES_A_CONTAINER = 12

_METADATA = "__metadata__"
_MOST_DIMENSIONS = 64  # as many as NumPy has
INDEX_SUFFIX = ".safetensors.index.json"


def is_safetensors(storage: Storage) -> bool:
    """Whether the file begins as safetensors does: a length that is inside it, then `{`."""
    if storage.size <= _LENGTH.size:
        return False
    head = read(storage, 0, _LENGTH.size + 1)
    return _LENGTH.unpack_from(head)[0] <= storage.size - _LENGTH.size and head[_LENGTH.size] == ord("{")


def open_safetensors(storage: Storage) -> tuple[Contents, TensorSource]:
    """The tensors of a safetensors file, in the header's order, and their bytes.

    Raises:
        FormatError: header or byte ranges are wrong in any way.
        UnsupportedError: a dtype that ckptkit has no name for.
        LimitError: a header beyond 32 MiB.
    """
    metadata, entries = _read_header(storage)
    tensors = tuple(_stored(key, entry) for key, entry in entries.items())
    framework = metadata.get("format")
    notes = (f"metadata: {', '.join(sorted(metadata))}",) if metadata else ()
    contents = Contents("safetensors", f"safetensors, {framework}" if framework else None, tensors, notes=notes)
    return contents, _Source({key: (storage, entry[2], entry[3]) for key, entry in entries.items()}, [storage])


def is_index(path: str) -> bool:
    """Whether `path` is called as the index of a sharded file is; its content must then be one."""
    return ends_with(path, INDEX_SUFFIX)


def open_safetensors_index(path: str) -> tuple[Contents, TensorSource]:
    """The tensors of a file in shards, by its index (`model.safetensors.index.json`).

    Shards lie beside the index; a name that leads elsewhere is refused.

    Raises:
        FormatError: the index is wrong, or a shard does not hold what it says.
        NotFoundError: a shard is missing.
    """
    weight_map = read_index(path)
    held: dict[str, tuple[str, StoredTensor]] = {}
    source = _Source({}, [])
    try:
        for shard in dict.fromkeys(weight_map.values()):
            storage = open_storage(beside(path, shard))
            source.storages.append(storage)
            for key, entry in _read_header(storage)[1].items():
                if weight_map.get(key) != shard:
                    raise FormatError("the index does not list a tensor of this shard", path=storage.name, key=key)
                held[key] = (shard, _stored(key, entry))
                source.ranges[key] = (storage, entry[2], entry[3])
        missing = [key for key in weight_map if key not in held]
        if missing:
            raise FormatError(
                "the shard does not hold a tensor of the index", path=path, key=missing[0], found=weight_map[missing[0]]
            )
    except CkptkitError:
        source.close()
        raise
    tensors = tuple(held[key][1] for key in weight_map)
    return Contents("safetensors-sharded", None, tensors, notes=(f"{len(source.storages)} shards",)), source


def read_index(path: str) -> dict[str, str]:
    """Tensor -> name of the shard beside the index that holds it."""
    storage = open_storage(path)
    try:
        document = parse_json(read(storage, 0, storage.size), path=path) if storage.size <= LARGEST_JSON else None
    finally:
        storage.close()
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict):
        raise FormatError("the index has no weight_map", path=path, expected='{"weight_map": {tensor: file}}')
    for key, name in weight_map.items():
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise FormatError(
                "a shard's name is not that of a file beside the index", path=path, key=key, found=repr(name)
            )
    return weight_map


Entry = tuple[tuple[int, ...], str, int, int]
"""Shape, canonical dtype, first byte in the file, byte after the last."""


def _stored(key: str, entry: Entry) -> StoredTensor:
    shape, dtype, start, end = entry
    return StoredTensor(key, shape, dtype, end - start)


def _read_header(storage: Storage) -> tuple[dict[str, str], dict[str, Entry]]:
    """The metadata, and for each tensor its `Entry`, in the order of the header."""
    length: int = _LENGTH.unpack(read(storage, 0, _LENGTH.size))[0]
    if length > storage.size - _LENGTH.size:
        raise FormatError(
            "the header is longer than the file", path=storage.name, expected=f"{length} bytes", found=storage.size
        )
    if length > _LARGEST_HEADER:
        raise LimitError(
            "the header is too long", path=storage.name, expected=f"at most {_LARGEST_HEADER} bytes", found=length
        )
    text = read(storage, _LENGTH.size, length)
    containers = text.count(b"{") + text.count(b"[")
    if length > _HARMLESS_HEADER and containers > length // _BYTES_A_CONTAINER:
        raise LimitError("the header holds too many values for its length", path=storage.name, found=containers)
    header = parse_json(text, path=storage.name, constants=False, limit=_LARGEST_HEADER)
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise FormatError("the header is not a JSON object", path=storage.name)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("the metadata are not texts by name", path=storage.name, key=_METADATA)
    begin = _LENGTH.size + length
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


class _Source:
    """Tensors that are plain ranges of one or several storages; the format has no checksums."""

    def __init__(self, ranges: dict[str, tuple[Storage, int, int]], storages: list[Storage]) -> None:
        self.ranges = ranges
        self.storages = storages

    def _range(self, key: str) -> tuple[Storage, int, int]:
        try:
            return self.ranges[key]
        except KeyError:
            raise NotFoundError("no such tensor in the file", key=key) from None

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        storage, start, end = self._range(key)
        if offset < 0 or offset + len(buffer) > end - start:
            raise UsageError("the range is not inside the tensor", path=storage.name, key=key, found=offset)
        storage.read_into(start + offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        _, start, end = self._range(key)
        return self.stream_range(key, 0, end - start, buffer, [])

    def can_cut(self, key: str) -> bool:
        return key in self.ranges

    def stream_range(
        self,
        key: str,
        start: int,
        stop: int,
        buffer: memoryview,
        sums: list[Sum],  # noqa: ARG002 - there are no checksums
    ) -> Iterator[memoryview]:
        storage, begin, _ = self._range(key)
        return storage.stream(begin + start, stop - start, buffer)

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        pass

    def read_strings(self, key: str) -> list[bytes]:
        self._range(key)
        raise UsageError("not a string tensor", key=key)

    def close(self) -> None:
        for storage in self.storages:
            storage.close()


# -------------------------------------------------------------------------------------------------------------- writing


def write_safetensors(path: str, contents: Contents, source: TensorSource) -> None:
    """Write the tensors of `contents` to a new file `path`, in their order, streaming.

    Raises:
        UnsupportedError: a dtype that the format does not have, with its tensor.
        WriteError: the file cannot be written.
    """
    _write(path, {}, [(TensorSpec(tensor.key, tensor.shape, tensor.dtype), source) for tensor in contents.tensors])


def rewrite_safetensors(path: str, template: str, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Write a copy of `template` to `path` in which `tensors` come from `source`; metadata and order stay.

    Args:
        path: the new file.
        template: an existing safetensors file.
        tensors: what takes the place of the template's tensor of that key.
        source: answers for the keys of `tensors`.

    Raises:
        NotFoundError: the template has no tensor of a key.
    """
    storage = open_storage(template)
    try:
        metadata, entries = _read_header(storage)
        unknown = tensors.keys() - entries.keys()
        if unknown:
            raise NotFoundError("the template has no such tensor", path=template, key=min(unknown))
        kept = _Source({key: (storage, entry[2], entry[3]) for key, entry in entries.items()}, [])
        parts: list[_Part] = []
        for key, (shape, dtype, _, _) in entries.items():
            new = tensors.get(key)
            parts.append(
                (TensorSpec(key, new.shape, new.dtype), source) if new else (TensorSpec(key, shape, dtype), kept)
            )
        _write(path, metadata, parts)
    finally:
        storage.close()


_Part = tuple[TensorSpec, TensorSource]


def _write(path: str, metadata: Mapping[str, str], parts: Sequence[_Part]) -> None:
    """Header in the order of `parts`; data by falling item size, which keeps every tensor aligned to its items."""
    placed = sorted(parts, key=lambda part: -dtypes.itemsize(part[0].dtype))
    starts: dict[str, int] = {}
    at = 0
    for spec, _ in placed:
        starts[spec.name] = at
        at += spec.nbytes
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    for spec, _ in parts:
        header[spec.name] = _entry(path, spec, starts[spec.name])
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise UnsupportedError("a name is not Unicode text", path=path, found=repr(error.object)) from error
    text += b" " * (-len(text) % _LENGTH.size)
    with writing(path), Path(path).open("wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for piece in _pieces(path, placed):
            file.write(piece)


def _entry(path: str, spec: TensorSpec, start: int) -> dict[str, Any]:
    row = dtypes.BY_NAME[spec.dtype]
    if row.safetensors is None or spec.name == _METADATA:
        raise UnsupportedError(
            "safetensors cannot hold this tensor",
            path=path,
            key=spec.name,
            found=spec.dtype,
            hint="npz and TensorFlow bundles have more dtypes",
        )
    return {"dtype": row.safetensors, "shape": list(spec.shape), "data_offsets": [start, start + spec.nbytes]}


def _pieces(path: str, parts: Sequence[_Part]) -> Iterator[memoryview]:
    """Every tensor's bytes, each found to be as many as its spec says."""
    buffer = memoryview(bytearray(WRITE_BYTES))
    for spec, source in parts:
        done = 0
        for piece in source.stream(spec.name, buffer):
            done += len(piece)
            yield piece
        if done != spec.nbytes:
            raise WriteError(
                "a tensor has another size than it should", path=path, key=spec.name, expected=spec.nbytes, found=done
            )
