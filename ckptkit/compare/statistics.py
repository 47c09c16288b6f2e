"""What the elements of two tensors, or of two equal ranges of them, say about each other: mergeable plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ckptkit.compare import exact


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers about `count` pairs of elements, the reference side being b.

    Two of them for different ranges of one tensor add up (`+`) to that of both, exactly and in any order: counts and
    extremes are what they are, and sums are integers (see `ckptkit.compare.exact`). What rounding there is happens in
    a piece of at most `PIECE_ELEMENTS`, which is summed in float64: a sum's error stays below 2**-40 times the sum of
    absolute values, and is a thousandth of that as a rule.

    Differences and sums are over the elements that are finite on both sides; the others are counted. A difference
    beyond float64 counts as the largest float64.

    Attributes:
        count: pairs of elements.
        identical: every pair has equal bits (so 0.0 and -0.0 are not identical, and NaN is when its payload is).
        mismatched: pairs out of tolerance; NaN against NaN and an infinity against itself are within.
        nan_a: elements of a that are NaN.
        nan_b: elements of b that are NaN.
        inf_a: elements of a that are an infinity of either sign.
        inf_b: those of b.
        finite: pairs that are finite on both sides.
        max_abs: largest |a - b|; 0.0 where nothing is finite.
        max_at: flat C-order index of the first element with `max_abs`, or -1 where it is 0.0.
        max_rel: largest |a - b| / |b| over elements with b other than zero; 0.0 where there is none.
        sum_abs: sum of |a - b|, in units of 2**-1074, as all sums.
        sum_square: sum of |a - b|**2.
        square_a: sum of |a|**2.
        square_b: sum of |b|**2.
        product: sum of a * b; of its real part (a times the conjugate of b) for complex numbers.
    """

    count: int = 0
    identical: bool = True
    mismatched: int = 0
    nan_a: int = 0
    nan_b: int = 0
    inf_a: int = 0
    inf_b: int = 0
    finite: int = 0
    max_abs: float = 0.0
    max_at: int = -1
    max_rel: float = 0.0
    sum_abs: int = 0
    sum_square: int = 0
    square_a: int = 0
    square_b: int = 0
    product: int = 0

    def __add__(self, other: Statistics) -> Statistics:
        if not other.count or not self.count:  # the sum of nothing
            return other if other.count else self
        larger = self if _rank(self) >= _rank(other) else other
        return Statistics(
            count=self.count + other.count,
            identical=self.identical and other.identical,
            mismatched=self.mismatched + other.mismatched,
            nan_a=self.nan_a + other.nan_a,
            nan_b=self.nan_b + other.nan_b,
            inf_a=self.inf_a + other.inf_a,
            inf_b=self.inf_b + other.inf_b,
            finite=self.finite + other.finite,
            max_abs=larger.max_abs,
            max_at=larger.max_at,
            max_rel=max(self.max_rel, other.max_rel),
            sum_abs=self.sum_abs + other.sum_abs,
            sum_square=self.sum_square + other.sum_square,
            square_a=self.square_a + other.square_a,
            square_b=self.square_b + other.square_b,
            product=self.product + other.product,
        )

    @property
    def mean_abs(self) -> float:
        """Mean of |a - b|; 0.0 where nothing is finite."""
        return exact.quotient(self.sum_abs, self.finite) if self.finite else 0.0

    @property
    def rms(self) -> float:
        """Root of the mean square of a - b; 0.0 where nothing is finite."""
        return exact.root_quotient(self.sum_square, self.finite) if self.finite else 0.0

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between a and b as vectors; None where one of them is zero."""
        return exact.ratio_to_roots(self.product, self.square_a, self.square_b)

    @property
    def change(self) -> float | None:
        """Root mean square of a - b relative to that of b: 0 for equal ones, about 1.41 for unrelated ones.

        None where b is zero and a is not.
        """
        if not self.sum_square:
            return 0.0
        return exact.root_ratio(self.sum_square, self.square_b) if self.square_b else None


def _rank(statistics: Statistics) -> tuple[float, int]:
    """Orders by largest difference, the earlier element first among equals."""
    return statistics.max_abs, -statistics.max_at
