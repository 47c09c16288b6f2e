"""The arrays of a store: found by their metadata, held against the chunks that are there and against the limits."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, LimitError
from ckptkit.formats.json_text import parse_json
from ckptkit.formats.orbax.zarr import V2_FILE, V3_FILE, ZarrArray, parse_array
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.formats.orbax.ocdbt import Value
    from ckptkit.formats.orbax.store import Store

LARGEST_METADATA = 1 << 20
"""Bytes of the metadata of one array."""
METADATA_BYTES = 64 << 20
"""Of all arrays together."""

INFLATED_FLOOR_BYTES = 512 << 20
_INFLATED_TIMES = 100
"""What all arrays may declare together: so many bytes, or so many times what is stored. Zeros pack to next to nothing, and an
optimizer that has not begun is two thirds zeros."""

_CHUNKS_FLOOR = 30_000
_CHUNK_MIN_BYTES = 64
"""Chunks, stored or not: so many, and one for so many bytes that are stored."""


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array of a store.

    Attributes:
        name: its key in the store.
        zarr: what its metadata says.
        chunks: key below the array's -> place, of all chunks that are there.
        problem: why it cannot be read, or None.
        damaged: whether that is because something of it is missing or broken.
    """

    name: str
    zarr: ZarrArray
    chunks: Mapping[str, Value]
    problem: str | None = None
    damaged: bool = False

    @property
    def place(self) -> object:
        """Equal for two arrays of an index that are the same bytes; None where one cannot be another's."""
        if self.problem or not self.chunks or any(value.inline is not None for value in self.chunks.values()):
            return None
        parts = sorted((key, value.file, value.offset, value.length) for key, value in self.chunks.items())
        return self.zarr.shape, self.zarr.dtype, tuple(parts)


def find_arrays(store: Store, *, all_stored: bool) -> dict[str, StoredArray]:
    """Every array of `store` by its name, in the store's order.

    Args:
        store: keys and places.
        all_stored: whether an absent chunk is missing; else it is one that is all fill value, which early versions did
            not store.

    Raises:
        FormatError: the metadata of an array cannot be read.
        LimitError: metadata beyond the limits.
    """
    metadata = _metadata(store)
    chunks: dict[str, dict[str, Value]] = {name: {} for name in metadata}
    for key, value in store.values.items():
        owner = _owner(key, metadata)
        if owner is not None:
            chunks[owner][key[len(owner) + 1 :]] = value
    arrays = {}
    for name, (zarr, damaged) in metadata.items():
        array = StoredArray(name, zarr, chunks[name], zarr.problem, damaged)
        if array.problem is None and (problem := _problem(store, array, all_stored=all_stored)):
            array = replace(array, problem=problem, damaged=True)
        arrays[name] = array
    return _judged(arrays, store)


def _metadata(store: Store) -> dict[str, tuple[ZarrArray, bool]]:
    """What is said of each array, and whether that cannot be read."""
    found: dict[str, tuple[ZarrArray, bool]] = {}
    total = 0
    for key, value in store.values.items():
        name, _, last = key.rpartition("/")
        if last not in (V2_FILE, V3_FILE) or not name:
            continue
        total += value.length
        if value.length > LARGEST_METADATA or total > METADATA_BYTES:
            raise LimitError(
                "the metadata of arrays is too long", path=store.item, key=key, expected=f"at most {LARGEST_METADATA} bytes",
                found=value.length,
            )  # fmt: skip
        fault = store.fault(value)
        if fault:
            found[name] = ZarrArray((), "uint8", problem=fault), True
            continue
        try:
            with closing(store.open(value)[0]) as storage:
                text = read(storage, value.offset, value.length)
            parsed = parse_json(text, path=store.item.text, key=key)
            found[name] = parse_array(parsed, path=store.item.text, key=key), False
        except CkptkitError as error:
            if isinstance(error, LimitError):
                raise
            found[name] = ZarrArray((), "uint8", problem=error.problem), True
    return found


def _owner(key: str, arrays: Mapping[str, object]) -> str | None:
    """The array whose chunk `key` is."""
    at = key.rpartition("/")[0]
    for _ in range(70):  # a chunk's key has as many parts as there are axes, at most
        if at in arrays:
            return at
        if not at:
            break
        at = at.rpartition("/")[0]
    return None


def _problem(store: Store, array: StoredArray, *, all_stored: bool) -> str | None:
    """What is missing of an array, or wrong with it."""
    zarr = array.zarr
    if not zarr.nbytes:
        return None
    grid = zarr.grid
    count = math.prod(grid)
    # An honest array has a key for each chunk, so that the grid is not walked further than keys are there.
    known = {zarr.key(()): ()} if not grid else None
    absent = 0
    if count <= len(array.chunks):
        absent = sum(zarr.key(position) not in array.chunks for position in _positions(grid))
    else:
        present = sum(_is_chunk(zarr, key, grid) for key in array.chunks) if known is None else 0
        absent = count - present
    if absent and all_stored:
        return f"{absent} of its {count} chunks {'is' if absent == 1 else 'are'} missing"
    if absent and zarr.fill is None:
        return "chunks that are not stored have a value that ckptkit does not understand"
    for value in array.chunks.values():
        fault = store.fault(value)
        if fault:
            return fault
    return None


def _positions(grid: tuple[int, ...]) -> list[tuple[int, ...]]:
    from itertools import product

    return list(product(*map(range, grid)))


def _is_chunk(zarr: ZarrArray, key: str, grid: tuple[int, ...]) -> bool:
    """Whether `key` is that of a chunk inside the grid."""
    start, separator = zarr.keys
    numbers = key.removeprefix(start).split(separator)
    if not key.startswith(start) or len(numbers) != len(grid):
        return False
    if not all(number.isdecimal() and number.isascii() and len(number) <= 19 for number in numbers):
        return False
    position = tuple(map(int, numbers))
    return zarr.key(position) == key and all(at < count for at, count in zip(position, grid, strict=True))


def _judged(arrays: dict[str, StoredArray], store: Store) -> dict[str, StoredArray]:
    """The arrays, those that cannot be read within limits marked with a `problem`."""
    size = sum(store.sizes.values()) + sum(len(value.inline or b"") for value in store.values.values())
    sound = [array for array in arrays.values() if array.problem is None]
    declared = sum(_unpacked_bytes(array.zarr) for array in sound)
    chunks = sum(_chunks(array.zarr) for array in sound)
    total = None
    if declared > max(INFLATED_FLOOR_BYTES, _INFLATED_TIMES * size):
        total = f"packed or absent data declare {declared} bytes in a store of {size}"
    elif chunks > _CHUNKS_FLOOR + size // _CHUNK_MIN_BYTES:
        total = f"cut into {chunks} chunks in a store of {size} bytes"
    if total is None:
        return arrays
    return {name: replace(array, problem=array.problem or total) for name, array in arrays.items()}


def _unpacked_bytes(zarr: ZarrArray) -> int:
    """Bytes of all chunks: those at an edge are stored whole, whatever of them is inside."""
    if not zarr.nbytes:
        return 0
    width = zarr.nbytes // math.prod(zarr.shape)
    chunks = [-(-size // step) * step for size, step in zip(zarr.shape, zarr.stored, strict=True)]
    return math.prod(chunks) * width


def _chunks(zarr: ZarrArray) -> int:
    if not zarr.nbytes:
        return 0
    inside = [whole // part for whole, part in zip(zarr.stored, zarr.chunk, strict=True)]
    return math.prod(zarr.grid) * math.prod(inside)
