"""The outline of a tensor's values: a histogram fine enough to be drawn, and two of them over one range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ckptkit import dtypes
from ckptkit.compare.histogram import Histogram
from ckptkit.compare.streaming import whole_elements
from ckptkit.compare.workspace import PIECE_ELEMENTS, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ckptkit.model import TensorSource, TensorSpec

# Fine enough for a picture of 100 pixels, and a thousand of them stay below a few hundred kilobytes.
BINS = 24


@dataclass(frozen=True, slots=True)
class Outline:
    """How the finite elements of a tensor are spread; a complex number counts by its absolute value.

    Attributes:
        minimum: None where no element is finite.
        maximum: likewise.
        counts: elements in each of `BINS` bins; empty where none is finite.
        first: number k of the first bin, which is `[k * 2**exponent, (k + 1) * 2**exponent)`.
        exponent: see there.
        apart: elements that are NaN or an infinity.
    """

    minimum: float | None
    maximum: float | None
    counts: tuple[int, ...]
    first: int
    exponent: int
    apart: int


def outline(
    source: TensorSource, spec: TensorSpec, work: Workspace | None = None, progress: Callable[[int], None] | None = None
) -> Outline | None:
    """The outline of a tensor, in one pass with its checksum verified; None for strings.

    Args:
        source: where the bytes are.
        spec: what they are; its name is the source's own key.
        work: the calling thread's buffers; made when not given.
        progress: told the bytes done, as they are done.

    Raises:
        CkptkitError: bytes are missing, cut short or do not match their checksum.
    """
    if spec.dtype == "string":
        return None
    dtype = dtypes.numpy_dtype(spec.dtype)
    histogram = Histogram(BINS)
    minimum, maximum, apart = math.inf, -math.inf, 0
    work = work or Workspace()
    with np.errstate(all="ignore"):
        for piece in whole_elements(source.stream(spec.name, work.raw_a), dtype.itemsize):
            values = np.frombuffer(piece, dtype)
            for start in range(0, len(values), PIECE_ELEMENTS):
                block = values[start : start + PIECE_ELEMENTS]
                numbers = np.abs(block).astype(np.float64) if dtype.kind == "c" else block.astype(np.float64)
                finite = numbers[np.isfinite(numbers)]
                apart += len(numbers) - len(finite)
                if len(finite):
                    minimum, maximum = min(minimum, float(finite.min())), max(maximum, float(finite.max()))
                    histogram.add(finite, minimum, maximum, work)
            if progress is not None:
                progress(len(piece))
    if minimum > maximum:
        return Outline(None, None, (), 0, 0, apart)
    return Outline(minimum, maximum, *histogram.places(minimum, maximum), apart)


def over_one_range(outlines: Sequence[Outline]) -> tuple[tuple[int, ...], ...]:
    """Counts of each outline in the same bins, from the smallest value of all of them to the largest.

    Returns:
        As many counts for each, `BINS` at most; none for any where nothing is finite.
    """
    exponent = max((each.exponent for each in outlines if each.counts), default=0)
    while True:
        joined = [_joined(each, exponent) for each in outlines]
        places = [place for counts in joined for place in counts]
        first, last = min(places, default=0), max(places, default=-1)
        if last - first < BINS:
            return tuple(tuple(counts.get(place, 0) for place in range(first, last + 1)) for counts in joined)
        exponent += 1


def _joined(one: Outline, exponent: int) -> dict[int, int]:
    """Number of a bin of width `2**exponent` -> its count, where there is any."""
    joined: dict[int, int] = {}
    for number, count in enumerate(one.counts):
        if count:
            place = one.first + number >> exponent - one.exponent
            joined[place] = joined.get(place, 0) + count
    return joined
