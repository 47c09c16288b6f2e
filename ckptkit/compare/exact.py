"""Sums that do not depend on the order in which they are added.

A float64 is a whole multiple of 2**-1074, so a sum of them is an integer in that unit: adding is exact and associative,
whatever a tensor was cut into.
"""

from __future__ import annotations

import math
import sys

UNIT_BITS = 1074
"""The exponent of the smallest positive float64 (IEEE 754 binary64, denormal), sign turned."""

# Of ratios above it float64 has all bits.
_SMALLEST = 2.0**-1000

# Extra bits of a square root, which keep it right to float64's last bits however small its argument.
_GUARD_BITS = 64


def from_float(value: float) -> int:
    """The finite float64 `value` in units of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_BITS + 1 - denominator.bit_length())


def quotient(total: int, divisor: int) -> float:
    """`total` (in units of 2**-1074) / `divisor`, correctly rounded; infinite beyond float64."""
    try:
        return total / (divisor << UNIT_BITS)
    except OverflowError:
        return math.copysign(math.inf, total)


def root_quotient(total: int, divisor: int) -> float:
    """The square root of `total` (in units of 2**-1074) / `divisor`; right also where the square is beyond float64."""
    return root_ratio(total, divisor << UNIT_BITS)


def root_ratio(total: int, other: int) -> float:
    """The square root of `total / other`, to a unit in the last place; the largest float64 for what is beyond."""
    try:
        ratio = total / other
    except OverflowError:
        ratio = 0.0
    if ratio > _SMALLEST:
        return math.sqrt(ratio)
    # Both may be of any size, and their ratio beyond float64 where its root is not.
    bits = max(other.bit_length() - total.bit_length(), 0) // 2 + 2 * _GUARD_BITS
    try:
        return math.isqrt((total << 2 * bits) // other) / (1 << bits)
    except OverflowError:
        return sys.float_info.max


def ratio_to_roots(numerator: int, square_a: int, square_b: int) -> float | None:
    """`numerator / sqrt(square_a * square_b)`; None where the root is 0."""
    square = square_a * square_b
    # A root of so many bits is right to float64's last ones; those of all would take most of the time.
    down = max(square.bit_length() - 4 * _GUARD_BITS, 0) // 2
    root = math.isqrt(square >> 2 * down) << down
    return numerator / root if root else None


def product(one: int, other: int) -> int:
    """`one * other`, all in units of 2**-1074, rounded down."""
    return (one * other) >> UNIT_BITS
