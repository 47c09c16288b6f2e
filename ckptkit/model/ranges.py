"""Reading a tensor in ranges that different processes take, with its checksum verified over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from ckptkit.model.tensors import TensorSource

Sum = tuple[int, int]
"""A checksum of the kind that the format stores, and the number of bytes that it is of."""


@runtime_checkable
class RangedSource(TensorSource, Protocol):
    """A source that is the file itself, and can give a range of a tensor at the cost of that range."""

    def can_cut(self, key: str) -> bool:
        """Whether tensor `key` may be read by ranges: its bytes lie in the file as they are."""

    def stream_range(
        self, key: str, start: int, stop: int, buffer: memoryview, sums: list[Sum]
    ) -> Iterator[memoryview]:
        """Bytes `start` to `stop` of tensor `key`, whole elements, in pieces that are views of `buffer`.

        What they come to of each stored checksum is appended to `sums` once the iterator has ended: nothing for a
        format without checksums. Nothing is verified before `verify_ranges` has seen the sums of all ranges.
        """

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        """Raise `ChecksumError` unless `sums`, those of ranges that follow each other and are the tensor, fit."""


@runtime_checkable
class ChecksummedSource(TensorSource, Protocol):
    """A source whose format stores a checksum of every tensor."""

    def stored_checksum(self, key: str) -> str:
        """What the file says that it is, with its kind (`crc32c:0a1b2c3d`); nothing is read, and nothing verified."""


@runtime_checkable
class ForwardingSource(TensorSource, Protocol):
    """A source that hands some of its tensors through from another one."""

    def behind(self, key: str) -> tuple[TensorSource, str] | None:
        """Where tensor `key` is handed through from as it lies, and its key there; None where it is made here."""


def ranged(source: TensorSource, key: str) -> tuple[RangedSource, str] | None:
    """The file that holds tensor `key` of `source`, and its key there; None where it cannot be read by ranges."""
    while isinstance(source, ForwardingSource):
        found = source.behind(key)
        if found is None:
            return None
        source, key = found
    return (source, key) if isinstance(source, RangedSource) and source.can_cut(key) else None
