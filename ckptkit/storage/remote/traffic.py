"""What goes over the network, counted, and how much of it may at once, in the whole process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

_REQUESTS_AT_ONCE = 16

# Bytes that were asked for before they were wanted: what reading ahead may hold in memory.
_AHEAD_BYTES = 48 << 20


@dataclass
class Traffic:
    """Counts since the process began; only the loop's thread adds to them.

    Attributes:
        requests: for looks, ranges, listings and parts of uploads, attempts counted each.
        received: bytes of objects, not of headers and listings.
        sent: bytes of objects.
    """

    requests: int = 0
    received: int = 0
    sent: int = 0


traffic = Traffic()

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@asynccontextmanager
async def request() -> AsyncIterator[None]:
    """One request, which waits for its turn."""
    loop = asyncio.get_running_loop()
    slots = _slots.get(loop)
    if slots is None:  # a forked process has a loop of its own
        slots = _slots[loop] = asyncio.Semaphore(_REQUESTS_AT_ONCE)
    async with slots:
        traffic.requests += 1
        yield


class Ahead:
    """The memory for reading ahead, shared by all streams."""

    def __init__(self, nbytes: int) -> None:
        self._left = nbytes
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Whether there is room; if so it is taken."""
        with self._lock:
            if nbytes > self._left:
                return False
            self._left -= nbytes
            return True

    def give(self, nbytes: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += nbytes


ahead = Ahead(_AHEAD_BYTES)
