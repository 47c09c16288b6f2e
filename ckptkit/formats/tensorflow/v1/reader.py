"""TensorFlow's V1 checkpoints: a table whose values are `SavedTensorSlices`, in one file or several.

The first entry lists all tensors and their slices; every other one holds the values of one slice, under the same kind
of key that V2 bundles use for partitions. Variables of one or several slices, in one or several files, are read
alike; TensorFlow's own Python reader refuses those of several.

Sources: tensorflow/core/util/saved_tensor_slice.proto, tensor_slice_reader.cc, tensor_slice_writer.cc.
"""

from __future__ import annotations

import math
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, NotFoundError, UnsupportedError
from ckptkit.formats.partitions import Partition, read_joined
from ckptkit.formats.tensorflow.bundle.slices import encode_slice_key, infer_parts
from ckptkit.formats.tensorflow.bundle.strings import check_size
from ckptkit.formats.tensorflow.meta_graph import NO_META, read_meta
from ckptkit.formats.tensorflow.names import META_SUFFIX, split_v1_shard, v1_prefix, v1_shards
from ckptkit.formats.tensorflow.v1.file import Listed, V1File, find_data, parse_list
from ckptkit.formats.tensorflow.v1.values import open_values, parse_string_values
from ckptkit.formats.tensorflow.wire import naming, text
from ckptkit.model import Contents, StoredTensor
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.storage.address import Address

