"""The arithmetic on one piece of a block: from two arrays to sums and extremes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ckptkit.compare import exact, singles
from ckptkit.compare.small import SMALL_ELEMENTS, many_statistics
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.sums import LONG, dot, total
from ckptkit.compare.tolerance import Tolerance

if TYPE_CHECKING:
    from ckptkit.compare.running import Running
    from ckptkit.compare.workspace import Workspace

_SINGLE = np.dtype(np.float32)

# Scaling by a power of two is exact; squares of scaled float64 values cannot overflow, nor can sums of a block of them.
_SCALE_BITS = 540
_LARGEST = float(np.finfo(np.float64).max)


def compare_piece(
    a: np.ndarray, b: np.ndarray, first: int, tolerance: Tolerance, work: Workspace, seen: Running
) -> None:
    """Take two pieces of elements whose bits are not all equal into `seen`.

    Args:
        a: values `[n]`, n at most `PIECE_ELEMENTS`, of any dtype that has numbers.
        b: the reference, likewise.
        first: flat index of the first element in its tensor.
        tolerance: what counts as mismatched.
        work: temporaries.
        seen: what came before.
    """
    n = len(a)
    if n <= SMALL_ELEMENTS and small_dtype(a.dtype) and small_dtype(b.dtype):
        (found,) = many_statistics(a, b, (n,), tolerance)
        if found is not None:
            seen.add(replace(found, max_at=first + found.max_at) if first and found.max_abs else found)
            return
    x, y = work.x[:n], work.y[:n]
    wide = _wide(a.dtype) or _wide(b.dtype)
    if not wide:
        np.copyto(x, a, casting="unsafe")
        np.copyto(y, b, casting="unsafe")
        square_a, square_b, product = dot(x, x), dot(y, y), dot(x, y)
    if wide or not math.isfinite(square_a + square_b):  # an element is not finite, or a square overflows
        seen.add(_careful_block(a, b, first, tolerance))
        return
    distance = np.abs(np.subtract(x, y, out=x), out=x)
    max_abs = float(np.maximum.reduce(distance))
    if max_abs > seen.max_abs:
        seen.reach(max_abs, first + int(distance.argmax()))
    squares = square_a + square_b
    # |a - b|**2 = a**2 + b**2 - 2ab loses no more than two bits where the product is this small or negative.
    sum_square = squares - 2 * product if n >= LONG and 4 * product <= squares else dot(distance, distance)
    seen.same = False
    seen.add_sums(n, (total(distance), sum_square, square_a, square_b, product))
    if not max_abs:  # 0.0 against -0.0
        return
    if a.dtype == b.dtype == _SINGLE and not tolerance.atol:
        ratios = singles.beyond(a, b, distance, tolerance.rtol, seen.max_rel, work)
        if ratios is not None:
            seen.mismatched += ratios[0]
            seen.max_rel = ratios[1]
            return
    reference, z = np.abs(y, out=y), work.z[:n]
    if max_abs > tolerance.atol:
        bound = np.multiply(reference, tolerance.rtol, out=z)
        if tolerance.atol:
            np.add(bound, tolerance.atol, out=bound)
        seen.mismatched += int(np.count_nonzero(np.greater(distance, bound, out=work.mask[:n])))
    seen.max_rel = max(seen.max_rel, _largest_ratio(distance, reference, z))


def equal_piece(a: np.ndarray, work: Workspace, seen: Running) -> None:
    """Take a piece that is the same on both sides into `seen`."""
    n = len(a)
    if not _wide(a.dtype):
        x = work.x[:n]
        np.copyto(x, a, casting="unsafe")
        square = dot(x, x)
        if math.isfinite(square):
            seen.add_sums(n, (0.0, 0.0, square, square, square))
            return
    seen.add(replace(_careful_block(a, a, 0, Tolerance()), identical=True))


def small_dtype(dtype: np.dtype) -> bool:
    """Whether small tensors of `dtype` are compared many at a time."""
    return dtype.kind in "fV" or (dtype.itemsize < 8 and dtype.kind in "biu")


def _wide(dtype: np.dtype) -> bool:
    """Whether float64 does not hold every value of `dtype`, or one number is not enough."""
    return dtype.kind == "c" or (dtype.kind in "iu" and dtype.itemsize == 8)


def _largest_ratio(distance: np.ndarray, reference: np.ndarray, out: np.ndarray) -> float:
    largest = float(np.maximum.reduce(np.divide(distance, reference, out=out)))
    if math.isfinite(largest):
        return largest
    apart_from_zero = reference != 0  # 0/0 gave NaN, or x/0 an infinity, or a denormal reference an overflow
    return min(float(out[apart_from_zero].max(initial=0.0)), _LARGEST)


def _careful_block(a: np.ndarray, b: np.ndarray, first: int, tolerance: Tolerance) -> Statistics:
    """As `compare_block`, for complex numbers, 64-bit integers, values not finite and squares that overflow."""
    x, y = _numbers(a), _numbers(b)
    nan_a, nan_b = np.isnan(x), np.isnan(y)
    finite = np.isfinite(x) & np.isfinite(y)
    settled = ~finite & ((nan_a & nan_b) | (x == y))
    mismatched = len(a) - int(np.count_nonzero(finite)) - int(np.count_nonzero(settled))
    places = np.flatnonzero(finite)
    x, y = x[places], y[places]
    distance = np.minimum(_distance(a[places], b[places]), _LARGEST)
    reference = np.abs(y)
    mismatched += int(np.count_nonzero(distance > tolerance.atol + tolerance.rtol * reference))
    at = int(distance.argmax()) if len(places) else -1
    max_abs = float(distance[at]) if len(places) else 0.0
    return Statistics(
        count=len(a),
        identical=False,
        mismatched=mismatched,
        nan_a=int(np.count_nonzero(nan_a)),
        nan_b=int(np.count_nonzero(nan_b)),
        inf_a=int(np.count_nonzero(np.isinf(_numbers(a)))),
        inf_b=int(np.count_nonzero(np.isinf(_numbers(b)))),
        finite=len(places),
        max_abs=max_abs,
        max_at=first + int(places[at]) if max_abs else -1,
        max_rel=_largest_ratio(distance, reference, np.empty_like(distance)) if len(places) else 0.0,
        sum_abs=_sum_of_products(distance, np.ones_like(distance)),
        sum_square=_sum_of_products(distance, distance),
        square_a=_sum_of_products(x, x),
        square_b=_sum_of_products(y, y),
        product=_sum_of_products(x, y),
    )


def _numbers(a: np.ndarray) -> np.ndarray:
    """`a` as float64 or, when it is complex, complex128."""
    numbers: np.ndarray = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    return numbers


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`|a - b|` as float64, never 0 for integers that differ."""
    if a.dtype.kind not in "iu" or b.dtype.kind not in "iu":
        difference: np.ndarray = np.abs(_numbers(a) - _numbers(b))
        return difference
    if a.dtype.kind != b.dtype.kind:
        return _mixed_distance(a, b) if a.dtype.kind == "i" else _mixed_distance(b, a)
    # The difference in two's complement is right mod 2**64; which one is larger tells its sign.
    low, high = np.where(a < b, a, b), np.where(a < b, b, a)
    apart: np.ndarray = (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
    return apart


def _mixed_distance(signed: np.ndarray, unsigned: np.ndarray) -> np.ndarray:
    """`|signed - unsigned|`; NumPy's own promotion to float64 would make large neighbours equal."""
    unsigned = unsigned.astype(np.uint64)
    apart = np.abs(_numbers(signed) - _numbers(unsigned))
    return np.where(signed < 0, apart, _distance(np.maximum(signed, 0).astype(np.uint64), unsigned))


def _sum_of_products(x: np.ndarray, y: np.ndarray) -> int:
    """Sum of `x * conj(y)`, real part, in units of 2**-1074; scaled down first where it overflows."""
    if x.dtype.kind == "c":
        return _sum_of_products(x.real, y.real) + _sum_of_products(x.imag, y.imag)
    found = dot(x, y)
    if math.isfinite(found):
        return exact.from_float(found)
    down = 2.0**-_SCALE_BITS
    return exact.from_float(dot(x * down, y * down)) << 2 * _SCALE_BITS
