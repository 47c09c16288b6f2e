"""Numbers about the values of one tensor, taken in piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ckptkit import dtypes
from ckptkit.compare import exact
from ckptkit.compare.histogram import Histogram
from ckptkit.compare.streaming import whole_elements
from ckptkit.compare.sums import LONG, dot, total
from ckptkit.compare.workspace import PIECE_ELEMENTS, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Numbers about one tensor; min, max, mean, std and histogram are over its finite elements.

    A complex number counts by its absolute value.

    Attributes:
        count: elements.
        minimum: None where no element is finite, as for the next three.
        maximum: likewise.
        mean: likewise.
        std: standard deviation of the population.
        zeros: elements equal to zero, negative zero included.
        nan: elements that are NaN.
        inf: elements that are an infinity of either sign.
        all_equal: every element has the same bits; true of an empty spec.
        histogram: elements in each of 16 bins of width `bin_width` from `bin_start`; empty where no element is finite.
            The width is a power of two and the start a multiple of it, so that histograms of parts add up exactly; the
            last bins may lie beyond `maximum`.
        bin_start: lower end of the first bin.
        bin_width: of every bin.
    """

    count: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    zeros: int
    nan: int
    inf: int
    all_equal: bool
    histogram: tuple[int, ...]
    bin_start: float
    bin_width: float


def tally_pieces(
    tally: Tally,
    stream: Iterator[memoryview],
    dtype: str,
    work: Workspace,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Take all of `stream`, which begins on the grid of blocks, into `tally`."""
    numbers = dtypes.numpy_dtype(dtype)
    with np.errstate(all="ignore"):
        for piece in whole_elements(stream, numbers.itemsize):
            values = np.frombuffer(piece, numbers)
            for start in range(0, len(values), PIECE_ELEMENTS):
                tally.add(values[start : start + PIECE_ELEMENTS], work)
            if progress is not None:
                progress(len(piece))


class Tally:
    """What has been seen of a tensor so far; sums are exact over blocks, as in `Statistics`."""

    def __init__(self) -> None:
        self.count = self.zeros = self.nan = self.inf = self.finite = 0
        self.total = 0
        self.square = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.histogram = Histogram()
        self._first: bytes | None = None
        self.all_equal = True

    def add(self, values: np.ndarray, work: Workspace) -> None:
        """Take in a piece `[n]`, n at least 1 and at most `PIECE_ELEMENTS`."""
        self.count += len(values)
        if self.all_equal:
            raw = values.view(np.dtype((np.void, values.dtype.itemsize)))
            self._first = self._first or raw[:1].tobytes()
            self.all_equal = raw.tobytes() == self._first * len(values)
        numbers = _numbers(values, work)
        lowest, highest = float(np.minimum.reduce(numbers)), float(np.maximum.reduce(numbers))
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            nan = int(np.count_nonzero(np.isnan(numbers)))
            numbers = numbers[np.isfinite(numbers)]
            self.nan += nan
            self.inf += len(values) - len(numbers) - nan
            if not len(numbers):
                return
            lowest, highest = float(numbers.min()), float(numbers.max())
        self.finite += len(numbers)
        if lowest <= 0 <= highest:
            self.zeros += int(np.count_nonzero(np.equal(numbers, 0, out=work.mask[: len(numbers)])))
        self.minimum = min(self.minimum, lowest)
        self.maximum = max(self.maximum, highest)
        self.histogram.add(numbers, self.minimum, self.maximum, work)
        if numbers.dtype != np.float64:
            wide = work.x[: len(numbers)]
            np.copyto(wide, numbers)
            numbers = wide
        self._add_moments(numbers, max(-lowest, highest))

    def join(self, other: Tally) -> None:
        """Take in what was seen of elements that follow those seen here."""
        self.all_equal = self.all_equal and other.all_equal and other._first in (None, self._first or other._first)
        self._first = self._first or other._first
        self.count += other.count
        self.zeros += other.zeros
        self.nan += other.nan
        self.inf += other.inf
        self.finite += other.finite
        self.total += other.total
        self.square += other.square
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        if other.finite:
            self.histogram.join(other.histogram, self.minimum, self.maximum)

    def _add_moments(self, numbers: np.ndarray, largest: float) -> None:
        """Sums of the values and their squares; by way of their own mean where it is large, so that no digits are lost."""
        n = len(numbers)
        if n >= LONG:
            added, square = total(numbers), dot(numbers, numbers)
            if math.isfinite(square) and 2 * added * added <= n * square:
                self.total += exact.from_float(added)
                self.square += exact.from_float(square)
                return
        scale = max(math.frexp(largest)[1] - 500, 0)  # squares have to stay inside float64
        numbers = np.ldexp(numbers, -scale) if scale else numbers
        middle = float(np.add.reduce(numbers)) / n
        apart = numbers - middle
        centre = exact.from_float(middle) << scale
        rest = exact.from_float(float(np.add.reduce(apart))) << scale
        squares = exact.from_float(float(np.add.reduce(np.multiply(apart, apart, out=apart)))) << 2 * scale
        self.total += n * centre + rest
        self.square += squares + exact.product(centre, 2 * rest + n * centre)

    def statistics(self) -> TensorStatistics:
        """What it comes to."""
        if not self.finite:
            return TensorStatistics(
                self.count, None, None, None, None, self.zeros, self.nan, self.inf, self.all_equal, (), 0.0, 0.0
            )
        spread = max(self.square - exact.product(self.total, self.total) // self.finite, 0)
        bins, start, width = self.histogram.bins(self.minimum, self.maximum)
        return TensorStatistics(
            count=self.count,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=exact.quotient(self.total, self.finite),
            std=exact.root_quotient(spread, self.finite) if self.maximum > self.minimum else 0.0,
            zeros=self.zeros,
            nan=self.nan,
            inf=self.inf,
            all_equal=self.all_equal,
            histogram=bins,
            bin_start=start,
            bin_width=width,
        )


def _numbers(values: np.ndarray, work: Workspace) -> np.ndarray:
    """The values as float32 where that holds them all, else as float64, in a buffer of `work` or as they are."""
    if values.dtype in (np.float32, np.float64):
        return values
    if values.dtype.kind == "c":
        moduli: np.ndarray = np.abs(values).astype(np.float64)
        return moduli
    narrow = values.dtype.itemsize <= 2  # 16 bits at most, and float32 has 24 for the digits
    numbers = work.ratio[: len(values)] if narrow else work.x[: len(values)]
    np.copyto(numbers, values, casting="unsafe")
    return numbers
