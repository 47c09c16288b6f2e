"""Buffers that one thread uses again and again."""

from __future__ import annotations

import numpy as np

from ckptkit.model import CHUNK_BYTES

# The grid on which tensors may be cut, in elements: fingerprints keep two words for each block of it.
BLOCK_ELEMENTS = 1 << 18

# Elements that are worked on at a time; sums are rounded within them, so they divide a block. Two float64 copies, the
# values and a quotient of so many float32 elements take 1.75 MiB. Fewer, and calls of NumPy cost more than the cache
# gains: after each the threads wait for each other's hold on the interpreter's lock.
PIECE_ELEMENTS = 1 << 16

# Elements that are read of each side at a time: no more than stay in the cache until they are compared.
READ_ELEMENTS = PIECE_ELEMENTS


class Workspace:
    """Read buffers of two sides and the temporaries of one block; never shared between threads."""

    __slots__ = ("codes", "indices", "mask", "places", "ratio", "raw_a", "raw_b", "x", "y", "z")

    def __init__(self) -> None:
        self.raw_a = memoryview(bytearray(CHUNK_BYTES))
        self.raw_b = memoryview(bytearray(CHUNK_BYTES))
        self.x = np.empty(BLOCK_ELEMENTS)
        self.y = np.empty(PIECE_ELEMENTS)
        self.z = np.empty(BLOCK_ELEMENTS)
        self.ratio = np.empty(PIECE_ELEMENTS, np.float32)
        self.mask = np.empty(2 * PIECE_ELEMENTS, dtype=bool)  # of words of 8 bytes, complex128 has two an element
        self.places = np.empty(PIECE_ELEMENTS, np.float32)
        self.codes = np.empty(PIECE_ELEMENTS, np.uint8)
        self.indices = np.empty(PIECE_ELEMENTS // 2, np.intp)
