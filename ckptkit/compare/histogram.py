"""A histogram of a stream whose range is not known beforehand.

Bins are `[k * 2**e, (k + 1) * 2**e)` for whole k. When the range outgrows them, e rises and neighbours join; the
outcome depends on the values alone, not on the order or the pieces in which they came.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from ckptkit.compare.sums import LONG
from ckptkit.compare.workspace import Workspace

BINS = 16

# Bin widths below this would not be normal float64 numbers.
_SMALLEST_EXPONENT = -1022


class Histogram:
    """Counts by bin, as a mapping from k to count for the exponent in use.

    Args:
        bins: the most that the whole range may take.
    """

    def __init__(self, bins: int = BINS) -> None:
        self._bins = bins
        self._exponent = _SMALLEST_EXPONENT
        self._counts: dict[int, int] = {}

    def add(self, values: np.ndarray, minimum: float, maximum: float, work: Workspace | None = None) -> None:
        """Count finite values `[n]`; the extremes are of everything added until now, these included.

        Args:
            values: float32 or float64, n at most `PIECE_ELEMENTS`.
            minimum: of everything.
            maximum: likewise.
            work: temporaries; made when not given.
        """
        self._widen(_exponent(minimum, maximum, self._bins))
        work = work or Workspace()
        places = (work.places if values.dtype == np.float32 else work.z)[: len(values)]
        if -self._exponent < np.finfo(values.dtype).maxexp:
            factor = values.dtype.type(math.ldexp(1.0, -self._exponent))
            np.floor(np.multiply(values, factor, out=places), out=places)
        else:  # 2**-e alone is beyond the dtype
            half = -self._exponent // 2
            wide = values.astype(np.float64)
            places = np.floor(np.ldexp(np.ldexp(wide, half), -self._exponent - half))
        if self._exponent > 0:
            places[(places == 0) & (values < 0)] = -1.0  # what underflowed on the way
        lowest = float(np.minimum.reduce(places))
        np.subtract(places, places.dtype.type(lowest), out=places)
        for offset, count in enumerate(_counts(places, work)):
            if count:
                place = int(lowest) + offset
                self._counts[place] = self._counts.get(place, 0) + count

    def join(self, other: Histogram, minimum: float, maximum: float) -> None:
        """Add what another one counted; the extremes are of everything in both."""
        exponent = _exponent(minimum, maximum, self._bins)
        self._widen(exponent)
        for place, count in other._counts.items():
            joined = place >> self._exponent - other._exponent
            self._counts[joined] = self._counts.get(joined, 0) + count

    def bins(self, minimum: float, maximum: float) -> tuple[tuple[int, ...], float, float]:
        """Counts of all bins, where the first one starts, and their width; the extremes are of everything added."""
        counts, first, exponent = self.places(minimum, maximum)
        width = math.ldexp(1.0, exponent)
        return counts, max(first * width, -sys.float_info.max), width

    def places(self, minimum: float, maximum: float) -> tuple[tuple[int, ...], int, int]:
        """Counts of all bins, the k of the first one, and the exponent e; the extremes are of everything added."""
        exponent = _exponent(minimum, maximum, self._bins)
        self._widen(exponent if minimum < maximum else math.frexp(abs(minimum))[1] - 4)
        first = _place(minimum, self._exponent)
        return tuple(self._counts.get(first + number, 0) for number in range(self._bins)), first, self._exponent

    def _widen(self, exponent: int) -> None:
        if exponent > self._exponent:
            shift = exponent - self._exponent
            joined: dict[int, int] = {}
            for place, count in self._counts.items():
                joined[place >> shift] = joined.get(place >> shift, 0) + count
            self._exponent, self._counts = exponent, joined


def _exponent(minimum: float, maximum: float, bins: int) -> int:
    """The smallest exponent whose bins of width `2**exponent` cover the range with `bins` of them."""
    if minimum == maximum == 0:
        exponent = _SMALLEST_EXPONENT
    elif minimum == maximum:
        exponent = math.frexp(abs(minimum))[1] - 60  # finer than the range between two neighbouring float64 would want
    elif math.isinf(maximum - minimum):
        exponent = math.frexp(maximum / 2 - minimum / 2)[1] + 1 - (bins - 1).bit_length()
    else:
        exponent = math.frexp(maximum - minimum)[1] - (bins - 1).bit_length()
    exponent = max(exponent, _SMALLEST_EXPONENT)
    while _place(maximum, exponent) - _place(minimum, exponent) >= bins:
        exponent += 1
    return exponent


def _place(value: float, exponent: int) -> int:
    """`floor(value / 2**exponent)`, exactly."""
    numerator, denominator = value.as_integer_ratio()
    shift = denominator.bit_length() - 1 + exponent
    return numerator >> shift if shift >= 0 else numerator << -shift


def _counts(places: np.ndarray, work: Workspace) -> list[int]:
    """How often each whole number from 0 on is in `places` `[n]`, where all are below 256.

    Two neighbours are counted as one number of 16 bits: half as many increments, which are what takes the time.
    """
    codes = work.codes[: len(places)]
    np.copyto(codes, places, casting="unsafe")
    if len(codes) < LONG:
        return np.bincount(codes).tolist()  # type: ignore[no-any-return]
    even = len(codes) // 2 * 2
    pairs = work.indices[: even // 2]
    np.copyto(pairs, codes[:even].view(np.uint16), casting="unsafe")
    found = np.bincount(pairs)
    found = np.concatenate((found, np.zeros(-len(found) % 256, found.dtype))).reshape(-1, 256)
    counts = np.zeros(256, np.int64)
    counts[: len(found)] += found.sum(axis=1)
    counts += found.sum(axis=0)
    counts[codes[even:]] += 1
    return counts.tolist()  # type: ignore[no-any-return]
