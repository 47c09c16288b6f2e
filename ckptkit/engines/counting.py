"""Bytes that are done, told to whoever watches."""

from __future__ import annotations

import threading
from collections.abc import Callable

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
