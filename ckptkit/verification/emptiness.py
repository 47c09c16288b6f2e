"""Outputs that prove nothing although they agree: not finite, or the same whatever goes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.verification.numbers import is_floating

if TYPE_CHECKING:
    import numpy as np


def why_empty(values: np.ndarray, tolerance: float, *, takes_inputs: bool) -> str | None:
    """Why an output says nothing about its model, or None where it does.

    Args:
        values: of the source, over all samples, these along the first axis.
        tolerance: differences up to this are rounding.
        takes_inputs: whether the model has inputs that the output could depend on.
    """
    import numpy as np

    if not values.size:
        return "is empty"
    floating = is_floating(values)
    if not (floating or values.dtype.kind in "ciub"):
        return "is the same for every sample" if takes_inputs and _same_text(values) else None
    wide = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    finite = np.isfinite(wide)
    if not finite.any():
        return "has no finite value"
    if not takes_inputs:
        return None
    if len(wide) > 1:
        spread = np.abs(np.where(finite & finite[:1], wide - wide[:1], 0.0)).max()
        same_places = bool((finite == finite[:1]).all())
    elif wide.size > 1:
        spread, same_places = np.abs(np.where(finite, wide - wide[finite][0], 0.0)).max(), True
    else:
        return None
    return "is the same for every sample" if same_places and spread <= tolerance else None


def not_finite(values: np.ndarray) -> int:
    """Number of elements that are NaN or infinite."""
    import numpy as np

    if not (is_floating(values) or values.dtype.kind == "c"):
        return 0
    return int(values.size - np.isfinite(values).sum())


def _same_text(values: np.ndarray) -> bool:
    return len(values) > 1 and all((row == values[0]).all() for row in values[1:])
