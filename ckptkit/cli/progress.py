"""A bar on stderr for work that takes more than a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ckptkit.report.progress import Advance, progress_bar, unwatched


@contextlib.contextmanager
def progress(*, enabled: bool = True) -> Iterator[Advance]:
    """Yield a callback that draws a bar with bytes, rate and time left; nothing when stderr is not a terminal."""
    if not enabled:
        yield unwatched
        return
    with progress_bar() as advance:
        yield advance
