"""CRC-32C as TensorFlow and LevelDB store it: masked, so that a checksum of data that holds checksums is no trap.

Source: leveldb/util/crc32c.h (`Mask`, `kMaskDelta`).
"""

from __future__ import annotations

import crc32c as _library

_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF


def crc32c(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """The checksum of what `crc` is that of, followed by `data`."""
    return int(_library.crc32c(data, crc))


def mask(crc: int) -> int:
    """The stored form of checksum `crc`."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _UINT32


def unmask(stored: int) -> int:
    """The checksum whose stored form is `stored`."""
    rotated = (stored - _MASK_DELTA) & _UINT32
    return (rotated >> 17 | rotated << 15) & _UINT32
