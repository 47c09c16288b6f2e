"""Bytes of a storage one after the other, as `pickletools.genops` wants to read them, under a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

# One pickle. The record of 100,000 tensors takes some 15 MiB; raw numbers lie outside of it.
MAX_BYTES = 64 << 20

_FIRST_BLOCK, _LARGEST_BLOCK = 1 << 14, 1 << 20


class Feed:
    """Reads on from a place in a storage; never more than `MAX_BYTES`, and nothing is allocated for what is not there."""

    def __init__(self, storage: Storage, start: int = 0) -> None:
        self.storage = storage
        self._begin = start
        self._next = start  # first byte of the storage that is not in the block
        self._block = b""
        self._at = 0
        self._size = _FIRST_BLOCK

    @property
    def at(self) -> int:
        """Place in the storage of the next byte."""
        return self._next - len(self._block) + self._at

    def read(self, count: int) -> bytes:
        """The next `count` bytes, or as many as there are."""
        end = self._at + count
        if end > len(self._block):
            self._fill(count)
            end = self._at + count
        found = self._block[self._at : end]
        self._at += len(found)
        return found

    def readline(self) -> bytes:
        """The next bytes up to and with a line feed, or all that are left."""
        wanted = 256
        while (end := self._block.find(b"\n", self._at)) < 0:
            if self._next >= self.storage.size:
                return self.read(len(self._block) - self._at)
            self._fill(wanted)
            wanted = 2 * (len(self._block) - self._at)
        return self.read(end + 1 - self._at)

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            FormatError: there are not so many.
        """
        found = self.read(count)
        if len(found) < count:
            raise FormatError(
                "the file is cut short", path=self.storage.name, expected=f"{count} bytes at byte {self.at}",
                found=f"{self.storage.size} bytes in all",
            )  # fmt: skip
        return found

    def skip(self, count: int) -> None:
        """Go on `count` bytes further, which need not be read."""
        if count < 0 or self.at + count > self.storage.size:
            raise FormatError(
                "the file is cut short", path=self.storage.name, expected=f"{count} bytes at byte {self.at}",
                found=f"{self.storage.size} bytes in all",
            )  # fmt: skip
        self._begin = self._next = self.at + count
        self._block, self._at = b"", 0

    def _fill(self, count: int) -> None:
        """Have at least `count` bytes at hand where there are so many."""
        kept = self._block[self._at :]
        missing = min(max(count - len(kept), 0), self.storage.size - self._next)
        if self.at + count - self._begin > MAX_BYTES and missing:
            raise LimitError(
                "the pickle is too long", path=self.storage.name, expected=f"at most {MAX_BYTES} bytes",
                hint="Save the tensors as safetensors",
            )  # fmt: skip
        taken = min(max(missing, self._size), self.storage.size - self._next)
        self._size = min(4 * self._size, _LARGEST_BLOCK)
        self._block = kept + bytes(read(self.storage, self._next, taken))
        self._next += taken
        self._at = 0
