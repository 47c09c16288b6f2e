"""A copy of a Keras or HDF5 file in which some tensors hold other values, and everything else is kept.

What lies in one piece (all that Keras writes) is overwritten in the copy, so that every other byte stays what it was.
Compressed tensors are written anew by the HDF5 library, in their own chunks and filters.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import NotFoundError, RefusedError, UnsupportedError
from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.fill import fill
from ckptkit.formats.hdf5.limits import inflated_limit, judged
from ckptkit.formats.hdf5.tree import read_tree
from ckptkit.formats.keras.archive import WEIGHTS
from ckptkit.formats.zip.members import is_zip, members, open_member, stream_member
from ckptkit.model import WRITE_BYTES, TensorSource, TensorSpec
from ckptkit.storage.bytes import Storage, as_file, read
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.formats.hdf5.dataset import Dataset
    from ckptkit.storage.address import Address


def rewrite(path: str, template: Address, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Write a copy of `template` to `path` in which `tensors` hold the bytes of `source`.

    Args:
        path: the new file.
        template: a legacy HDF5 file, a `.weights.h5`, plain HDF5 or a `.keras` archive.
        tensors: key in the template -> its spec, which is that of the template.
        source: answers for the same keys.

    Raises:
        NotFoundError: the template has no such tensor.
        RefusedError: it has another shape or dtype there.
        WriteError: the copy cannot be written.
    """
    with closing(template.open()) as storage:
        write = _rewrite_archive if is_zip(storage) else _rewrite_file
        write(path, storage, tensors, source)


def _rewrite_file(path: str, template: Storage, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """As `rewrite`, for a template that is one HDF5 file."""
    datasets = judged(read_tree(Hdf5File(template)).datasets, template.size)
    _check(template.name, datasets, tensors)
    replaced = (datasets[key] for key in tensors)
    plain = [(found.offset, found.offset + found.nbytes) for found in replaced if found.offset and not found.type.vlen]
    _copy(path, template, sorted(plain))
    fill(path, tensors, source)


def _rewrite_archive(path: str, template: Storage, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Every member in its place, with its date and method; the bytes of all but the weights are the same."""
    found = members(template, paths=True)
    if WEIGHTS not in found:
        raise UnsupportedError(f"the archive has no {WEIGHTS}", path=template.name)
    descriptor, weights = tempfile.mkstemp(prefix="ckptkit-", suffix=".h5", dir=Path(path).parent)
    os.close(descriptor)
    try:
        with closing(open_member(template, found[WEIGHTS], inflated_limit(template.size))) as inner:
            _rewrite_file(weights, inner, tensors, source)
        with zipfile.ZipFile(as_file(template)) as old:
            infos = old.infolist()
        with writing(path), zipfile.ZipFile(path, "w") as archive:
            for info in infos:
                new = zipfile.ZipInfo(info.filename, info.date_time)
                new.compress_type, new.comment, new.external_attr = info.compress_type, info.comment, info.external_attr
                new.create_system, new.extra = info.create_system, info.extra
                with archive.open(new, "w", force_zip64=info.file_size > zipfile.ZIP64_LIMIT // 2) as target:
                    if info.filename == WEIGHTS:
                        with Path(weights).open("rb") as file:
                            shutil.copyfileobj(file, target, WRITE_BYTES)
                    elif info.filename in found:
                        for piece in stream_member(template, found[info.filename]):
                            target.write(piece)
    finally:
        Path(weights).unlink(missing_ok=True)


def _check(name: str, datasets: Mapping[str, Dataset], tensors: Mapping[str, TensorSpec]) -> None:
    for key, spec in tensors.items():
        dataset = datasets.get(key)
        if dataset is None:
            raise NotFoundError("the template has no such tensor", path=name, key=key)
        if dataset.problem:
            raise RefusedError(f"cannot be replaced: {dataset.problem}", path=name, key=key)
        if (dataset.shape, dataset.type.dtype) != (spec.shape, spec.dtype):
            raise RefusedError(
                "the template wants another shape or dtype",
                path=name,
                key=key,
                expected=f"{list(dataset.shape)} {dataset.type.dtype}",
                found=f"{list(spec.shape)} {spec.dtype}",
            )


def _copy(path: str, storage: Storage, replaced: list[tuple[int, int]]) -> None:
    """Copy all but the bytes that will be replaced, which are left as a hole."""
    with writing(path), Path(path).open("wb") as file:
        begin = 0
        for stop, after in [*replaced, (storage.size, storage.size)]:
            file.seek(begin)
            for at in range(begin, stop, WRITE_BYTES):
                file.write(read(storage, at, min(WRITE_BYTES, stop - at)))
            begin = max(begin, after)
        file.truncate(storage.size)
