"""What the processes of an engine keep open between the tasks that they are sent."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Opened = TypeVar("Opened")

# Things that a process keeps open: those of a command, and of the one before it.
_MOST_OPEN = 6

# What can be replaced unnoticed is looked at again: no sooner than so many times the duration of a look, which is one
# request for each file.
_CHECK_AGAIN_AFTER = 20


class KeptOpen(Generic[Opened]):
    """What was opened by path and version: once in this process, and closed when it is no longer among the last few.

    Args:
        open: opens what is at a path, in the version that is said.
        check: raises unless a path still has a version; whether it is to be asked again.
    """

    def __init__(self, open: Callable[[str, str], Opened], check: Callable[[str, str], bool]) -> None:  # noqa: A002
        self._open = open
        self._check = check
        self._lock = threading.Lock()
        self._opened: OrderedDict[tuple[str, str], Opened] = OrderedDict()
        self._fresh_until: dict[tuple[str, str], float] = {}

    def get(self, path: str, version: str) -> Opened:
        """What is open at `path`; it stays so while it is used.

        Raises:
            CkptkitError: it is not `version` of it, or cannot be opened.
        """
        key = path, version
        with self._lock:
            found = self._opened.get(key)
            if found is None:
                found = self._open(path, version)
                self._fresh_until.pop(key, None)
            self._look(key)  # after opening it: what was replaced before or meanwhile is another version
            self._opened[key] = found
            self._opened.move_to_end(key)
            while len(self._opened) > _MOST_OPEN:
                self._fresh_until.pop(self._opened.popitem(last=False)[0], None)
        return found

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._opened.clear()

    def _look(self, key: tuple[str, str]) -> None:
        begun = time.monotonic()
        if begun < self._fresh_until.get(key, 0):
            return
        again = self._check(*key)
        now = time.monotonic()
        self._fresh_until[key] = now + _CHECK_AGAIN_AFTER * (now - begun) if again else float("inf")
