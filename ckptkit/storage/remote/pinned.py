"""A checkpoint behind URLs that counts only as long as every file of it is the one that was opened."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ckptkit.model import TensorSource


class Pinned:
    """A source that hands everything through, and looks once more at its files before they are let go."""

    def __init__(self, source: TensorSource, confirm: Callable[[], None]) -> None:
        self._source = source
        self._confirm = confirm
        self._closed = False

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
        self._confirm()

    def release(self) -> None:
        """Close without another look, which waits for the store: for whoever collects garbage, on whatever thread."""
        self._closed = True
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
