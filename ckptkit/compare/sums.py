"""Sums of float64 arrays by BLAS, cut so that it neither starts threads nor loses digits."""

from __future__ import annotations

import numpy as np

# Elements of one dot product. BLAS would put threads of its own on longer ones, beside those that work here already
# (OpenBLAS does beyond 10,000), and accumulate more rounding.
_ROW_ELEMENTS = 8192

_ONES = np.ones(_ROW_ELEMENTS)

LONG = 4096
"""Elements from which a pass over them costs more than the call; below, everything is computed in the plainest way."""


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of `x * y` for float64 `[n]`, row by row of BLAS's dot product."""
    whole = len(x) // _ROW_ELEMENTS * _ROW_ELEMENTS
    found = float(np.dot(x[whole:], y[whole:])) if whole < len(x) else 0.0
    if whole:
        rows = np.matmul(x[:whole].reshape(-1, 1, _ROW_ELEMENTS), y[:whole].reshape(-1, _ROW_ELEMENTS, 1))
        found += sum(rows.ravel().tolist())
    return found


def total(x: np.ndarray) -> float:
    """Sum of float64 `[n]`; a matrix times ones is added up faster than a vector."""
    whole = len(x) // _ROW_ELEMENTS * _ROW_ELEMENTS
    found = float(np.add.reduce(x[whole:])) if whole < len(x) else 0.0
    if whole:
        found += sum(np.dot(x[:whole].reshape(-1, _ROW_ELEMENTS), _ONES).tolist())
    return found
