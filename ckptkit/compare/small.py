"""Many small tensors of one dtype, each against its reference, in a few calls for all of them.

A call of NumPy costs as much as a thousand elements. Each tensor's numbers are those that it has alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ckptkit.compare import exact
from ckptkit.compare.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.compare.tolerance import Tolerance

SMALL_ELEMENTS = 256
"""Elements of the largest tensor that is small."""

_LARGEST = float(np.finfo(np.float64).max)


def many_statistics(
    a: np.ndarray, b: np.ndarray, sizes: Sequence[int], tolerance: Tolerance
) -> list[Statistics | None]:
    """Statistics of tensors that lie one after the other.

    Args:
        a: their values `[n]`, of a dtype whose numbers float64 holds, none complex.
        b: those of their references, likewise.
        sizes: elements of each tensor, at least 1; n together.
        tolerance: what counts as mismatched.

    Returns:
        For each tensor what it comes to, `identical` not set; None where an element is not finite or a square overflows.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.array(sizes, np.intp)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    distance, reference = np.abs(x - y), np.abs(y)
    bound = reference * tolerance.rtol + tolerance.atol
    ratio = np.divide(distance, reference, out=np.zeros_like(distance), where=reference != 0)
    largest = np.maximum.reduceat(distance, starts)
    hits = np.flatnonzero(distance == np.repeat(largest, lengths))
    owners = np.searchsorted(ends, hits, side="right")
    places = np.full(len(starts), -1)
    places[owners[::-1]] = hits[::-1]  # of several the first one stays
    columns = (
        lengths,
        largest,
        places - starts,
        np.add.reduceat(distance > bound, starts, dtype=np.intp),
        np.minimum(np.maximum.reduceat(ratio, starts), _LARGEST),
    )
    sums = [np.add.reduceat(each, starts) for each in (distance, distance * distance, x * x, y * y, x * y)]
    good = np.isfinite(sums[1] + sums[2] + sums[3])
    units = [whole_units(np.where(good, each, 0.0)) for each in sums]
    rows = zip(good.tolist(), *(column.tolist() for column in columns), *units, strict=True)
    return [_statistics(*row) if fine else None for fine, *row in rows]


def whole_units(values: np.ndarray) -> list[int]:
    """As `exact.from_float` of each: its 53 bits at their place."""
    fractions, exponents = np.frexp(values)
    bits = np.ldexp(fractions, 53).astype(np.int64).tolist()
    places = (exponents + (exact.UNIT_BITS - 53)).tolist()
    return [each << place if place >= 0 else each >> -place for each, place in zip(bits, places, strict=True)]


def _statistics(
    count: int,
    max_abs: float,
    at: int,
    mismatched: int,
    max_rel: float,
    sum_abs: int,
    sum_square: int,
    square_a: int,
    square_b: int,
    product: int,
) -> Statistics:
    return Statistics(
        count=count,
        identical=False,
        mismatched=mismatched,
        finite=count,
        max_abs=max_abs,
        max_at=at if max_abs else -1,
        max_rel=max_rel,
        sum_abs=sum_abs,
        sum_square=sum_square,
        square_a=square_a,
        square_b=square_b,
        product=product,
    )
