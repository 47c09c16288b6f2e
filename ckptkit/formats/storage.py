"""Bytes behind a name: the one small protocol through which every format reads.

Nothing above it may assume a local file. The local one reads by `preadv` into the caller's buffer rather than
through a memory map: a file that is cut short under a map is a SIGBUS, and a map counts as resident memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Protocol

from ckptkit.errors import CkptkitError, FormatError, NotFoundError


class Storage(Protocol):
    """A byte string of known size that is read by ranges. Safe to read from several threads."""

    @property
    def name(self) -> str:
        """For messages: the path, or archive and member."""

    @property
    def size(self) -> int:
        """Length in bytes, taken once when it was opened."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from byte `offset`.

        Raises:
            FormatError: the range is not wholly inside; says both numbers.
        """

    def close(self) -> None:
        """Idempotent."""


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


def regular_file_size(path: str | os.PathLike[str]) -> int:
    """Size of the regular file `path`, by one `stat`, before it is opened.

    Raises:
        NotFoundError: nothing is there, or a link leads nowhere.
        CkptkitError: it is a folder, FIFO, device or socket, or may not be looked at.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise _os_error(error, path) from error
    except ValueError as error:  # a NUL byte in the path
        raise NotFoundError("not a path", path=os.fspath(path)) from error
    if not stat.S_ISREG(found.st_mode):
        raise CkptkitError(
            "only regular files are read", path=os.fspath(path), expected="a regular file", found=_kind(found.st_mode)
        )
    return found.st_size


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _os_error(error: OSError, path: str | os.PathLike[str]) -> CkptkitError:
    name = os.fspath(path)
    if error.errno == errno.ENOENT:
        dangling = os.path.islink(name)
        return NotFoundError("a link to a file that is not there" if dangling else "no such file", path=name)
    return CkptkitError(f"cannot be read ({(error.strerror or 'unknown error').lower()})", path=name)


class LocalStorage:
    """A regular file of this machine."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self.size = regular_file_size(path)
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(path, flags)
        except OSError as error:
            raise _os_error(error, path) from error
        opened = os.fstat(self._descriptor)
        if not stat.S_ISREG(opened.st_mode):  # replaced between the two calls
            self.close()
            raise CkptkitError("only regular files are read", path=self.name, found=_kind(opened.st_mode))
        self.size = opened.st_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        check_range(self, offset, len(buffer))
        done = 0
        while done < len(buffer):
            try:
                count = _pread_into(self._descriptor, buffer[done:], offset + done)
            except OSError as error:
                raise _os_error(error, self.name) from error
            if count == 0:
                raise FormatError(
                    "the file became shorter while it was read",
                    path=self.name,
                    expected=f"{self.size} bytes",
                    found=f"{offset + done}",
                )
            done += count

    def close(self) -> None:
        """As `Storage.close`."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


if hasattr(os, "preadv"):

    def _pread_into(descriptor: int, buffer: memoryview, offset: int) -> int:
        return os.preadv(descriptor, [buffer], offset)

else:  # Windows has no positional read: one lock keeps seek and read together
    import threading

    _seek_lock = threading.Lock()

    def _pread_into(descriptor: int, buffer: memoryview, offset: int) -> int:
        with _seek_lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_storage(path: str | os.PathLike[str]) -> Storage:
    """Open `path` for reading by ranges; regular files only."""
    return LocalStorage(path)


class Window:
    """Part of another storage, such as a stored member of an archive; closing it leaves the other open."""

    def __init__(self, outer: Storage, name: str, offset: int, size: int) -> None:
        check_range(outer, offset, size)
        self.name = name
        self.size = size
        self._outer = outer
        self._offset = offset

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        check_range(self, offset, len(buffer))
        self._outer.read_into(self._offset + offset, buffer)

    def close(self) -> None:
        """Nothing of its own to give back."""


def list_folder(path: str | os.PathLike[str]) -> list[str]:
    """Names in the folder `path`, sorted; an error when it is none or may not be read."""
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        raise _os_error(error, path) from error


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder (links followed)."""
    return Path(path).is_dir()
