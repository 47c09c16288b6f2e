"""The tensors of a distributed checkpoint: handed through where one item is all of it, else joined from their parts."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, NotFoundError, UsageError
from ckptkit.formats.partitions import read_joined
from ckptkit.storage.crc32 import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.formats.dcp.items import Files
    from ckptkit.formats.dcp.metadata import Entry
    from ckptkit.formats.safetensors.reader import Source as Plain
    from ckptkit.formats.torch.source import Source

Part = tuple["Source | Plain", str]
"""A source and the key of a tensor in it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in parts, and what speaks against reading it."""

    entry: Entry
    nbytes: int
    problem: str | None


class DistributedSource:
    """A `TensorSource` over the items of a folder; see `ForwardingSource`."""

    def __init__(self, files: Files, stored: Mapping[str, Stored], inside: Mapping[str, Part]) -> None:
        self._files = files
        self._stored = stored
        self._inside = inside
        self._parts: dict[str, list[Part]] = {}
        self._lock = threading.Lock()

    def behind(self, key: str) -> Part | None:
        """See `ForwardingSource.behind`."""
        if key in self._inside:
            return self._inside[key]
        parts = self._opened(self._find(key))
        return parts[0] if len(parts) == 1 else None

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        if (found := self.behind(key)) is not None:
            found[0].read_into(found[1], offset, buffer)
            return
        stored = self._find(key)
        if offset < 0 or offset + len(buffer) > stored.nbytes:
            raise UsageError("the range is not inside the tensor", path=self._files.folder, key=key, found=offset)
        self._read(stored, offset, buffer, [(0, 0)] * len(stored.entry.parts))

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`: the checksum of a part is taken as the whole goes by."""
        if (found := self.behind(key)) is not None:
            yield from found[0].stream(found[1], buffer)
            return
        stored = self._find(key)
        parts = self._opened(stored)
        for source, inner in parts:
            if not source.can_cut(inner):  # what lies in another order is verified, and put in order, by itself
                for _ in source.stream(inner, memoryview(bytearray(len(buffer)))):
                    pass
        sums = [(0, 0)] * len(parts)
        for at in range(0, stored.nbytes, len(buffer)):
            piece = buffer[: min(len(buffer), stored.nbytes - at)]
            self._read(stored, at, piece, sums)
            yield piece
        for (source, inner), whole in zip(parts, sums, strict=True):
            source.verify_ranges(inner, [[whole]])

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        if key not in self._inside:
            self._find(key)
        raise UsageError("not a string tensor", path=self._files.folder, key=key)

    def close(self) -> None:
        """See `TensorSource.close`."""
        with self._lock:
            for source, _ in (*self._inside.values(), *(part for parts in self._parts.values() for part in parts)):
                source.close()
        self._files.close()

    def _read(self, stored: Stored, offset: int, buffer: memoryview, sums: list[tuple[int, int]]) -> None:
        """Fill `buffer`; `sums`, one for each part, take in the bytes of it."""
        parts = self._opened(stored)

        def read_part(number: int, at: int, into: memoryview) -> None:
            source, inner = parts[number]
            source.read_into(inner, at, into)
            crc, length = sums[number]
            sums[number] = crc32(into, crc), length + len(into)

        entry = stored.entry
        read_joined(entry.parts, entry.shape, dtypes.itemsize(entry.dtype or ""), offset, buffer, read_part)

    def _find(self, key: str) -> Stored:
        stored = self._stored.get(key)
        if stored is None:
            raise NotFoundError("no such tensor in the checkpoint", path=self._files.folder, key=key)
        if stored.problem is not None:
            raise FormatError(stored.problem, path=self._files.folder, key=key)
        return stored

    def _opened(self, stored: Stored) -> list[Part]:
        entry = stored.entry
        with self._lock:
            parts = self._parts.get(entry.name)
            if parts is None:
                parts = [
                    self._files.tensor(entry.name, part, entry.dtype or "", place)
                    for part, place in zip(entry.parts, entry.places, strict=True)
                    if place is not None
                ]
                self._parts[entry.name] = parts
            return parts
