"""A checkpoint behind URLs that counts only as long as every file of it is the one that was opened."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakSet

from ckptkit.errors import FormatError
from ckptkit.formats.remote.client import changed
from ckptkit.formats.remote.store import looking_once, states

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ckptkit.formats.remote.access import Look
    from ckptkit.model import Contents, TensorSource


def open_pinned(
    path: str, open_contents: Callable[[str], tuple[Contents, TensorSource]]
) -> tuple[Contents, TensorSource]:
    """What `open_contents` opens at the URL `path`, with a source that knows in which state it saw the files."""
    with looking_once() as seen:
        contents, source = open_contents(path)
    return contents, Pinned(source, path, _files(seen))


@contextmanager
def unchanging() -> Iterator[None]:
    """Raise at the end of the block when a file that was looked at in it is another one by then."""
    with looking_once() as seen:
        yield
    _confirm(_files(seen))


def _files(seen: Mapping[str, Look]) -> dict[str, str]:
    return {url: look.state for url, look in seen.items() if look.kind == "file"}


def _confirm(seen: Mapping[str, str]) -> None:
    for url, state in zip(seen, states(seen), strict=True):
        if state != seen[url]:
            raise changed(url)


_open: WeakSet[Pinned] = WeakSet()


def confirm_open(paths: Collection[str]) -> None:
    """Raise as `Pinned.confirm` for every checkpoint that is open and was opened by one of `paths`."""
    for pinned in list(_open):
        if pinned.path in paths:
            pinned.confirm()


class Pinned:
    """A source that hands everything through, and looks once more at its files before they are let go."""

    def __init__(self, source: TensorSource, path: str, seen: Mapping[str, str]) -> None:
        self.path = path
        self._source = source
        self._seen = seen
        self._closed = False
        _open.add(self)

    def behind(self, key: str) -> tuple[TensorSource, str]:
        """See `ForwardingSource.behind`."""
        return self._source, key

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        self._source.read_into(key, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`."""
        return self._source.stream(key, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        return self._source.read_strings(key)

    def confirm(self) -> None:
        """Raise unless all files are still what they were when they were opened.

        Raises:
            CkptkitError: one of them is another one, or is gone; nothing may be concluded from what was read.
        """
        _confirm(self._seen)

    def release(self) -> None:
        """Close without another look, which waits for the store: for whoever collects garbage, on whatever thread."""
        self._closed = True
        _open.discard(self)
        self._source.close()

    def close(self) -> None:
        """See `TensorSource.close`; raises as `confirm` the first time, except while another error is on its way up.

        One that says that the bytes are wrong is not such an error: it may have come of a mixture.
        """
        if self._closed:
            return
        self.release()
        failing = sys.exc_info()[1]
        if failing is None or isinstance(failing, FormatError):
            self.confirm()
