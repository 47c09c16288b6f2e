"""How far two numbers may be apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ckptkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The bound of `numpy.testing.assert_allclose`: `|a - b| <= atol + rtol * |b|`, so b is the reference.

    NaN equals NaN and an infinity equals itself (`equal_nan=True`, that function's default). The defaults are its
    defaults too.

    Attributes:
        atol: absolute part, in the unit of the tensor.
        rtol: relative part, a factor of `|b|`.
    """

    atol: float = 0.0
    rtol: float = 1e-7

    def __post_init__(self) -> None:
        for name, value in (("atol", self.atol), ("rtol", self.rtol)):
            if not (math.isfinite(value) and value >= 0):
                raise UsageError("a tolerance has to be a finite number that is not negative", key=name, found=value)
