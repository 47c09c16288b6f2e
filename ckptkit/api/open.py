"""Opening a checkpoint: where it is, what its format's reader finds in it, and the map that is made of that."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.engines.kept import KeptOpen
from ckptkit.errors import FormatError
from ckptkit.model import Checkpoint, Contents, TensorSource

if TYPE_CHECKING:
    import os

    from ckptkit.canonical import Maps
    from ckptkit.engines import Engine
    from ckptkit.formats.location import Location


def open(path: str | os.PathLike[str]) -> Checkpoint:  # noqa: A001
    """Open a checkpoint of any format; headers and indexes are read, no tensor is.

    Args:
        path: a file, a bundle's prefix or any member of it, a folder with a `checkpoint` file, a SavedModel folder; local
            or a URL that fsspec knows.

    Returns:
        An open `Checkpoint`: a context manager and a mapping from name to lazy variable.

    Raises:
        CkptkitError: the path cannot be read as a checkpoint; the message says why and what to do.
    """
    from ckptkit.formats.locate import locate

    location = locate(path)
    return bind(*location.open(), location)


def bind(contents: Contents, source: TensorSource, location: Location, maps: Maps | None = None) -> Checkpoint:
    """What a format module opened as a `Checkpoint`, which closes the source; `maps` made the maps of those before it."""
    from ckptkit.canonical import build

    with ExitStack() as opened:
        opened.callback(source.close)
        make = build if maps is None else maps.build
        checkpoint = Checkpoint(make(contents, location.typed), source, location)
        opened.pop_all()
    return checkpoint


def open_for(engine: Engine, path: str | os.PathLike[str] | Location, maps: Maps | None = None) -> Checkpoint:
    """As `open`, or of what was found; for an engine that works elsewhere so that it may go there (see `reopen`).

    Args:
        engine: who will read it.
        path: as for `open`.
        maps: who made the maps of the checkpoints that it is opened with.
    """
    from ckptkit.formats.locate import locate
    from ckptkit.formats.location import Location
    from ckptkit.storage.address import address

    location = path if isinstance(path, Location) else locate(path)
    if not engine.elsewhere:
        return bind(*location.open(), location, maps)
    version = location.version()  # before it is opened: what comes in between is noticed elsewhere
    checkpoint = bind(*location.open(), location, maps)
    checkpoint.reopen = (reopen, (address(location.typed).absolute().text, version))
    return checkpoint


def reopen(path: str, version: str) -> Checkpoint:
    """The checkpoint at `path`, opened once in this process.

    It is closed when it is no longer among the last few and nothing uses it.

    Raises:
        FormatError: it is not `version` of it.
        CkptkitError: it cannot be opened.
    """
    return kept.get(path, version)


def _open_version(path: str, version: str) -> Checkpoint:
    checkpoint = open(path)
    # Whoever sent the work makes sure that files behind URLs have not changed; here they are only let go.
    release = getattr(checkpoint.source, "release", checkpoint.source.close)
    weakref.finalize(checkpoint, release).atexit = False
    checkpoint.reopen = (reopen, (path, version))
    return checkpoint


def _check_version(path: str, version: str) -> bool:
    """Whether it has to be looked at again: of a local file reading on does not tell that it was replaced."""
    from ckptkit.formats.locate import locate

    found = locate(path)
    if found.version() != version:
        raise FormatError(
            "the checkpoint was replaced or changed while it was being read", path=path, hint="Run the command again"
        )
    return not found.at.store.distant


kept = KeptOpen(_open_version, _check_version)
