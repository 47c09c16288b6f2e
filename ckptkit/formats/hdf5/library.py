"""What the HDF5 library alone can write: strings, and tensors in chunks and filters of their own."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ckptkit import dtypes
from ckptkit.errors import UnsupportedError, WriteError
from ckptkit.formats.grid import boxes
from ckptkit.model import CHUNK_BYTES, TensorSource
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.hdf5.dataset import Dataset

# What the library refuses, by error class (h5py/_errors.pyx); OSError is for `writing` to tell apart.
_LIBRARY_ERRORS = (RuntimeError, LookupError, ValueError, TypeError)


@contextmanager
def library(path: str) -> Iterator[None]:
    """Turn what h5py raises in the block, which writes `path`, into a `WriteError`."""
    with writing(path):
        try:
            yield
        except _LIBRARY_ERRORS as error:
            raise WriteError(f"HDF5 cannot write it ({str(error).splitlines()[0]})", path=path) from error


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
