"""Writing HDF5: the library makes the structure, the elements are written into their places.

Only files of our own and copies of templates are handed to the library here, the latter for data that do not lie in one
piece (compressed chunks); such a template has passed our own reader first.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from ckptkit import dtypes
from ckptkit.errors import UnsupportedError, WriteError
from ckptkit.formats.hdf5_chunks import boxes
from ckptkit.formats.hdf5_fill import fill
from ckptkit.formats.output import writing
from ckptkit.model import CHUNK_BYTES, StoredTensor, TensorSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ckptkit.formats.hdf5_dataset import Dataset

# An attribute has to fit into an object header: `HDF5_OBJECT_HEADER_LIMIT` in keras.src.legacy.saving.legacy_h5_format.
_ATTRIBUTE_LIMIT_BYTES = 64512

# What the library refuses, by error class (h5py/_errors.pyx); OSError is for `writing` to tell apart.
_LIBRARY_ERRORS = (RuntimeError, LookupError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group to be written, its attributes, and tensors at or below it (by their whole keys)."""

    path: str
    attributes: Mapping[str, str | bytes | np.ndarray] = field(default_factory=dict)
    tensors: Sequence[StoredTensor] = ()


def split_names(name: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Attributes that hold a list of names, as Keras splits it: `name`, or `name0`, `name1`, … when it is too long.

    Raises:
        UnsupportedError: a single name is too long for an attribute.
    """
    encoded = np.array([item.encode("utf-8", "backslashreplace") for item in names] or np.empty(0, "S1"))
    fitting = _ATTRIBUTE_LIMIT_BYTES // max(1, encoded.itemsize)
    if not fitting:
        raise UnsupportedError("a name that is too long for HDF5", key=max(names, key=len)[:100])
    if len(encoded) <= fitting:
        return {name: encoded}
    parts = -(-len(encoded) // fitting)
    return {f"{name}{part}": encoded[part * fitting : (part + 1) * fitting] for part in range(parts)}


def write_file(path: str, groups: Iterable[NewGroup], source: TensorSource) -> None:
    """Write a new file with `groups` in their order, each tensor plainly in one piece, its bytes from `source`.

    Raises:
        WriteError: it cannot be written, or one name would be a group and a tensor.
        UnsupportedError: strings that HDF5 cannot hold.
    """
    keys: list[str] = []
    with library(path), h5py.File(path, "w") as file:
        for group in groups:
            made = file.require_group(group.path or "/")
            for name, value in group.attributes.items():
                made.attrs[name] = value
            for tensor in group.tensors:
                _create(file, tensor)
                keys.append(tensor.key)
    fill(path, keys, source)


@contextmanager
def library(path: str) -> Iterator[None]:
    """Turn what h5py raises in the block, which writes `path`, into a `WriteError`."""
    with writing(path):
        try:
            yield
        except _LIBRARY_ERRORS as error:
            raise WriteError(f"HDF5 cannot write it ({str(error).splitlines()[0]})", path=path) from error


def _create(file: h5py.File, tensor: StoredTensor) -> None:
    """Make room for a tensor: in one piece, allocated at once, not filled."""
    parent, _, name = tensor.key.rpartition("/")
    group = file.require_group(parent or "/")
    if tensor.dtype == "string":
        group.create_dataset(name, tensor.shape, h5py.string_dtype())
        return
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # the same content is the same bytes, whoever writes it and when
    stored = dtypes.numpy_dtype(tensor.dtype)
    opaque = stored.kind == "V" or dtypes.BY_NAME[tensor.dtype].numpy != tensor.dtype
    kind = h5t.py_create(np.dtype(f"V{stored.itemsize}") if opaque else stored, logical=True)
    space = h5s.create_simple(tensor.shape) if tensor.shape else h5s.create(h5s.SCALAR)
    made = h5py.Dataset(h5d.create(group.id, name.encode(), kind, space, properties))
    if opaque:  # as Keras 3 keeps bfloat16: keras.src.saving.saving_lib, `H5IOStore.__setitem__`
        made.attrs["dtype"] = tensor.dtype


def write_by_library(file: h5py.File, dataset: Dataset, source: TensorSource) -> None:
    """Write strings, or a tensor in chunks, slab by slab."""
    target = file[dataset.key]
    if dataset.type.dtype == "string":
        strings = np.empty(math.prod(dataset.shape), object)
        strings[:] = source.read_strings(dataset.key)
        if any(b"\0" in item for item in strings) or not _fit(dataset, strings):
            raise UnsupportedError("strings that the file cannot hold as they are", key=dataset.key)
        target[...] = strings.reshape(dataset.shape)
        return
    width = dataset.type.itemsize
    for index, counts, items in _slabs(dataset):
        buffer = bytearray(items * width)
        first = int(np.ravel_multi_index(index, dataset.shape)) if index else 0
        source.read_into(dataset.key, first * width, memoryview(buffer))
        values = np.frombuffer(buffer, dtypes.numpy_dtype(dataset.type.dtype)).reshape(counts)
        target[tuple(slice(at, at + count) for at, count in zip(index, counts, strict=True))] = values


def _slabs(dataset: Dataset) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """(first index, counts, elements) of boxes that together are the tensor: whole rows of chunks where that fits."""
    row = math.prod(dataset.shape[1:])
    rows = dataset.layout.chunk[0] if dataset.layout.chunk else 1
    step = max(CHUNK_BYTES // dataset.type.itemsize // max(1, rows * row), 1) * rows * row
    if step * dataset.type.itemsize > 16 * CHUNK_BYTES:
        step = CHUNK_BYTES // dataset.type.itemsize
    total = math.prod(dataset.shape)
    for first in range(0, total, max(1, step)):
        for index, counts in boxes(dataset.shape, first, min(total, first + step)):
            yield index, counts, math.prod(counts)


def _fit(dataset: Dataset, strings: np.ndarray) -> bool:
    return dataset.type.vlen or all(len(item) <= dataset.type.itemsize for item in strings)
