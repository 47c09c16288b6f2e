"""Reading the elements of HDF5 datasets.

What lies in one piece in the file (all that Keras writes) is read straight from the storage, by several threads at
once. Chunks are unpacked whole and the last ones kept.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, LimitError, NotFoundError
from ckptkit.formats.grid import boxes, parts_of_box
from ckptkit.formats.hdf5.chunk_index import StoredChunk, read_chunk_index
from ckptkit.formats.hdf5.chunks import parse_chunk
from ckptkit.formats.hdf5.heaps import GlobalHeaps
from ckptkit.formats.hdf5.limits import INFLATED_FLOOR_BYTES
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from ckptkit.formats.hdf5.dataset import Dataset
    from ckptkit.formats.hdf5.file import Hdf5File
    from ckptkit.model.ranges import Sum

_CACHE_BYTES = 32 << 20


class Hdf5Source:
    """A `TensorSource` over the datasets of one HDF5 file; it owns the file's storage."""

    def __init__(self, file: Hdf5File, datasets: Mapping[str, Dataset]) -> None:
        self._file = file
        self._storage = file.storage
        self._datasets = datasets
        self._lock = threading.Lock()
        self._indexes: dict[str, dict[tuple[int, ...], StoredChunk]] = {}
        self._cache: OrderedDict[tuple[str, tuple[int, ...]], bytes] = OrderedDict()
        self._cached = 0

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Bytes from `offset` on of tensor `key`, in little-endian order."""
        dataset = self._dataset(key)
        if dataset.type.dtype == "string":
            raise FormatError("strings have no bytes of fixed length", path=self._storage.name, key=key)
        if offset < 0 or offset + len(buffer) > dataset.nbytes:
            raise FormatError(
                "bytes outside the tensor",
                path=self._storage.name,
                key=key,
                expected=f"{offset} to {offset + len(buffer)}",
                found=f"{dataset.nbytes} bytes",
            )
        if dataset.offset is not None and not dataset.type.swapped:
            self._storage.read_into(dataset.offset + offset, buffer)
            return
        width = dataset.type.itemsize
        first, stop = offset // width, -(-(offset + len(buffer)) // width)
        items = self._items(dataset, first, stop)
        if dataset.type.swapped:
            items.view(f"u{width // dataset.type.parts}").byteswap(inplace=True)
        buffer[:] = items.data[offset - first * width :][: len(buffer)]

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes of tensor `key` in pieces, each a view of `buffer`."""
        return self.stream_range(key, 0, self._dataset(key).nbytes, buffer, [])

    def can_cut(self, key: str) -> bool:
        """See `RangedSource.can_cut`: chunks are unpacked whole, and a range would unpack its neighbours' too."""
        dataset = self._dataset(key)
        return dataset.offset is not None and dataset.type.dtype != "string"

    def stream_range(
        self,
        key: str,
        start: int,
        stop: int,
        buffer: memoryview,
        sums: list[Sum],  # noqa: ARG002 - what lies in one piece has no checksum
    ) -> Iterator[memoryview]:
        """See `RangedSource.stream_range`."""
        dataset = self._dataset(key)
        if dataset.offset is not None and dataset.type.dtype != "string" and not dataset.type.swapped:
            yield from self._storage.stream(dataset.offset + start, stop - start, buffer)
            return
        for offset in range(start, stop, len(buffer)):
            piece = buffer[: min(len(buffer), stop - offset)]
            self.read_into(key, offset, piece)
            yield piece

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        """See `RangedSource.verify_ranges`: there is nothing to verify."""

    def read_strings(self, key: str) -> list[bytes]:
        """The strings of tensor `key` in C order."""
        dataset = self._dataset(key)
        stored = dataset.type
        if stored.dtype != "string":
            raise FormatError("not a tensor of strings", path=self._storage.name, key=key, found=stored.dtype)
        if dataset.nbytes > INFLATED_FLOOR_BYTES:
            raise self._too_much(key)
        data = self._items(dataset, 0, math.prod(dataset.shape)).tobytes()
        items = [data[at : at + stored.itemsize] for at in range(0, len(data), stored.itemsize)]
        if stored.vlen:
            return self._strings_of_any_length(key, data)
        if stored.padding == 0:
            return [item.split(b"\0", 1)[0] for item in items]
        return [item.rstrip(b" " if stored.padding == 2 else b"\0") for item in items]

    def close(self) -> None:
        """Give back the files; idempotent."""
        with self._lock:
            self._indexes.clear()
            self._cache.clear()
            self._cached = 0
        self._storage.close()

    def _dataset(self, key: str) -> Dataset:
        dataset = self._datasets.get(key)
        if dataset is None:
            raise NotFoundError("no such dataset", path=self._storage.name, key=key)
        if dataset.problem:
            raise FormatError(dataset.problem, path=self._storage.name, key=key)
        return dataset

    def _too_much(self, key: str) -> LimitError:
        return LimitError(
            "too many strings", path=self._storage.name, key=key, expected=f"at most {INFLATED_FLOOR_BYTES} bytes"
        )

    def _items(self, dataset: Dataset, first: int, stop: int) -> np.ndarray:
        """The bytes of elements `first` to `stop` as the file has them."""
        import numpy as np

        width = dataset.type.itemsize
        items = np.empty((stop - first) * width, np.uint8)
        if dataset.offset is not None:
            self._storage.read_into(dataset.offset + first * width, items.data)
        elif dataset.layout.data:
            items[:] = np.frombuffer(dataset.layout.data, np.uint8)[first * width : stop * width]
        elif dataset.layout.chunk is None:
            items.reshape(-1, width)[:] = np.frombuffer(dataset.fill or bytes(width), np.uint8)
        else:
            self._read_chunks(dataset, dataset.layout.chunk, first, stop, items.view(f"V{width}"))
        return items

    def _read_chunks(self, dataset: Dataset, chunk: tuple[int, ...], first: int, stop: int, items: np.ndarray) -> None:
        import numpy as np

        done = 0
        for index, counts in boxes(dataset.shape, first, stop):
            count = math.prod(counts)
            piece = items[done : done + count].reshape(counts)
            done += count
            for position, inside, target in parts_of_box(chunk, index, counts):
                data = self._chunk(dataset, position)
                piece[target] = np.frombuffer(data, items.dtype).reshape(chunk)[inside]

    def _chunk(self, dataset: Dataset, position: tuple[int, ...]) -> bytes:
        """The unpacked chunk at `position` of the grid."""
        cached = (dataset.key, position)
        with self._lock:
            data = self._cache.get(cached)
            if data is not None:
                self._cache.move_to_end(cached)
                return data
            stored = self._index(dataset).get(position)
        if stored is None:
            data = (dataset.fill or bytes(dataset.type.itemsize)) * math.prod(dataset.layout.chunk or ())
        else:
            packed = bytes(read(self._storage, stored.offset, stored.size))
            try:
                data = parse_chunk(dataset, packed, stored.skipped)
            except CkptkitError as error:
                error.path = self._storage.name
                raise
        with self._lock:
            if cached not in self._cache:
                self._cache[cached] = data
                self._cached += len(data)
            while self._cached > _CACHE_BYTES and len(self._cache) > 1:
                self._cached -= len(self._cache.popitem(last=False)[1])
        return data

    def _index(self, dataset: Dataset) -> dict[tuple[int, ...], StoredChunk]:
        index = self._indexes.get(dataset.key)
        if index is None:
            with self._file.parsing():
                index = self._indexes[dataset.key] = read_chunk_index(self._file, dataset)
        return index

    def _strings_of_any_length(self, key: str, references: bytes) -> list[bytes]:
        strings, left = [], INFLATED_FLOOR_BYTES
        with self._lock, self._file.parsing():
            for item in GlobalHeaps(self._file).strings(references):
                left -= len(item)
                if left < 0:
                    raise self._too_much(key)
                strings.append(item)
        return strings
