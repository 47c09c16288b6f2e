"""How many ratios of float32 numbers are beyond a bound, and the largest: one division in float32, the rest by bounds.

With `r = |fl(a / b) - 1|` in float32, `|a - b| / |b| = |a / b - 1|` is known from r up to two roundings. What that leaves
open, a few elements as a rule, is computed in float64, so that the outcome is that of float64 for every element.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ckptkit.compare.workspace import Workspace

# Four times a rounding to float32, relative to the quotient or to what is left of it (IEEE 754 binary32, to nearest).
_MARGIN = 2.0**-22

# Where the largest ratio is below this, its roundings are too large a part of it to tell elements apart.
_LEAST_RATIO = 2.0**-16

# Elements that are looked up one by one are fewer than one in so many.
_FEW = 8


def beyond(
    a: np.ndarray, b: np.ndarray, distance: np.ndarray, rtol: float, largest: float, work: Workspace
) -> tuple[int, float] | None:
    """How many elements have `distance > rtol * |b|`, and the largest `distance / |b|`, or `largest` if that is more.

    Args:
        a: finite float32 values `[n]`, n at most `PIECE_ELEMENTS`.
        b: the reference, likewise.
        distance: `|a - b|` in float64 `[n]`.
        rtol: the bound.
        largest: the largest ratio known already.
        work: temporaries.

    Returns:
        None where bounds do not tell: b has a zero, a quotient overflows, or too many elements are near a bound.
    """
    ratio = work.ratio[: len(a)]
    np.divide(a, b, out=ratio)
    np.subtract(ratio, _ONE, out=ratio)
    np.abs(ratio, out=ratio)
    reached = float(np.maximum.reduce(ratio))
    if not math.isfinite(reached):
        return None
    mismatched = _mismatched(ratio, b, distance, rtol, reached, work.mask[: len(a)])
    slack = _MARGIN * (1 + reached)
    if mismatched is None or reached + slack <= largest:
        return None if mismatched is None else (mismatched, largest)
    if reached < _LEAST_RATIO:
        return None
    places = np.flatnonzero(np.greater_equal(ratio, np.float32(reached - 2 * slack), out=work.mask[: len(a)]))
    return mismatched, max(largest, float((distance[places] / _sizes(b, places)).max()))


def _mismatched(
    ratio: np.ndarray, b: np.ndarray, distance: np.ndarray, rtol: float, reached: float, mask: np.ndarray
) -> int | None:
    """How many elements have `distance > rtol * |b|`; None where too many are near the bound to be looked at."""
    within, outside = _bounds(rtol)
    if reached < within:
        return 0
    if np.minimum.reduce(ratio) > outside:
        return len(ratio)
    found = int(np.count_nonzero(np.greater(ratio, outside, out=mask)))
    # A quotient is 1 only where both are equal: neighbours differ by more than half of what lies between 1 and its own.
    near = np.flatnonzero((ratio <= outside) & (ratio >= within) & (ratio > 0))
    if len(near) * _FEW > len(ratio):
        return None
    return found + int(np.count_nonzero(distance[near] > rtol * _sizes(b, near)))


def _sizes(b: np.ndarray, places: np.ndarray) -> np.ndarray:
    sizes: np.ndarray = np.abs(b[places].astype(np.float64))
    return sizes


@functools.lru_cache(maxsize=8)
def _bounds(rtol: float) -> tuple[np.float32, np.float32]:
    """Ratios below the first are within `rtol`, those above the second are not."""
    slack = _MARGIN * (1 + rtol)
    return (
        np.nextafter(np.float32(rtol - slack), np.float32(-math.inf)),
        np.nextafter(np.float32(rtol + slack), np.float32(math.inf)),
    )


_ONE = np.float32(1)
