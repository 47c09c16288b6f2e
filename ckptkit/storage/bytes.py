"""Bytes behind a name: the one small protocol through which every format reads.

Nothing above it may assume a local file: an `address.Address` knows where the bytes come from.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Protocol

from ckptkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Storage(Protocol):
    """A byte string of known size that is read by ranges. Safe to read from several threads."""

    @property
    def name(self) -> str:
        """For messages: the path, or archive and member."""

    @property
    def size(self) -> int:
        """Length in bytes, taken once when it was opened."""

    @property
    def distant(self) -> bool:
        """Whether each read is a round trip, so that it pays to say beforehand what is wanted (`expect`)."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from byte `offset`.

        Raises:
            FormatError: the range is not wholly inside; says both numbers.
        """

    def stream(self, offset: int, length: int, buffer: memoryview) -> Iterator[memoryview]:
        """Bytes `offset` to `offset + length` in order, in pieces that fill `buffer`, each a view of it.

        What has a way to go for its bytes fetches the next ones while a piece is looked at.
        """

    def expect(self, offsets: Iterable[int]) -> None:
        """Told that a few bytes at each of `offsets` are read soon; what is far away fetches them at once."""

    def close(self) -> None:
        """Idempotent."""


class InPlace:
    """`stream` and `expect` of a storage whose bytes are at hand."""

    name: str
    size: int
    distant = False

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        raise NotImplementedError

    def stream(self, offset: int, length: int, buffer: memoryview) -> Iterator[memoryview]:
        """As `Storage.stream`."""
        for at in range(offset, offset + length, len(buffer)):
            piece = buffer[: min(len(buffer), offset + length - at)]
            self.read_into(at, piece)
            yield piece

    def expect(self, offsets: Iterable[int]) -> None:
        """As `Storage.expect`: nothing is gained."""


def read(storage: Storage, offset: int, length: int) -> bytearray:
    """`length` bytes from `offset`; checked against the size before anything is allocated."""
    check_range(storage, offset, length)
    data = bytearray(length)
    storage.read_into(offset, memoryview(data))
    return data


def check_range(storage: Storage, offset: int, length: int) -> None:
    """Raise `FormatError` unless bytes `offset` to `offset + length` are inside `storage`."""
    if offset < 0 or length < 0 or offset + length > storage.size:
        raise FormatError(
            "the file is cut short or its index is wrong",
            path=storage.name,
            expected=f"bytes {offset} to {offset + length}",
            found=f"{storage.size} bytes",
        )


def as_file(storage: Storage) -> IO[bytes]:
    """A file object to read `storage` with, for what takes nothing else; closing it leaves the storage open."""
    import io

    class File(io.RawIOBase):
        at = 0

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
            self.at = offset + (0, self.at, storage.size)[whence]
            return self.at

        def tell(self) -> int:
            return self.at

        def readinto(self, buffer: Any) -> int:
            view = memoryview(buffer).cast("B")
            view = view[: max(0, min(len(view), storage.size - self.at))]
            storage.read_into(self.at, view)
            self.at += len(view)
            return len(view)

    return io.BufferedReader(File())


class Window:
    """Part of another storage, such as a stored member of an archive; closing it leaves the other open."""

    def __init__(self, outer: Storage, name: str, offset: int, size: int) -> None:
        check_range(outer, offset, size)
        self.name = name
        self.size = size
        self.distant = outer.distant
        self._outer = outer
        self._offset = offset

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        check_range(self, offset, len(buffer))
        self._outer.read_into(self._offset + offset, buffer)

    def stream(self, offset: int, length: int, buffer: memoryview) -> Iterator[memoryview]:
        """As `Storage.stream`."""
        check_range(self, offset, length)
        return self._outer.stream(self._offset + offset, length, buffer)

    def expect(self, offsets: Iterable[int]) -> None:
        """As `Storage.expect`."""
        self._outer.expect(self._offset + offset for offset in offsets)

    def close(self) -> None:
        """Nothing of its own to give back."""
