"""What one tensor holds: statistics, a histogram and a hash, in one streaming pass."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ckptkit import dtypes
from ckptkit.compare import exact
from ckptkit.compare.histogram import Histogram
from ckptkit.compare.streaming import whole_elements
from ckptkit.compare.workspace import BLOCK_ELEMENTS, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ckptkit.model import TensorSource, TensorSpec


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


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of one pass over a tensor: what was asked for, None for what was not.

    Attributes:
        statistics: None for strings too.
        sha256: hexadecimal, over little-endian bytes in C order; for strings over their bytes one after the other.
    """

    statistics: TensorStatistics | None
    sha256: str | None


def examine(
    source: TensorSource,
    spec: TensorSpec,
    *,
    statistics: bool = True,
    sha256: bool = False,
    work: Workspace | None = None,
    progress: Callable[[int], None] | None = None,
) -> Examination:
    """Statistics and hash of one tensor, as asked for, in one pass with its checksum verified.

    Args:
        source: where the bytes are.
        spec: what they are; its name is the source's own key.
        statistics: whether to measure the values.
        sha256: whether to take the SHA-256.
        work: the calling thread's buffers; made when not given.
        progress: told the bytes done, as they are done.

    Raises:
        CkptkitError: bytes are missing, cut short or do not match their checksum.
    """
    hashed = hashlib.sha256()
    if spec.dtype == "string":
        for element in source.read_strings(spec.name) if sha256 else ():
            hashed.update(element)
        return Examination(None, hashed.hexdigest() if sha256 else None)
    stream = source.stream(spec.name, (work or Workspace()).raw_a)
    if sha256:
        stream = _passing(stream, hashed)
    if not statistics:
        for piece in stream:
            if progress is not None:
                progress(len(piece))
        return Examination(None, hashed.hexdigest() if sha256 else None)
    tally = Tally()
    tally_pieces(tally, stream, spec.dtype, progress)
    return Examination(tally.statistics(), hashed.hexdigest() if sha256 else None)


def _passing(stream: Iterator[memoryview], hashed: hashlib._Hash) -> Iterator[memoryview]:
    for piece in stream:
        hashed.update(piece)
        yield piece


def tally_pieces(
    tally: Tally, stream: Iterator[memoryview], dtype: str, progress: Callable[[int], None] | None = None
) -> None:
    """Take all of `stream`, which begins on the grid of blocks, into `tally`."""
    numbers = dtypes.numpy_dtype(dtype)
    with np.errstate(all="ignore"):
        for piece in whole_elements(stream, numbers.itemsize):
            values = np.frombuffer(piece, numbers)
            for start in range(0, len(values), BLOCK_ELEMENTS):
                tally.add(values[start : start + BLOCK_ELEMENTS])
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

    def add(self, values: np.ndarray) -> None:
        """Take in a block `[n]`, n at least 1."""
        raw = values.view(np.dtype((np.void, values.dtype.itemsize)))
        self._first = self._first or raw[:1].tobytes()
        self.all_equal = self.all_equal and raw.tobytes() == self._first * len(values)
        numbers = np.abs(values).astype(np.float64) if values.dtype.kind == "c" else values.astype(np.float64)
        finite = np.isfinite(numbers)
        nan = int(np.count_nonzero(np.isnan(numbers)))
        self.count += len(numbers)
        self.nan += nan
        self.zeros += int(np.count_nonzero(numbers == 0))
        numbers = numbers if finite.all() else numbers[finite]
        self.inf += len(values) - len(numbers) - nan
        if not len(numbers):
            return
        self.finite += len(numbers)
        self.minimum = min(self.minimum, float(numbers.min()))
        self.maximum = max(self.maximum, float(numbers.max()))
        self._add_moments(numbers)
        self.histogram.add(numbers, self.minimum, self.maximum)

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

    def _add_moments(self, numbers: np.ndarray) -> None:
        """Sums of the values and their squares, by way of the block's own mean, so that large means lose no digits."""
        n = len(numbers)
        scale = max(math.frexp(float(np.abs(numbers).max()))[1] - 500, 0)  # squares have to stay inside float64
        numbers = np.ldexp(numbers, -scale)
        middle = float(np.add.reduce(numbers)) / n
        apart = numbers - middle
        centre = exact.from_float(middle) << scale
        rest = exact.from_float(float(np.add.reduce(apart))) << scale
        squares = exact.from_float(float(np.add.reduce(apart * apart))) << 2 * scale
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
