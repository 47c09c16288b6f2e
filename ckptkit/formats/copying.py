"""Checkpoints of a store as local files, for frameworks, which read no others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ckptkit.formats.locate import Located, locate
from ckptkit.formats.names import base_name, files_below, is_file, join
from ckptkit.formats.storage import open_storage
from ckptkit.formats.stores import is_url
from ckptkit.formats.version import files_of
from ckptkit.model import CHUNK_BYTES


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """`path` itself, or the path of a copy of what is behind the URL `path`, which is there as long as the block lasts.

    Raises:
        CkptkitError: nothing is there, or it changed while it was copied.
    """
    if not is_url(path):
        yield path
        return
    from ckptkit.formats.remote.pinned import unchanging

    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        with unchanging():
            copy = _copy(locate(path), folder)
        yield copy


def _copy(found: Located, folder: str) -> str:
    if found.kind == "saved-model":
        target = Path(folder, base_name(found.path) or "model")
        for name in files_below(found.path):
            _download(join(found.path, name), target / name)
        return str(target)
    for url in files_of(found):
        if is_file(url):
            _download(url, Path(folder, base_name(url)))
    return str(Path(folder, base_name(found.path)))


def _download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(open_storage(url)) as storage, target.open("wb") as file:
        for piece in storage.stream(0, storage.size, memoryview(bytearray(CHUNK_BYTES))):
            file.write(piece)
