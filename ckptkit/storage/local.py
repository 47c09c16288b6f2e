"""Files of this machine: their bytes, their names, and what tells one state of them from another.

They are read by `preadv` into the caller's buffer rather than through a memory map: a file that is cut short under a
map is a SIGBUS, and a map counts as resident memory.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.storage.bytes import InPlace, check_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ckptkit.model import TensorSource

ABSENT = "absent"
"""The version of a file that is not there."""

# Small reads that follow each other, as those of many small tensors do, are served from one that looks ahead.
_SMALL_BYTES = 1024
_AHEAD_BYTES = 1 << 16


class LocalStorage(InPlace):
    """A regular file of this machine."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self.size = regular_file(path).st_size
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
        self._ahead = 0, b""  # where it begins and what it is; replaced as one, so that threads need no lock
        self._end = -1 - _SMALL_BYTES  # of the last small read; nothing follows it yet

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        length = len(buffer)
        check_range(self, offset, length)
        if length <= _SMALL_BYTES:
            begin, ahead = self._ahead
            if begin <= offset and offset + length <= begin + len(ahead):
                buffer[:] = ahead[offset - begin : offset - begin + length]
                return
            follows, self._end = 0 <= offset - self._end <= _SMALL_BYTES, offset + length
            if follows:
                ahead = self._read_ahead(offset)
                self._ahead = offset, ahead
                buffer[:] = ahead[:length]
                return
        self._fill(offset, buffer)

    def _read_ahead(self, offset: int) -> bytes:
        ahead = bytearray(min(_AHEAD_BYTES, self.size - offset))
        self._fill(offset, memoryview(ahead))
        return bytes(ahead)

    def _fill(self, offset: int, buffer: memoryview) -> None:
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


class LocalStore:
    """The `Store` of this machine's file system."""

    distant = False

    def is_file(self, path: str) -> bool:
        """As `Store.is_file`; nothing is opened."""
        try:
            regular_file(path)
        except CkptkitError:
            return False
        return True

    def is_folder(self, path: str) -> bool:
        """As `Store.is_folder`; links are followed."""
        return os.path.isdir(path)

    def size(self, path: str) -> int:
        """As `Store.size`, by one `stat`, before it is opened."""
        return regular_file(path).st_size

    def versions(self, paths: Sequence[str]) -> list[str]:
        """As `Store.versions`.

        The device is left out: it is a number of this machine's, and another one that mounts the same file system has
        to come to the same version.
        """
        return [_version(path) for path in paths]

    def open(self, path: str) -> LocalStorage:
        """As `Store.open`."""
        return LocalStorage(path)

    def list_folder(self, path: str) -> list[str]:
        """As `Store.list_folder`."""
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            raise _os_error(error, path) from error

    def files_below(self, folder: str) -> Iterator[str]:
        """As `Store.files_below`; links to folders are named and not followed."""
        for parent, folders, files in os.walk(folder):
            links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
            for name in sorted([*files, *links]):
                yield os.path.relpath(os.path.join(parent, name), folder)

    def folder_of(self, path: str) -> str:
        """As `Store.folder_of`."""
        return os.path.dirname(path) or os.curdir

    def base_name(self, path: str) -> str:
        """As `Store.base_name`."""
        return os.path.basename(path)

    def join(self, folder: str, name: str) -> str:
        """As `Store.join`."""
        return os.path.join(folder, name)

    def tail(self, path: str) -> str:  # noqa: ARG002
        """As `Store.tail`."""
        return ""

    def lies_in(self, path: str, folder: str) -> bool:
        """As `Store.lies_in`."""
        around = os.path.join(os.path.realpath(folder), "")
        return os.path.realpath(path).startswith(around)

    def absolute(self, path: str) -> str:
        """As `Store.absolute`."""
        return os.path.abspath(path)

    def pinned(self, source: TensorSource) -> TensorSource:
        """As `Store.pinned`: an open file stays what it is, whatever takes its name."""
        return source

    def confirm(self) -> None:
        """As `Store.confirm`."""


def _version(path: str) -> str:
    try:
        found = regular_file(path)
    except NotFoundError:
        return ABSENT
    except CkptkitError as error:
        return error.problem  # a shard that may not be read is listed as damage, and is no reason to fail here
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def regular_file(path: str | os.PathLike[str]) -> os.stat_result:
    """What `stat` says of the regular file `path`.

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
    return found


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
