"""Sums that do not depend on the order in which they are added.

A float64 is a whole multiple of 2**-1074, so a sum of them is an integer in that unit: adding is exact and associative,
whatever a tensor was cut into.
"""

from __future__ import annotations

import math

# The exponent of the smallest positive float64 (IEEE 754 binary64, denormal).
_UNIT_BITS = 1074

# Extra bits of a square root, which keep it right to float64's last bits however small its argument.
_GUARD_BITS = 64


def from_float(value: float) -> int:
    """The finite float64 `value` in units of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_UNIT_BITS + 1 - denominator.bit_length())


def quotient(total: int, divisor: int) -> float:
    """`total` (in units of 2**-1074) / `divisor`, correctly rounded; infinite beyond float64."""
    try:
        return total / (divisor << _UNIT_BITS)
    except OverflowError:
        return math.copysign(math.inf, total)


def root_quotient(total: int, divisor: int) -> float:
    """The square root of `total` (in units of 2**-1074) / `divisor`; right also where the square is beyond float64."""
    root = math.isqrt((total << 2 * _GUARD_BITS) // divisor)
    return root / (1 << (_GUARD_BITS + _UNIT_BITS // 2))


def ratio_to_roots(numerator: int, square_a: int, square_b: int) -> float | None:
    """`numerator / sqrt(square_a * square_b)`; None where the root is 0."""
    root = math.isqrt(square_a * square_b)
    return numerator / root if root else None


def product(one: int, other: int) -> int:
    """`one * other`, all in units of 2**-1074, rounded down."""
    return (one * other) >> _UNIT_BITS
