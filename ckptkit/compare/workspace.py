"""Buffers that one thread uses again and again."""

from __future__ import annotations

import numpy as np

from ckptkit.model import CHUNK_BYTES

# Elements that are worked on at a time. Smaller blocks keep the temporaries in a core's L2 cache, and lose more than
# that gains: after each NumPy call the two threads wait for each other's hold on the interpreter's lock (measured on a
# pair of 386 tensors that differ everywhere: 0.96 s at 64 Ki elements, 0.72 s at 128 Ki, 0.64 s at 256 Ki; 1.1 s with
# one thread).
BLOCK_ELEMENTS = 1 << 18


class Workspace:
    """Read buffers of two sides and the temporaries of one block; never shared between threads."""

    __slots__ = ("mask", "raw_a", "raw_b", "x", "y", "z")

    def __init__(self) -> None:
        self.raw_a = memoryview(bytearray(CHUNK_BYTES))
        self.raw_b = memoryview(bytearray(CHUNK_BYTES))
        self.x = np.empty(BLOCK_ELEMENTS)
        self.y = np.empty(BLOCK_ELEMENTS)
        self.z = np.empty(BLOCK_ELEMENTS)
        self.mask = np.empty(2 * BLOCK_ELEMENTS, dtype=bool)  # of words of 8 bytes, complex128 has two an element
