"""The chunks of one array, one after the other: where each lies, unpacked, and put in its place in the tensor."""

from __future__ import annotations

import math
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import ChecksumError, CkptkitError, FormatError
from ckptkit.formats.grid import boxes
from ckptkit.formats.orbax.packed import unpack
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from ckptkit.formats.orbax.arrays import StoredArray
    from ckptkit.formats.orbax.packed import Unpacked
    from ckptkit.formats.orbax.store import Store
    from ckptkit.storage.bytes import Storage

Position = tuple[int, ...]

# Of a chunk that is put in its place.
_PIECE_BYTES = 4 << 20
_ABSENT = (1 << 64) - 1  # offset and length of a chunk that is not in its shard


class Chunks:
    """What is needed to read one array chunk by chunk."""

    def __init__(self, store: Store, array: StoredArray, *, all_stored: bool) -> None:
        self._store = store
        self._array = array
        self._all_stored = all_stored
        self.zarr = array.zarr
        self.width = dtypes.itemsize(array.zarr.dtype)
        self.size = math.prod(array.zarr.chunk) * self.width

    @property
    def consecutive(self) -> bool:
        """Whether the chunks, one after the other, are the tensor: each is cut along one axis, behind axes of 1."""
        zarr = self.zarr
        codec = zarr.codec
        if codec.big_endian or codec.order != tuple(range(len(zarr.shape))):
            return False
        cut = next((axis for axis, step in enumerate(zarr.chunk) if step > 1), len(zarr.chunk))
        if any(step != size for step, size in zip(zarr.chunk[cut + 1 :], zarr.shape[cut + 1 :], strict=True)):
            return False
        # Shards hold their chunks one after the other: behind the first axis along which one has several, it has to have all.
        several = [whole > part for whole, part in zip(zarr.stored, zarr.chunk, strict=True)]
        first = several.index(True) if True in several else len(several)
        return all(whole >= size for whole, size in zip(zarr.stored[first + 1 :], zarr.shape[first + 1 :], strict=True))

    def inside(self, position: Position) -> int:
        """Bytes of the chunk at `position` that are inside the array."""
        sizes = zip(self.zarr.shape, self.zarr.chunk, position, strict=True)
        return math.prod(min(step, size - at * step) for size, step, at in sizes) * self.width

    def each(self) -> Iterator[tuple[Position, Unpacked | None]]:
        """Every chunk with its position among all chunks, in the order of positions within each shard; None: all fill.

        Raises:
            CkptkitError: one of them cannot be read.
        """
        zarr = self.zarr
        inside = [whole // part for whole, part in zip(zarr.stored, zarr.chunk, strict=True)]
        bounds = [-(-size // part) for size, part in zip(zarr.shape, zarr.chunk, strict=True)]
        for outer in product(*map(range, zarr.grid)):
            with self._opened(outer) as opened:
                if zarr.shard is None:
                    yield outer, self._chunk(opened)
                    continue
                places = self._index(opened, math.prod(inside)) if opened else None
                for number, inner in enumerate(product(*map(range, inside))):
                    position = tuple(at * n + more for at, n, more in zip(outer, inside, inner, strict=True))
                    if any(at >= bound for at, bound in zip(position, bounds, strict=True)):
                        continue  # a shard at an edge has places for chunks that are not in the array
                    yield position, self._chunk(self._within(opened, places, number))

    def assemble(self, out: np.ndarray) -> None:
        """Put every chunk in its place in `out`, which has the array's shape and width."""
        import numpy as np

        zarr = self.zarr
        order = zarr.codec.order
        target = out.transpose(order) if order else out
        chunk = tuple(zarr.chunk[axis] for axis in order)
        count = math.prod(chunk)
        step = max(_PIECE_BYTES // self.width, 1)
        buffer = np.empty(min(step, count), out.dtype)
        for position, unpacked in self.each():
            low = tuple(position[axis] * zarr.chunk[axis] for axis in order)
            if unpacked is None:
                target[tuple(slice(at, at + size) for at, size in zip(low, chunk, strict=True))] = self._fill(out)
                continue
            for start in range(0, count, step):
                piece = buffer[: min(step, count - start)]
                unpacked.fill(piece.view(np.uint8).data)
                if zarr.codec.big_endian:
                    piece.view(f"u{self.width // (2 if zarr.dtype.startswith('complex') else 1)}").byteswap(
                        inplace=True
                    )
                _put(target, piece, chunk, low, start)
            unpacked.finish()

    def _fill(self, out: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.frombuffer(self.fill_bytes(), out.dtype).reshape(())

    def fill_bytes(self) -> bytes:
        """Of one element that is not stored."""
        return self.zarr.fill or bytes(self.width)

    @contextmanager
    def _opened(self, outer: Position) -> Iterator[tuple[Storage, int, int] | None]:
        """Storage, offset and length of what has the key of `outer`; None where it is not there."""
        value = self._array.chunks.get(self.zarr.key(outer))
        if value is None:
            if self._all_stored:
                raise FormatError("a chunk is missing", path=self._store.item, key=self._array.name)
            yield None
            return
        storage, offset = self._store.open(value)
        try:
            yield storage, offset, value.length
        finally:
            storage.close()

    def _chunk(self, place: tuple[Storage, int, int] | None) -> Unpacked | None:
        if place is None:
            return None
        storage, offset, length = place
        return unpack(storage, offset, length, self.zarr.codec, self.size, self._array.name)

    def _index(self, opened: tuple[Storage, int, int], count: int) -> np.ndarray:
        """Offset and length of each chunk of a shard, (count, 2)."""
        import crc32c
        import numpy as np

        storage, offset, length = opened
        codec = self.zarr.index_codec
        size = 16 * count + 4 * codec.checksum
        if codec.packing is not None or size > length:
            raise FormatError(
                "a shard is shorter than its index", path=storage.name, key=self._array.name, expected=f"{size} bytes",
                found=length,
            )  # fmt: skip
        data = bytes(read(storage, offset + (length - size if self.zarr.index_last else 0), size))
        if codec.checksum:
            stored, found = int.from_bytes(data[-4:], "little"), crc32c.crc32c(data[:-4])
            if stored != found:
                raise ChecksumError(
                    "the index of a shard does not match its checksum", path=storage.name, key=self._array.name,
                    expected=f"{stored:08x}", found=f"{found:08x}",
                )  # fmt: skip
        order = ">u8" if codec.big_endian else "<u8"
        return np.frombuffer(data[: 16 * count], order).reshape(count, 2)

    def _within(
        self, opened: tuple[Storage, int, int] | None, places: np.ndarray | None, number: int
    ) -> tuple[Storage, int, int] | None:
        """The place of chunk `number` of a shard."""
        if opened is None or places is None:
            return None
        storage, offset, whole = opened
        begin, length = int(places[number, 0]), int(places[number, 1])
        if begin == _ABSENT and length == _ABSENT:
            if self._all_stored:
                raise FormatError("a chunk is missing in its shard", path=storage.name, key=self._array.name)
            return None
        if begin + length > whole:
            raise FormatError(
                "a chunk reaches beyond its shard", path=storage.name, key=self._array.name, expected=f"{whole} bytes",
                found=begin + length,
            )  # fmt: skip
        return storage, offset + begin, length


def _put(target: np.ndarray, piece: np.ndarray, chunk: Position, low: Position, start: int) -> None:
    """Put elements `start` and following of a chunk in their places, as far as they are inside the array."""
    if not chunk:
        target[()] = piece[0]
        return
    done = 0
    for first, counts in boxes(chunk, start, start + len(piece)):
        count = math.prod(counts)
        box = piece[done : done + count].reshape(counts)
        done += count
        begin = [at + more for at, more in zip(low, first, strict=True)]
        sizes = [max(0, min(n, size - at)) for n, size, at in zip(counts, target.shape, begin, strict=True)]
        if all(sizes):
            inside = tuple(slice(0, n) for n in sizes)
            target[tuple(slice(at, at + n) for at, n in zip(begin, sizes, strict=True))] = box[inside]


def named(error: CkptkitError, key: str) -> CkptkitError:
    """`error` with the tensor's own key."""
    error.key = key
    return error
