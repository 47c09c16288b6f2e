"""Tensors in ranges: cut on the grid of blocks, so that whatever the cut, what is merged is the same object bit for bit.

Rounding happens within a block of `BLOCK_ELEMENTS` only, and blocks begin at multiples of that: a range that begins and
ends on the grid has the very blocks of the whole. What was stored as checksums is verified when ranges are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptkit import dtypes
from ckptkit.compare.description import Examination
from ckptkit.compare.fingerprint import Prints, print_pieces
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.streaming import Comparison, Tensor, comparison_of, stream_statistics
from ckptkit.compare.tally import Tally, tally_pieces
from ckptkit.compare.tolerance import Tolerance
from ckptkit.compare.workspace import BLOCK_ELEMENTS, READ_ELEMENTS, Workspace
from ckptkit.errors import FormatError
from ckptkit.model import Fingerprint
from ckptkit.model.ranges import RangedSource, Sum, ranged


class Range(NamedTuple):
    """Elements `start` to `stop` of a tensor, in C order."""

    start: int
    stop: int


def cut(tensors: Sequence[Tensor], grain: int) -> list[Range]:
    """Ranges of about `grain` bytes, of all the tensors together, which are of one shape; empty where one may not be cut."""
    if any(ranged(source, spec.name) is None for source, spec in tensors):
        return []
    return cut_elements(tensors[0].spec.size, sum(dtypes.itemsize(tensor.spec.dtype) for tensor in tensors), grain)


def cut_elements(count: int, width: int, grain: int) -> list[Range]:
    """`count` elements of `width` bytes in ranges of at most `grain` bytes, or of one block where that is more."""
    step = max(grain // width // BLOCK_ELEMENTS, 1) * BLOCK_ELEMENTS
    return [Range(start, min(start + step, count)) for start in range(0, count, step)]


@dataclass(frozen=True, slots=True)
class RangeComparison:
    """What came of comparing a range of two tensors."""

    statistics: Statistics
    sums: tuple[list[Sum], list[Sum]]


def compare_range(
    a: Tensor,
    b: Tensor,
    part: Range,
    tolerance: Tolerance,
    work: Workspace,
    progress: Callable[[int], None] | None = None,
) -> RangeComparison:
    """As `compare_tensors`, for a range that `cut` gave for both tensors."""
    sums: tuple[list[Sum], list[Sum]] = ([], [])
    streams = [
        _pieces(tensor, part, buffer[: READ_ELEMENTS * dtypes.itemsize(tensor.spec.dtype)], found)
        for tensor, buffer, found in ((a, work.raw_a, sums[0]), (b, work.raw_b, sums[1]))
    ]
    found = stream_statistics(
        streams[0], a.spec, streams[1], b.spec, tolerance, work, progress, part.start, part.stop - part.start
    )
    return RangeComparison(found, sums)


def join_compared(a: Tensor, b: Tensor, parts: Sequence[RangeComparison]) -> Comparison:
    """The comparison of the whole tensors.

    Args:
        a: one tensor.
        b: the reference.
        parts: of every range, in order.

    Raises:
        ChecksumError: the bytes that were read do not match the stored checksum.
    """
    _verify(a, [part.sums[0] for part in parts])
    _verify(b, [part.sums[1] for part in parts])
    return comparison_of(sum((part.statistics for part in parts), Statistics()), a.spec, b.spec)


@dataclass(frozen=True, slots=True)
class RangeExamination:
    """What came of measuring a range of a tensor."""

    tally: Tally
    sums: list[Sum]


def examine_range(
    tensor: Tensor, part: Range, work: Workspace, progress: Callable[[int], None] | None = None
) -> RangeExamination:
    """The values of a range that `cut` gave, measured."""
    sums: list[Sum] = []
    tally = Tally()
    buffer = work.raw_a[: READ_ELEMENTS * dtypes.itemsize(tensor.spec.dtype)]
    tally_pieces(tally, _pieces(tensor, part, buffer, sums), tensor.spec.dtype, work, progress)
    return RangeExamination(tally, sums)


def join_examined(tensor: Tensor, parts: Sequence[RangeExamination]) -> Examination:
    """The statistics of the whole tensor; see `join_compared`."""
    _verify(tensor, [part.sums for part in parts])
    whole = Tally()
    for part in parts:
        whole.join(part.tally)
    return Examination(whole.statistics(), None)


@dataclass(frozen=True, slots=True)
class Printed:
    """What came of fingerprinting a range of a tensor."""

    prints: Prints
    sums: list[Sum]


def fingerprint_range(
    tensor: Tensor, part: Range, work: Workspace, progress: Callable[[int], None] | None = None
) -> Printed:
    """A range that `cut` gave, fingerprinted."""
    sums: list[Sum] = []
    return Printed(print_pieces(_pieces(tensor, part, work.raw_a, sums), tensor.spec.dtype, work, progress), sums)


def join_printed(tensor: Tensor, parts: Sequence[Printed]) -> Fingerprint:
    """The fingerprint of the whole tensor; see `join_compared`."""
    _verify(tensor, [part.sums for part in parts])
    whole = parts[0].prints
    for part in parts[1:]:
        whole = whole.joined(part.prints)
    return whole.fingerprint(tensor.spec)


def _ranged(tensor: Tensor) -> tuple[RangedSource, str]:
    found = ranged(tensor.source, tensor.spec.name)
    if found is None:
        raise FormatError("cannot be read by ranges here", key=tensor.spec.name, hint="Was the file replaced?")
    return found


def _pieces(tensor: Tensor, part: Range, buffer: memoryview, sums: list[Sum]) -> Iterator[memoryview]:
    source, key = _ranged(tensor)
    width = dtypes.itemsize(tensor.spec.dtype)
    return source.stream_range(key, part.start * width, part.stop * width, buffer, sums)


def _verify(tensor: Tensor, sums: Sequence[Sequence[Sum]]) -> None:
    source, key = _ranged(tensor)
    source.verify_ranges(key, sums)