# Varints take a byte where the type takes eight, and snappy stores 64 bytes in three: a tensor of more bytes than
# this for each byte of the file cannot be there.
_MOST_BYTES_PER_BYTE = 8 * 22


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the values of one tensor lie: in which file under which key, slice by slice."""

    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    nbytes: int
    slices: tuple[tuple[int, bytes], ...]
    parts: tuple[Partition, ...]
    problem: str | None


def files(path: Address) -> tuple[Address, ...]:
    """The files that are there of the V1 checkpoint that `path` is or belongs to, and its graph."""
    prefix, shards, _ = find_files(path)
    return (*shards, prefix.add(META_SUFFIX))


def open(path: Address) -> tuple[Contents, V1Source]:  # noqa: A001
    """Open a V1 checkpoint.

    Args:
        path: its file, one of its files (`x-00000-of-00002`), or what these have in common (`x`).

    Raises:
        CkptkitError: a file cannot be read or is malformed.
    """
    prefix, paths, damage = find_files(path)
    opened_files: list[V1File] = []
    with ExitStack() as opened:
        listed: dict[bytes, list[tuple[int, Listed]]] = {}
        for place, name in enumerate(paths):
            file = V1File(name.open())
            opened.callback(file.storage.close)
            opened_files.append(file)
            with naming(name.text):
                tensors = parse_list(file.read_list())
            for key, tensor in tensors.items():
                listed.setdefault(key, []).append((place, tensor))
        size = sum(file.storage.size for file in opened_files)
        places = {text(key): _place(key, found, size) for key, found in listed.items()}
        opened.pop_all()
    graph_file = prefix.add(META_SUFFIX)
    meta = read_meta(graph_file) if graph_file.is_file() else NO_META
    trainable = {variable.name: variable.trainable for variable in meta.graph.variables} if meta.graph else {}
    stored = tuple(
        StoredTensor(key, place.shape, place.dtype, place.nbytes, (), trainable.get(key), place.problem)
        for key, place in places.items()
    )
    problems = tuple(f"{key}: {place.problem}" for key, place in places.items() if place.problem)
    contents = Contents(
        format="tf-v1",
        producer=meta.producer,
        tensors=stored,
        meta_graph=meta.graph,
        notes=(*((f"{len(paths)} files read as one",) if len(paths) > 1 else ()), *meta.notes),
        damage=(*damage, *problems),
    )
    return contents, V1Source(path.text, opened_files, places)


def find_files(path: Address) -> tuple[Address, list[Address], tuple[str, ...]]:
    """Prefix, files that are there, and what is missing of the checkpoint that `path` is or belongs to."""
    prefix, told = v1_prefix(path)
    if told is None and path.is_file():
        return path, [path], ()
    found = v1_shards(path)
    counts = sorted({other[1] for name in found if (other := split_v1_shard(name.base))})
    if len(counts) != 1:
        hint = "Name one of the files." if counts else None
        raise NotFoundError("no V1 checkpoint of this name", path=path, found=counts or None, hint=hint)
    count = told or counts[0]
    if len(found) == count:
        return prefix, found, ()
    return prefix, found, (f"{count - len(found)} of {count} files are missing; what they hold is not even listed",)


def _place(key: bytes, found: list[tuple[int, Listed]], file_bytes: int) -> _Place:
    """The place of a tensor that the files in `found` list."""
    first = found[0][1]
    row = dtypes.BY_TENSORFLOW.get(first.dtype)
    name, itemsize = (row.name, row.itemsize) if row else (f"tensorflow-{first.dtype}", 1)
    shape = first.shape or ()
    nbytes = math.prod(shape) * itemsize
    slices = [(place, extents) for place, tensor in found for extents in tensor.slices]
    keys = tuple((place, encode_slice_key(key, extents)) for place, extents in slices)
    parts: tuple[Partition, ...] = ()
    problem: str | None = None
    if row is None:
        problem = f"data of this type ({name}) is not read"
    elif first.shape is None:
        problem = "its rank is not known"
    elif any((tensor.shape, tensor.dtype) != (first.shape, first.dtype) for _, tensor in found):
        problem = "the files disagree on its type or shape"
    elif math.prod(shape) * max(itemsize, 1) > file_bytes * _MOST_BYTES_PER_BYTE:
        problem = f"it declares more than the file can hold ({math.prod(shape)} elements in {file_bytes} bytes)"
    elif not slices:
        problem = "the file lists no data for it"
    elif not itemsize and len(slices) > 1:
        problem = "strings in several slices are not read"
    else:
        try:
            parts = infer_parts(shape, tuple(extents for _, extents in slices))
        except FormatError as error:
            problem = str(error)
    return _Place(name, itemsize, shape, nbytes, keys, parts, problem)


class V1Source:
    """`TensorSource` of a V1 checkpoint.

    One lock guards all reading: these files are old and small, and what decoding leaves behind must not pile up.
    """

    # Slices kept open: as many as a window over a partitioned variable is likely to touch.
    _KEPT = 16

    def __init__(self, path: str, files: list[V1File], places: dict[str, _Place]) -> None:
        self._path = path
        self._files = files
        self._places = places
        self._open: dict[tuple[int, bytes], tuple[Storage, Storage]] = {}
        self._lock = threading.Lock()

    def _place(self, key: str) -> _Place:
        place = self._places.get(key)
        if place is None:
            raise NotFoundError("no such variable", path=self._path, key=key)
        if place.problem:
            raise FormatError(place.problem, path=self._path, key=key)
        return place

    def _numeric(self, key: str) -> _Place:
        place = self._place(key)
        if not place.itemsize:
            raise UnsupportedError("strings are not read as bytes", path=self._path, key=key)
        return place

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        place = self._numeric(key)
        if offset < 0 or offset + len(buffer) > place.nbytes:
            raise FormatError(
                "a range beyond the tensor was asked for", path=self._path, key=key,
                expected=f"at most {place.nbytes} bytes", found=offset + len(buffer),
            )  # fmt: skip

        def read_part(part: int, at: int, into: memoryview) -> None:
            self._values(place, part).read_into(at, into)

        with naming(self._path, key), self._lock:
            read_joined(place.parts, place.shape, place.itemsize, offset, buffer, read_part)

    def _values(self, place: _Place, part: int) -> Storage:
        """The values of one slice; the block that holds them has been verified."""
        where = place.slices[part]
        if where in self._open:
            self._open[where] = self._open.pop(where)
            return self._open[where][1]
        file, entry = where
        block, begin, end = self._files[file].open_entry(entry)
        begin, end = find_data(block, begin, end)
        values = open_values(block, begin, end, place.dtype, place.parts[part].size)
        while len(self._open) >= self._KEPT:
            self._discard(next(iter(self._open)))
        self._open[where] = (block, values)
        return values

    def _discard(self, where: tuple[int, bytes]) -> None:
        for storage in reversed(self._open.pop(where)):
            storage.close()

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`; the checksum is that of the blocks, verified before the first piece."""
        place = self._numeric(key)
        step = len(buffer) - len(buffer) % place.itemsize or len(buffer)
        with naming(self._path, key), self._lock:
            for part in range(len(place.slices)):
                self._values(place, part)
        for at in range(0, place.nbytes, step):
            piece = buffer[: min(step, place.nbytes - at)]
            self.read_into(key, at, piece)
            yield piece

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        place = self._place(key)
        if place.itemsize:
            raise UnsupportedError("not a tensor of strings", path=self._path, key=key)
        file, entry = place.slices[0]
        with naming(self._path, key), self._lock:
            block, begin, end = self._files[file].open_entry(entry)
            begin, end = find_data(block, begin, end)
            check_size(place.parts[0].size, end - begin + 4)
            strings = parse_string_values(read(block, begin, end - begin), place.parts[0].size)
            block.close()
            return strings

    def close(self) -> None:
        """See `TensorSource.close`."""
        with self._lock:
            while self._open:
                self._discard(next(iter(self._open)))
            for file in self._files:
                file.storage.close()
