"""Writing arrays into a new store: one data file behind an index, or a folder for each array."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ckptkit import dtypes
from ckptkit.errors import UnsupportedError, WriteError
from ckptkit.formats.orbax.encode import array_json, chunk_of, leaf_node, manifest
from ckptkit.formats.orbax.ocdbt import MANIFEST, Value
from ckptkit.formats.orbax.zarr import V2_FILE, V3_FILE
from ckptkit.model import WRITE_BYTES

if TYPE_CHECKING:
    from ckptkit.model import TensorSource, TensorSpec

# A value that is shorter stands in the index itself, as tensorstore has it by the limit that Orbax sets.
_INLINE_BYTES = 1024


class Values(Protocol):
    """Where keys and values go."""

    def put(self, keys: Sequence[str], data: bytes) -> None:
        """Store `data` under each of `keys`, which are new."""

    def finish(self) -> None:
        """Write what is needed to find them."""


@dataclass(slots=True)
class Indexed:
    """An OCDBT store in a new folder: one data file, whose last part is the index."""

    folder: Path
    _values: dict[str, Value] = field(default_factory=dict)
    _file: str = ""
    _size: int = 0

    def put(self, keys: Sequence[str], data: bytes) -> None:
        """See `Values.put`: once, and several keys lead there."""
        if len(data) < _INLINE_BYTES and len(keys) == 1:
            self._values[keys[0]] = Value("", 0, len(data), data)
            return
        self._values |= dict.fromkeys(keys, Value(self._name(), self._size, len(data)))
        self._append(data)

    def finish(self) -> None:
        """See `Values.finish`."""
        if not self._values:
            raise UnsupportedError("a tree without an array cannot be written as an Orbax checkpoint", path=self.folder)
        node = leaf_node(self._values)
        root = Value(self._name(), self._size, len(node))
        self._append(node)
        identity = hashlib.sha256(node).digest()[:16]
        (self.folder / MANIFEST).write_bytes(manifest(root, self._values, identity))

    def _name(self) -> str:
        if not self._file:
            self._file = f"d/{hashlib.sha256(self.folder.name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
            (self.folder / "d").mkdir()
        return self._file

    def _append(self, data: bytes) -> None:
        with (self.folder / self._name()).open("ab") as file:
            file.write(data)
        self._size += len(data)


@dataclass(slots=True)
class Folders:
    """A folder for each array, and in it a file for each key."""

    folder: Path

    def put(self, keys: Sequence[str], data: bytes) -> None:
        """See `Values.put`."""
        for key in keys:
            self._put(key, data)

    def _put(self, key: str, data: bytes) -> None:
        if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise UnsupportedError("a name that cannot be that of a folder", path=self.folder, key=key)
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def finish(self) -> None:
        """See `Values.finish`: files need no index."""


def put_array(values: Values, names: Sequence[str], spec: TensorSpec, source: TensorSource, *, zarr3: bool) -> None:
    """Write the tensor `spec.name` of `source` as the array that has all of `names`.

    Raises:
        CkptkitError: it cannot be read, or the store cannot hold it.
    """
    if not spec.size:
        raise UnsupportedError("Orbax stores no array without elements", key=spec.name, found=str(list(spec.shape)))
    if spec.dtype.startswith(("qint", "quint")):
        raise UnsupportedError("zarr has no name for this type", key=spec.name, found=spec.dtype)
    chunk = chunk_of(spec.shape, spec.dtype)
    values.put(
        [f"{name}/{V3_FILE if zarr3 else V2_FILE}" for name in names],
        array_json(spec.shape, spec.dtype, chunk, zarr3=zarr3),
    )
    for position, data in zip(positions(spec.shape, chunk), _chunks(spec, chunk, source), strict=True):
        values.put([f"{name}/{_key(position, zarr3=zarr3)}" for name in names], _packed(data))


def positions(shape: Sequence[int], chunk: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Places of the chunks in their grid, in order."""
    return product(*(range(-(-size // step)) for size, step in zip(shape, chunk, strict=True)))


def _key(position: tuple[int, ...], *, zarr3: bool) -> str:
    if zarr3:
        return "/".join(("c", *map(str, position)))
    return ".".join(map(str, position)) or "0"


def _packed(data: bytearray) -> bytes:
    import cramjam

    return bytes(cramjam.zstd.compress(data, level=1))


def _chunks(spec: TensorSpec, chunk: Sequence[int], source: TensorSource) -> Iterator[bytearray]:
    """The bytes of chunks that follow each other; the last along its axis is filled up with zeros."""
    size = math.prod(chunk) * dtypes.itemsize(spec.dtype)
    # Along the axis that is cut a row of chunks ends where the axis does.
    axis = next((axis for axis, step in enumerate(chunk) if step > 1), len(chunk) - 1)
    row = spec.nbytes // math.prod(spec.shape[: max(axis, 0)])
    data = bytearray(size)
    held = done = 0
    for piece in source.stream(spec.name, memoryview(bytearray(WRITE_BYTES))):
        at = 0
        while at < len(piece):
            count = min(size - held, row - done, len(piece) - at)
            data[held : held + count] = piece[at : at + count]
            held, done, at = held + count, done + count, at + count
            if held == size or done == row:
                yield data
                data = bytearray(size)
                held = 0
                done = 0 if done == row else done
    if held or done:
        raise WriteError("a tensor has another size than it should", key=spec.name, expected=spec.nbytes)


def array_names(written: Mapping[str, TensorSpec]) -> dict[str, tuple[list[int], list[int]]]:
    """Name -> shape of the whole and of a chunk, of arrays that `put_array` writes."""
    return {name: (list(spec.shape), list(chunk_of(spec.shape, spec.dtype))) for name, spec in written.items()}
