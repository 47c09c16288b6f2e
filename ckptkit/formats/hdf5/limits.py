"""What a file may declare: judged in total, before anything is read or allocated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.formats.hdf5.chunk_index import READABLE_INDEXES
from ckptkit.formats.hdf5.chunks import READABLE_FILTERS, chunk_nbytes, grid_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.formats.hdf5.dataset import Dataset

# What data that do not lie plainly in a file may come to, all together: so many bytes, or so many times the file.
# Deflate reaches 1032:1; weights do not compress to a tenth, all-zero optimizer slots of a trained model are few.
INFLATED_FLOOR_BYTES = 256 << 20
_INFLATED_TIMES = 100

# Tensors that lie plainly in a file take its bytes once, or a few times where they share them.
_PLAIN_TIMES = 4

# A chunk is unpacked whole.
_CHUNK_LIMIT_BYTES = 128 << 20

# Chunks of all datasets together, stored or not: one costs some 20 µs.
_CHUNKS_FLOOR = 30_000
_CHUNK_MIN_BYTES = 256


def inflated_limit(size: int) -> int:
    """Bytes to which the data of a file of `size` bytes may be inflated."""
    return max(INFLATED_FLOOR_BYTES, _INFLATED_TIMES * size)


def judged(datasets: Mapping[str, Dataset], size: int) -> dict[str, Dataset]:
    """The datasets, those that cannot be read within limits marked with a `problem`.

    Args:
        datasets: all of a file, or of all the files that belong together.
        size: bytes of that file, or of all of them.
    """
    plain = sum(
        dataset.nbytes for dataset in datasets.values() if dataset.problem is None and dataset.offset is not None
    )
    if plain > max(INFLATED_FLOOR_BYTES, _PLAIN_TIMES * size):
        shared = f"tensors that share their bytes declare {plain} bytes in a file of {size}"
        return {key: replace(dataset, problem=dataset.problem or shared) for key, dataset in datasets.items()}
    unpacked = {key: dataset for key, dataset in datasets.items() if _is_unpacked(dataset)}
    if not unpacked:
        return dict(datasets)
    declared = sum(dataset.nbytes for dataset in unpacked.values())
    chunks = sum(math.prod(grid_shape(dataset)) for dataset in unpacked.values() if dataset.layout.chunk)
    total = None
    if declared > inflated_limit(size):
        total = f"compressed or absent data declare {declared} bytes in a file of {size}"
    elif chunks > _CHUNKS_FLOOR + size // _CHUNK_MIN_BYTES:
        total = f"cut into {chunks} chunks in a file of {size} bytes"
    return {
        key: replace(dataset, problem=total or _chunk_problem(dataset)) if key in unpacked else dataset
        for key, dataset in datasets.items()
    }


def _is_unpacked(dataset: Dataset) -> bool:
    return dataset.problem is None and dataset.offset is None and math.prod(dataset.shape) > 0


def _chunk_problem(dataset: Dataset) -> str | None:
    if dataset.layout.chunk is None:
        return None
    unknown = [step.number for step in dataset.filters if step.number not in READABLE_FILTERS]
    if unknown:
        return f"packed by HDF5 filter {unknown[0]}, which ckptkit does not run"
    if dataset.layout.index not in READABLE_INDEXES:
        return "chunks found by an index of HDF5 1.10 that ckptkit does not read"
    if chunk_nbytes(dataset) > _CHUNK_LIMIT_BYTES:
        return f"chunks of {chunk_nbytes(dataset)} bytes, beyond the limit of {_CHUNK_LIMIT_BYTES}"
    return None
