"""Bytes that exist only while a file is being read: what an archive's member inflates to, a tensor put in C order."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.storage.bytes import InPlace, Storage, check_range
from ckptkit.storage.local import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Iterable

_IN_MEMORY = 8 << 20  # bytes; two such tensors are held at most, so it stays far below what a command may take


def hold(name: str, size: int, pieces: Iterable[bytes | memoryview]) -> Storage:
    """A storage of `pieces`, in memory when `size` is at most 8 MiB, else in an unlinked temporary file.

    Args:
        name: for messages.
        size: bytes that `pieces` come to; has been checked against what the file can hold.
        pieces: consumed before this returns; an error of theirs leaves nothing behind.
    """
    if size <= _IN_MEMORY:
        return Memory(name, b"".join(pieces))
    return _Temporary(name, pieces)


class Memory(InPlace):
    """Bytes that are here."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.size = len(data)
        self._data = memoryview(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        check_range(self, offset, len(buffer))
        buffer[:] = self._data[offset : offset + len(buffer)]

    def close(self) -> None:
        """As `Storage.close`: there is nothing to give back."""


class _Temporary(LocalStorage):
    """A temporary file; its name is gone at once where the platform allows that, else when it is closed."""

    def __init__(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        descriptor, self._path = tempfile.mkstemp(prefix="ckptkit-")
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
                for piece in pieces:
                    file.write(piece)
            super().__init__(self._path)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise CkptkitError(
                f"no room for a temporary copy ({reason})", path=name, hint="TMPDIR names the folder that is used"
            ) from error
        finally:
            self._unlink()
        self.name = name

    def close(self) -> None:
        super().close()
        self._unlink()

    def _unlink(self) -> None:
        with suppress(OSError):
            Path(self._path).unlink()
