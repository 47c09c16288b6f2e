"""Checksums of parts put together: the CRC of a whole from those of its pieces, without its bytes.

A CRC is a remainder of polynomials over GF(2). Appending n bytes multiplies what came before by x**(8n), so the CRC of
`a + b` is that of `a` times x**(8 len(b)), plus that of `b`: what goes in and is taken out at the ends cancels.
Polynomials are held as both CRCs hold them, bit-reversed: bit 31 is the coefficient of x**0.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

CRC32C = 0x82F63B78
"""Castagnoli's polynomial, reversed (RFC 3720, appendix B.4): TensorFlow's checksums."""
CRC32 = 0xEDB88320
"""ITU-T V.42's polynomial, reversed: those of zip archives."""

_ONE = 1 << 31


def joined(sums: Iterable[tuple[int, int]], polynomial: int) -> int:
    """The CRC of pieces in order, each given by its own CRC and its length in bytes."""
    whole = 0
    for crc, length in sums:
        whole = (_times(whole, _power(length, polynomial), polynomial) if whole else 0) ^ crc
    return whole


@functools.lru_cache(maxsize=64)
def _power(length: int, polynomial: int) -> int:
    """x**(8 * length) mod the polynomial."""
    power, square = _ONE, _ONE >> 8
    while length:
        if length & 1:
            power = _times(power, square, polynomial)
        square = _times(square, square, polynomial)
        length >>= 1
    return power


def _times(a: int, b: int, polynomial: int) -> int:
    """The product of two polynomials mod a third one."""
    product = 0
    for _ in range(32):
        if a & _ONE:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (polynomial if b & 1 else 0)
    return product
