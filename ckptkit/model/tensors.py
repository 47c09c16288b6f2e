"""Tensors and where their bytes come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ckptkit import dtypes

# The read unit of everything that streams: 1 Mi float32 elements. Larger units no longer raise throughput, smaller
# ones pay for more system calls (measured on the benchmark pair of 386 tensors).
CHUNK_BYTES = 4 << 20

# The unit of everything that writes: larger pieces take the page cache up to six times as long (1.3 GiB: 0.22 s in pieces of
# 256 KiB, 0.7 to 1.9 s in pieces of 1 MiB, 1.4 s in pieces of 4 MiB), and a piece this small stays in a core's cache between
# reading, checksum and writing.
WRITE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and canonical dtype of a tensor; no data."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value in C order; 0 for strings, whose length only their data tells."""
        return self.size * dtypes.itemsize(self.dtype)


class TensorSource(Protocol):
    """Where tensor bytes come from. Keys are native; bytes are little-endian, in C order, of the canonical dtype.

    Every method raises a `CkptkitError` that names file and key, and never returns less than it was asked for.
    All reading methods may be called from several threads at once.
    """

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes of tensor `key` that begin at byte `offset`. No checksum is looked at."""

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes of tensor `key` in order, in pieces of at most `len(buffer)`, each a view of `buffer`.

        The stored checksum, if the format has one, is verified: `ChecksumError` is raised at the latest after the
        last piece, so nothing may be concluded from the bytes before the iterator has ended.
        """

    def read_strings(self, key: str) -> list[bytes]:
        """The elements of a `string` tensor in C order."""

    def close(self) -> None:
        """Give back files; idempotent."""
