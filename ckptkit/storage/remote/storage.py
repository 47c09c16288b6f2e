"""The bytes of an object: few requests, several at once, and no more than is wanted.

Small reads come from pages that are kept: those of HDF5 metadata, directories and indexes lie near each other, and one
round trip costs as much as a hundred kilobytes. Long runs are fetched ahead, block by block.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Protocol

from ckptkit.storage.bytes import check_range
from ckptkit.storage.remote.access import Target
from ckptkit.storage.remote.client import submit, wait
from ckptkit.storage.remote.traffic import ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from ckptkit.storage.remote.access import Access, Look

PAGE_BYTES = 8 << 10
_CACHED_BYTES = 24 << 20
# A miss right behind what was fetched last is taken for a walk: each step is twice as long, up to this.
_LONGEST_STEP = 1 << 20
# Reads of at least this size bring nothing but themselves.
_LARGE = 64 << 10

# One request of a stream or a large read: a second of what one connection gives, or less.
BLOCK_BYTES = 8 << 20
_BLOCKS_AHEAD = 3

# What comes along behind a long run: often the next variable, a bias behind its kernel, or the metadata of it.
_TAIL_BYTES = 16 << 10


class RemoteStorage:
    """A `Storage` over the object that a look saw; every request is for that state of it."""

    distant = True

    def __init__(self, url: str, access: Access, seen: Look) -> None:
        self.name = url
        self.size = seen.size
        self._access = access
        self._seen = seen
        self._lock = threading.Lock()
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._steps: dict[int, int] = {}  # number of the page behind a fetched run -> pages of that run
        self._store(0, seen.head, whole=seen.whole or len(seen.head) == seen.size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        check_range(self, offset, len(buffer))
        if self._seen.whole:
            buffer[:] = self._seen.head[offset : offset + len(buffer)]
        elif len(buffer) >= _LARGE:
            self._fetch_parts(offset, buffer)
        else:
            done = 0
            while done < len(buffer):
                number, inside = divmod(offset + done, PAGE_BYTES)
                piece = memoryview(self._page(number, offset + len(buffer)))[inside:][: len(buffer) - done]
                buffer[done : done + len(piece)] = piece
                done += len(piece)

    def _fetch_parts(self, offset: int, buffer: memoryview) -> None:
        """Long runs by several requests at once, the last of which brings what follows."""
        starts = range(0, len(buffer), BLOCK_BYTES)
        futures = [self._submit(offset + at, buffer[at : at + BLOCK_BYTES]) for at in starts[:-1]]
        last = buffer[starts[-1] :]
        try:
            self._fetch_last(offset + starts[-1], last)
            _finish(futures)
        finally:
            _take_back(futures)

    def _submit(self, offset: int, *buffers: memoryview) -> Future[None]:
        return submit(self._access.fetch(self._seen, offset, Target(*buffers)))

    def _fetch_last(self, offset: int, buffer: memoryview) -> None:
        tail = self._tail(offset + len(buffer))
        wait(self._submit(offset, buffer, memoryview(tail)))
        self._keep_tail(offset, buffer, tail)

    def _tail(self, stop: int) -> bytearray:
        """Room for what follows byte `stop`, up to the end of a page."""
        end = -(-(stop + _TAIL_BYTES) // PAGE_BYTES) * PAGE_BYTES
        return bytearray(max(0, min(end, self.size) - stop))

    def _keep_tail(self, offset: int, buffer: memoryview, tail: bytearray) -> None:
        """Keep `tail`, which follows `buffer`, as pages; the first of them begins in the buffer."""
        stop = offset + len(buffer)
        inside = stop % PAGE_BYTES
        if tail and inside <= len(buffer):
            with self._lock:
                self._store(stop - inside, bytes(buffer[len(buffer) - inside :]) + bytes(tail))

    def _page(self, number: int, stop: int) -> bytes:
        """Page `number`; when it is fetched, those up to byte `stop` come along."""
        with self._lock:
            page = self._pages.get(number)
            if page is not None:
                self._pages.move_to_end(number)
                return page
            wanted = -(-stop // PAGE_BYTES) - number
            step = self._steps.pop(number, 0) * 2
            count = max(wanted, min(step, _LONGEST_STEP // PAGE_BYTES))
            begin = number * PAGE_BYTES
            data = bytearray(min(count * PAGE_BYTES, self.size - begin))
            wait(self._submit(begin, memoryview(data)))
            self._steps[number + count] = count
            self._store(begin, bytes(data))
            return bytes(data[:PAGE_BYTES])

    def _store(self, begin: int, data: bytes, *, whole: bool = False) -> None:
        """Keep the whole pages of `data`, and the last one of the object."""
        for at in range(0, len(data), PAGE_BYTES):
            page = data[at : at + PAGE_BYTES]
            if len(page) == PAGE_BYTES or begin + len(data) == self.size or whole:
                self._pages[(begin + at) // PAGE_BYTES] = page
        while len(self._pages) * PAGE_BYTES > _CACHED_BYTES:
            self._pages.popitem(last=False)

    def expect(self, offsets: Iterable[int]) -> None:
        """As `Storage.expect`: the pages are fetched at once, neighbours together."""
        if self._seen.whole:
            return
        with self._lock:
            last = (self.size - 1) // PAGE_BYTES
            numbers = sorted(
                {offset // PAGE_BYTES for offset in offsets if 0 <= offset < self.size} - self._pages.keys()
            )
            runs: list[tuple[int, bytearray]] = []
            for number in numbers[: _CACHED_BYTES // PAGE_BYTES // 2]:
                length = self.size - number * PAGE_BYTES if number == last else PAGE_BYTES
                if runs and number * PAGE_BYTES == runs[-1][0] + len(runs[-1][1]):
                    runs[-1][1].extend(bytes(length))
                else:
                    runs.append((number * PAGE_BYTES, bytearray(length)))
            _finish([self._submit(begin, memoryview(data)) for begin, data in runs])
            for begin, data in runs:
                self._store(begin, bytes(data))

    def stream(self, offset: int, length: int, buffer: memoryview) -> Iterator[memoryview]:
        """As `Storage.stream`: blocks are asked for before they are wanted, as far as the memory for that goes."""
        check_range(self, offset, length)
        step = len(buffer)
        if length <= step or self._seen.whole:
            for at in range(offset, offset + length, step):
                piece = buffer[: min(step, offset + length - at)]
                self.read_into(at, piece)
                yield piece
            return
        block = step * max(1, BLOCK_BYTES // step)
        blocks = _Blocks(self._submit, offset, length, block, self._tail(offset + length))
        try:
            for at_block, data in blocks:
                if at_block + len(data) == offset + length:
                    self._keep_tail(at_block, data, blocks.tail)
                for at in range(0, len(data), step):
                    piece = buffer[: min(step, len(data) - at)]
                    piece[:] = data[at : at + len(piece)]
                    yield piece
        finally:
            blocks.close()

    def close(self) -> None:
        """As `Storage.close`; fsspec keeps the connections."""
        with self._lock:
            self._pages.clear()
            self._steps.clear()


class _Blocks:
    """The blocks of one run in order, the next ones under way."""

    def __init__(self, submit: _Submit, offset: int, length: int, block: int, tail: bytearray) -> None:
        self.tail = tail
        self._submit = submit
        self._at = offset
        self._end = offset + length
        self._block = block
        self._free: list[bytearray] = []
        self._coming: deque[tuple[Future[None], bytearray, int, int]] = deque()
        self._taken = 0

    def __iter__(self) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of each, valid until the next one is asked for."""
        while self._at < self._end or self._coming:
            if not self._coming:
                self._begin()
            while len(self._coming) < _BLOCKS_AHEAD and self._at < self._end and ahead.take(self._block):
                self._taken += self._block
                self._begin()
            future, data, at, length = self._coming.popleft()
            wait(future)
            yield at, memoryview(data)[:length]
            self._free.append(data)
            if self._taken:
                self._taken -= self._block
                ahead.give(self._block)

    def _begin(self) -> None:
        data = self._free.pop() if self._free else bytearray(self._block)
        length = min(self._block, self._end - self._at)
        parts = [memoryview(data)[:length]]
        if self._at + length == self._end:
            parts.append(memoryview(self.tail))
        self._coming.append((self._submit(self._at, *parts), data, self._at, length))
        self._at += length

    def close(self) -> None:
        """Take back what is under way; nothing writes into the blocks afterwards that anybody has."""
        _take_back(coming[0] for coming in self._coming)
        ahead.give(self._taken)
        self._taken = 0


class _Submit(Protocol):
    def __call__(self, offset: int, *buffers: memoryview) -> Future[None]: ...


def _finish(futures: list[Future[None]]) -> None:
    """Wait for all; when one fails the others are taken back."""
    try:
        for future in futures:
            wait(future)
    finally:
        _take_back(futures)


def _take_back(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        future.cancel()
