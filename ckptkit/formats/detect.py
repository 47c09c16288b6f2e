"""From whatever path a person types to the reader of what is there; every reader is imported when it is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.formats.locate import Kind, Located, locate
from ckptkit.formats.stores import is_url
from ckptkit.model import Contents, TensorSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckptkit.formats.storage import Storage

Opened = tuple[Contents, TensorSource]


def open_contents(path: str) -> Opened:
    """Open the checkpoint that `path` is, is part of, or contains.

    Args:
        path: as `locate.locate` takes it.

    Returns:
        What is there, and the source to read it from, which the caller closes. Of a checkpoint behind a URL it raises
        when it is closed and a file of it is another one by then.

    Raises:
        CkptkitError: nothing is there, or nothing that is read here.
    """
    if is_url(path):
        from ckptkit.formats.remote.pinned import open_pinned

        return open_pinned(path, _open)
    return _open(path)


def _open(path: str) -> Opened:
    found = locate(path)
    contents, source = _open_located(found)
    return replace(contents, notes=(*found.notes, *contents.notes)), source


def _open_located(found: Located) -> Opened:
    if found.kind == "bundle":
        from ckptkit.formats.tensor_bundle import open_bundle

        return open_bundle(found.path)
    if found.kind == "saved-model":
        from ckptkit.formats.saved_model import open_saved_model

        return open_saved_model(found.path)
    if found.kind == "v1":
        from ckptkit.formats.tensor_slices import open_v1

        return open_v1(found.path)
    if found.kind == "safetensors-index":
        from ckptkit.formats.safetensors import open_safetensors_index

        return open_safetensors_index(found.path)
    if found.kind == "keras-sharded":
        from ckptkit.formats.keras_v3 import open_sharded

        return open_sharded(found.path)
    return _open_file(found)


def _open_file(found: Located) -> Opened:
    from contextlib import ExitStack

    from ckptkit.formats.storage import open_storage

    with ExitStack() as stack:
        storage = open_storage(found.path)
        stack.callback(storage.close)
        opened = _reader(found.kind)(storage)
        stack.pop_all()  # the source has it now
    return opened


def _reader(kind: Kind) -> Callable[[Storage], Opened]:
    """The reader of what lies in one file."""
    if kind == "hdf5":
        from ckptkit.formats.hdf5 import open_hdf5

        return open_hdf5
    if kind == "keras":
        from ckptkit.formats.keras_archive import open_keras_archive

        return open_keras_archive
    if kind == "npz":
        from ckptkit.formats.npz import open_npz

        return open_npz
    from ckptkit.formats.safetensors import open_safetensors

    return open_safetensors
