"""The arithmetic on one block of elements: from two arrays to `Statistics`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ckptkit.compare import exact
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.tolerance import Tolerance

if TYPE_CHECKING:
    from ckptkit.compare.workspace import Workspace

# Elements of one dot product. BLAS would put threads of its own on longer ones, beside those that work here already
# (OpenBLAS does beyond 10,000), and accumulate more rounding.
_ROW_ELEMENTS = 8192

# Scaling by a power of two is exact; squares of scaled float64 values cannot overflow, nor can sums of a block of them.
_SCALE_BITS = 540
_LARGEST = float(np.finfo(np.float64).max)


def compare_block(a: np.ndarray, b: np.ndarray, first: int, tolerance: Tolerance, work: Workspace) -> Statistics:
    """Statistics of two blocks of elements whose bits are not all equal.

    Args:
        a: values `[n]`, n at most `BLOCK_ELEMENTS`, of any dtype that has numbers.
        b: the reference, likewise.
        first: flat index of the first element in its tensor.
        tolerance: what counts as mismatched.
        work: temporaries.
    """
    if _wide(a.dtype) or _wide(b.dtype):
        return _careful_block(a, b, first, tolerance)
    n = len(a)
    x, y, z, mask = work.x[:n], work.y[:n], work.z[:n], work.mask[:n]
    np.copyto(x, a, casting="unsafe")
    np.copyto(y, b, casting="unsafe")
    square_a = _dot(x, x)
    square_b = _dot(y, y)
    if not (math.isfinite(square_a) and math.isfinite(square_b)):  # an element is not finite, or a square overflows
        return _careful_block(a, b, first, tolerance)
    product = _dot(x, y)
    distance = np.abs(np.subtract(x, y, out=x), out=x)
    at = int(distance.argmax())
    max_abs = float(distance[at])
    sum_abs = float(np.add.reduce(distance))
    sum_square = _dot(distance, distance)
    reference = np.abs(y, out=y)
    mismatched = 0
    if max_abs > tolerance.atol:
        bound = np.multiply(reference, tolerance.rtol, out=z)
        if tolerance.atol:
            np.add(bound, tolerance.atol, out=bound)
        mismatched = int(np.count_nonzero(np.greater(distance, bound, out=mask)))
    return Statistics(
        count=n,
        identical=False,
        mismatched=mismatched,
        finite=n,
        max_abs=max_abs,
        max_at=first + at if max_abs else -1,
        max_rel=_largest_ratio(distance, reference, z),
        sum_abs=exact.from_float(sum_abs),
        sum_square=exact.from_float(sum_square),
        square_a=exact.from_float(square_a),
        square_b=exact.from_float(square_b),
        product=exact.from_float(product),
    )


def equal_block(a: np.ndarray, work: Workspace) -> Statistics:
    """Statistics of a block against itself; what `compare_block` would give, with `identical` set."""
    n = len(a)
    if _wide(a.dtype):
        return _careful_equal_block(a)
    x = work.x[:n]
    np.copyto(x, a, casting="unsafe")
    total = _dot(x, x)
    if not math.isfinite(total):
        return _careful_equal_block(a)
    square = exact.from_float(total)
    return Statistics(count=n, finite=n, square_a=square, square_b=square, product=square)


def _wide(dtype: np.dtype) -> bool:
    """Whether float64 does not hold every value of `dtype`, or one number is not enough."""
    return dtype.kind == "c" or (dtype.kind in "iu" and dtype.itemsize == 8)


def _dot(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of `x * y` for float64 `[n]`, row by row of BLAS's dot product."""
    whole = len(x) // _ROW_ELEMENTS * _ROW_ELEMENTS
    total = float(np.dot(x[whole:], y[whole:]))
    if whole:
        rows = np.matmul(x[:whole].reshape(-1, 1, _ROW_ELEMENTS), y[:whole].reshape(-1, _ROW_ELEMENTS, 1))
        total += float(np.add.reduce(rows, axis=None))
    return total


def _largest_ratio(distance: np.ndarray, reference: np.ndarray, out: np.ndarray) -> float:
    largest = float(np.maximum.reduce(np.divide(distance, reference, out=out)))
    if math.isfinite(largest):
        return largest
    apart_from_zero = reference != 0  # 0/0 gave NaN, or x/0 an infinity, or a denormal reference an overflow
    return min(float(out[apart_from_zero].max(initial=0.0)), _LARGEST)


def _careful_equal_block(a: np.ndarray) -> Statistics:
    return replace(_careful_block(a, a, 0, Tolerance()), identical=True)


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
    total = _dot(x, y)
    if math.isfinite(total):
        return exact.from_float(total)
    down = 2.0**-_SCALE_BITS
    return exact.from_float(_dot(x * down, y * down)) << 2 * _SCALE_BITS
