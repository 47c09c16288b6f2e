"""A bar for work that takes more than a moment: in a notebook, on a terminal, or nowhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ckptkit.report import words

if TYPE_CHECKING:
    from IPython.display import DisplayHandle
    from rich.progress import Progress

Advance = Callable[[int, int], None]
"""Called with (bytes done, bytes in all), often, from any thread."""

# Below this nobody wonders whether anything happens.
_MOMENT_SECONDS = 0.5

# A notebook keeps up with this and stores only the last state.
_REDRAW_SECONDS = 0.1


class _Bar(Protocol):
    def draw(self, done: int, total: int) -> None: ...
    def close(self, done: int, total: int) -> None: ...


def unwatched(done: int, total: int) -> None:
    """The bar where nobody looks."""


@contextlib.contextmanager
def progress_bar() -> Iterator[Advance]:
    """A bar with bytes, rate and time left, for the `progress=` of the library's calls.

    In a notebook it is an output of the running cell; elsewhere it is drawn on stderr when that is a terminal, and gone
    at the end. Work that is done within half a second shows none.

    Yields:
        A callable of (bytes done, bytes in all), which may be called from any thread.

    Example:
        >>> with ckptkit.progress_bar() as progress:  # doctest: +SKIP
        ...     found = ckptkit.diff("a.h5", "b.h5", progress=progress)
    """
    make: Callable[[], _Bar]
    if _in_notebook():
        make = partial(_NotebookBar, copy_context(), time.monotonic())
    elif sys.stderr.isatty():
        make = _TerminalBar
    else:
        yield unwatched
        return
    lock = threading.Lock()
    due = time.monotonic() + _MOMENT_SECONDS
    bar: _Bar | None = None
    last = (0, 0)

    def advance(done: int, total: int) -> None:
        nonlocal bar, due, last
        last = (done, total)
        if time.monotonic() < due or not lock.acquire(blocking=False):
            return  # too early, or another thread is at it
        try:
            bar = bar or make()
            bar.draw(done, total)
            due = time.monotonic() + _REDRAW_SECONDS
        finally:
            lock.release()

    try:
        yield advance
    finally:
        with lock:
            if bar is not None:
                bar.close(*last)


def _in_notebook() -> bool:
    """Whether this is a Jupyter kernel; one that runs has IPython loaded."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


class _TerminalBar:
    """A line on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        self._bar: Progress = Progress(
            BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def draw(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._bar.update(self._task, completed=done, total=total)

    def close(self, done: int, total: int) -> None:  # noqa: ARG002
        """Take the line away."""
        self._bar.stop()


class _NotebookBar:
    """An output of a cell that is replaced in place.

    By the context IPython knows which cell an output belongs to; threads begin without it.
    """

    def __init__(self, context: Context, started: float) -> None:
        self._context = context
        self._started = started
        self._handle: DisplayHandle | None = None

    def draw(self, done: int, total: int) -> None:
        """Show how far it is."""
        rate = done / max(time.monotonic() - self._started, 1e-9)
        text = f"{words.size(done)} of {words.size(total)} · {words.size(int(rate))}/s"
        if rate:
            text += f" · {max(0, total - done) / rate:.0f} s left"
        bar = f'<progress value="{done}" max="{max(total, 1)}" style="width: 16em; max-width: 50%"></progress>'
        self._show(f"{bar} {text}", text)

    def close(self, done: int, total: int) -> None:
        """Leave how far it came and how long that took."""
        came = words.size(done) if done >= total else f"stopped at {words.size(done)} of {words.size(total)}"
        text = f"{came} in {time.monotonic() - self._started:.1f} s"
        self._show(text, text)

    def _show(self, html: str, text: str) -> None:
        from IPython.display import DisplayHandle

        show = DisplayHandle.update
        if self._handle is None:
            self._handle, show = DisplayHandle(), DisplayHandle.display
        self._context.run(partial(show, self._handle, {"text/html": html, "text/plain": text}, raw=True))
