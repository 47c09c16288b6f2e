"""Statistics that grow piece by piece: what adding up `Statistics` would give, without an object for every piece."""

from __future__ import annotations

from ckptkit.compare import exact
from ckptkit.compare.statistics import Statistics


class Running:
    """What has been seen of two tensors so far; pieces come in the order in which they lie."""

    __slots__ = ("found", "max_abs", "max_at", "max_rel", "mismatched", "pairs", "same", "sums")

    def __init__(self) -> None:
        self.found = Statistics()  # what came as `Statistics`
        self.pairs = 0
        self.mismatched = 0
        self.same = True
        self.max_abs = 0.0
        self.max_at = -1
        self.max_rel = 0.0
        self.sums = [0, 0, 0, 0, 0]

    def add(self, more: Statistics) -> None:
        """Take in a piece of which everything is known."""
        self.found += more
        self.reach(more.max_abs, more.max_at)
        self.max_rel = max(self.max_rel, more.max_rel)

    def add_sums(self, pairs: int, sums: tuple[float, float, float, float, float]) -> None:
        """Take in the sums of `pairs` finite elements: of |a - b|, its square, |a|**2, |b|**2 and a * b."""
        self.pairs += pairs
        for number, value in enumerate(sums):
            if value:
                self.sums[number] += exact.from_float(value)

    def reach(self, max_abs: float, max_at: int) -> None:
        """Take in the largest difference of a piece; among equals the earlier one stays."""
        if max_abs > self.max_abs:
            self.max_abs, self.max_at = max_abs, max_at

    def statistics(self) -> Statistics:
        """What it comes to."""
        if not self.pairs:
            return self.found
        sum_abs, sum_square, square_a, square_b, product = self.sums
        return self.found + Statistics(
            count=self.pairs,
            identical=self.same,
            mismatched=self.mismatched,
            finite=self.pairs,
            max_abs=self.max_abs,
            max_at=self.max_at,
            max_rel=self.max_rel,
            sum_abs=sum_abs,
            sum_square=sum_square,
            square_a=square_a,
            square_b=square_b,
            product=product,
        )
