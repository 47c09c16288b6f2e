"""Checkpoints of a store as local files, for frameworks, which read no others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.formats.locate import locate
from ckptkit.formats.location import Location
from ckptkit.model import CHUNK_BYTES
from ckptkit.storage.address import address

if TYPE_CHECKING:
    import os

    from ckptkit.storage.address import Address


@contextmanager
def local_copy(path: str | os.PathLike[str]) -> Iterator[Location]:
    """The checkpoint at `path` as local files: itself, or a copy that is there as long as the block lasts.

    Raises:
        CkptkitError: nothing is there, or it changed while it was copied.
    """
    found = locate(path)
    if not found.at.store.distant:
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        copy = _copy(found, Path(folder))
        found.at.store.confirm()
        yield replace(found, at=address(copy), state=None)


def _copy(found: Location, folder: Path) -> Path:
    if found.format.made_of.folder:
        target = folder / (found.at.base or "model")
        for name in found.at.files_below():
            _download(found.at.join(name), target / name)
        return target
    for file in found.files():
        if file.is_file():
            _download(file, folder / file.base)
    return folder / found.at.base


def _download(file: Address, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(file.open()) as storage, target.open("wb") as copy:
        for piece in storage.stream(0, storage.size, memoryview(bytearray(CHUNK_BYTES))):
            copy.write(piece)
