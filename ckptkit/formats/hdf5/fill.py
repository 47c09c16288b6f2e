"""Overwriting tensors where they lie in an HDF5 file; the HDF5 library is loaded only for what it alone can write."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.tree import read_tree
from ckptkit.model import WRITE_BYTES, TensorSource
from ckptkit.storage.address import address
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.formats.hdf5.dataset import Dataset

_THREADS = 2


def fill(path: str, keys: Iterable[str], source: TensorSource) -> None:
    """Overwrite the elements of existing tensors of the file `path` with those of `source`, in bounded memory."""
    with closing(address(path).open()) as storage:
        datasets = read_tree(Hdf5File(storage)).datasets
    rest: list[Dataset] = []
    plain: list[Dataset] = []
    for key in keys:
        dataset = datasets[key]
        by_library = dataset.type.dtype == "string" or (dataset.offset is None and dataset.nbytes)
        (rest if by_library else plain).append(dataset)
    _write_pieces(path, plain, source)
    if rest:
        import h5py

        from ckptkit.formats.hdf5.library import library, write_by_library

        with library(path), h5py.File(path, "r+") as opened:
            for dataset in rest:
                write_by_library(opened, dataset, source)


def _write_pieces(path: str, datasets: list[Dataset], source: TensorSource) -> None:
    """Stream tensors to where they lie, on two threads: reading, checksums and writing release the interpreter's lock."""
    from concurrent.futures import ThreadPoolExecutor

    def write(dataset: Dataset) -> None:
        with writing(path), Path(path).open("r+b") as file:
            _write_piece(file, dataset, source)

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for _ in pool.map(write, sorted(datasets, key=lambda each: -each.nbytes)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt or an error waits for the two at work, not for all the rest


def _write_piece(file: IO[bytes], dataset: Dataset, source: TensorSource) -> None:
    file.seek(dataset.offset or 0)
    for piece in source.stream(dataset.key, memoryview(bytearray(min(WRITE_BYTES, dataset.nbytes or 1)))):
        if dataset.type.swapped:
            import numpy as np

            width = dataset.type.itemsize // dataset.type.parts
            file.write(np.frombuffer(piece, f"u{width}").byteswap())
        else:
            file.write(piece)
