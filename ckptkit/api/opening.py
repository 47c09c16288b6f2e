"""Opening a checkpoint, and choosing among its variables."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, NotFoundError
from ckptkit.model import Checkpoint, CheckpointSpec, Contents, TensorSource, Variable

if TYPE_CHECKING:
    import os

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all), often."""


def silent(done: int, total: int) -> None:
    """The progress nobody watches."""


class Counter:
    """Adds up bytes reported from several threads, and passes the sum on."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, nbytes: int) -> None:
        """Add `nbytes`, and pass the sum on."""
        with self._lock:
            self._done += nbytes
            self._progress(min(self._done, self._total), self._total)


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
    from ckptkit import formats

    name = str(path)
    return bind(*formats.open_contents(name), name)


def bind(contents: Contents, source: TensorSource, path: str) -> Checkpoint:
    """What a format module opened at `path` as a `Checkpoint`, which closes the source."""
    from ckptkit import canonical

    with ExitStack() as opened:
        opened.callback(source.close)
        checkpoint = Checkpoint(canonical.build(contents, path), source)
        opened.pop_all()
    return checkpoint


def refuse_damaged(spec: CheckpointSpec) -> None:
    """Raise when something is wrong with a file: it can be listed, and nothing is concluded from it or made of it.

    Raises:
        FormatError: names the first damage.
    """
    if spec.damage:
        first, *rest = spec.damage
        more = f", and {len(rest)} more such things" if rest else ""
        raise FormatError(f"damaged: {first}{more}", path=spec.path, hint="`ckptkit inspect` lists what is there")


def select(spec: CheckpointSpec, glob: str | None) -> tuple[Variable, ...]:
    """The variables whose canonical name, native key or layer matches `glob`; all of them for None.

    Raises:
        NotFoundError: the glob lets nothing through.
    """
    if glob is None:
        return spec.variables
    chosen = tuple(
        variable
        for variable in spec.variables
        if any(fnmatch.fnmatchcase(name, glob) for name in (variable.name, variable.key, variable.layer))
    )
    if not chosen:
        import difflib

        names = [name for variable in spec.variables for name in (variable.name, variable.layer)]
        near = difflib.get_close_matches(glob.strip("*/"), dict.fromkeys(names), n=3, cutoff=0.4)
        raise NotFoundError(
            f"no variable matches {glob!r}",
            path=spec.path,
            hint=f"Near it: {', '.join(near)}" if near else "A glob such as 'encoder/*' matches names, keys and layers",
        )
    return chosen
