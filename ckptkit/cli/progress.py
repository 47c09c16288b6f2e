"""A bar on stderr for work that takes more than a moment."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

# Below this nobody wonders whether the command hangs.
_MOMENT_SECONDS = 0.5


@contextlib.contextmanager
def progress(*, enabled: bool = True) -> Iterator[Advance]:
    """Yield a callback that draws a bar with bytes, rate and time left; nothing when stderr is not a terminal."""
    if not enabled or not sys.stderr.isatty():
        yield _unwatched
        return
    started = time.monotonic()
    bar = None
    task = None

    def advance(done: int, total: int) -> None:
        nonlocal bar, task
        if bar is None:
            if time.monotonic() - started < _MOMENT_SECONDS:
                return
            bar, task = _bar(total)
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()


def _unwatched(_done: int, _total: int) -> None:
    pass


def _bar(total: int):  # type: ignore[no-untyped-def]  # rich is imported only when a bar is drawn
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    bar = Progress(
        BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    bar.start()
    return bar, bar.add_task("", total=total)
