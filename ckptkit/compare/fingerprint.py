"""What a tensor holds, in 256 bits that can be compared without its bytes.

Every element's bits are mixed into two 64-bit words. Their sums over all elements do not depend on the order; the same
words weighted by a key for each position do. All are sums mod 2**64, so blocks combine in any order. The mixing steps
are those of the 64-bit finalisers of the Murmur family: shift, xor and multiplication by an odd constant.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ckptkit import dtypes
from ckptkit.compare.streaming import whole_elements
from ckptkit.compare.workspace import BLOCK_ELEMENTS, Workspace
from ckptkit.model import Fingerprint, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WORD = 1 << 64
_TOTAL = 1 << 128
_LANES_BYTES = 16

# Odd multipliers with about half of their bits set: the fractional parts, in 64 bits, of the golden ratio and of the
# square roots of 2, 3, 5 and 7, made odd.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = tuple(
    np.uint64(root) for root in (0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1)
)

# Bits of the first word that stay out of the order-free total; the sum of the 40 others cannot overflow in a block.
_LEFT_OUT_BITS = np.uint64(24)


def fingerprint(
    source: TensorSource,
    spec: TensorSpec,
    work: Workspace | None = None,
    progress: Callable[[int], None] | None = None,
) -> Fingerprint:
    """The content of one tensor, in one streaming pass with its checksum verified.

    Args:
        source: where the bytes are.
        spec: what they are; its name is the source's own key.
        work: the calling thread's buffers; made when not given.
        progress: told the bytes done, as they are done.

    Raises:
        CkptkitError: bytes are missing, cut short or do not match their checksum.
    """
    if spec.dtype == "string":
        return _string_fingerprint(spec, source.read_strings(spec.name))
    work = work or Workspace()
    return print_pieces(source.stream(spec.name, work.raw_a), spec.dtype, work, progress).fingerprint(spec)


@dataclass(frozen=True, slots=True)
class Prints:
    """What the fingerprint of a range of a tensor comes to; the range begins on the grid of blocks.

    Attributes:
        lanes: two 64-bit words for each block, the last of which may have begun only.
        unordered: as in `Fingerprint`, of this range.
        sample: the bits of the first element; None where there is none.
        constant: whether all elements have them.
    """

    lanes: bytes
    unordered: int
    sample: bytes | None
    constant: bool

    def joined(self, other: Prints) -> Prints:
        """Of this range and of the next one; this one ends on the grid."""
        alike = None in (self.sample, other.sample) or self.sample == other.sample
        return Prints(
            self.lanes[:-_LANES_BYTES] + other.lanes,
            (self.unordered + other.unordered) % _TOTAL,
            self.sample or other.sample,
            self.constant and other.constant and alike,
        )

    def fingerprint(self, spec: TensorSpec) -> Fingerprint:
        """Of a tensor that is this range."""
        ordered = hashlib.blake2b(self.lanes, digest_size=16).digest()
        return Fingerprint(spec.shape, spec.dtype, ordered, self.unordered, self.constant)


def print_pieces(
    stream: Iterator[memoryview], dtype: str, work: Workspace, progress: Callable[[int], None] | None = None
) -> Prints:
    """The prints of all that `stream` gives, cut in any way."""
    itemsize = dtypes.itemsize(dtype)
    blocks = bytearray()
    unordered = 0
    constant = True
    sample: np.ndarray | None = None
    at = 0  # in the block that is being summed
    lanes = [0, 0]
    for piece in whole_elements(stream, itemsize):
        bits = _bits(piece, itemsize)
        if sample is None:
            sample = bits[:1].copy()
        constant = constant and bool((bits == sample).all())
        start = 0
        while start < len(bits):
            part = bits[start : start + BLOCK_ELEMENTS - at]
            total, sums = _block_sums(part, at, work)
            unordered += total
            lanes = [(lane + value) % _WORD for lane, value in zip(lanes, sums, strict=True)]
            start += len(part)
            at += len(part)
            if at == BLOCK_ELEMENTS:
                blocks += _lanes_bytes(lanes)
                at, lanes = 0, [0, 0]
        if progress is not None:
            progress(len(piece))
    blocks += _lanes_bytes(lanes)
    return Prints(bytes(blocks), unordered % _TOTAL, None if sample is None else sample.tobytes(), constant)


def _lanes_bytes(lanes: list[int]) -> bytes:
    return b"".join(lane.to_bytes(8, "little") for lane in lanes)


def _bits(piece: memoryview, itemsize: int) -> np.ndarray:
    """The elements of `piece` as unsigned words `[n]`; `[n, 2]` for those of 16 bytes."""
    if itemsize == 16:
        return np.frombuffer(piece, np.uint64).reshape(-1, 2)
    return np.frombuffer(piece, np.dtype(f"<u{itemsize}"))


def _block_sums(bits: np.ndarray, at: int, work: Workspace) -> tuple[int, tuple[int, int]]:
    """Order-free total, and the two position-weighted sums, of elements that begin at place `at` of a block."""
    words = work.x.view(np.uint64)[: len(bits)]
    scratch = work.z.view(np.uint64)[: len(bits)]
    if bits.ndim == 2:
        np.add(bits[:, 0], _GOLDEN, out=words)
        np.add(_mix(words, scratch, *_FACTORS[:2]), bits[:, 1], out=words)
    else:
        np.copyto(words, bits)
    np.add(words, _GOLDEN, out=words)
    first = _mix(words, scratch, _FACTORS[0], _FACTORS[1])
    total = int(np.add.reduce(np.right_shift(first, _LEFT_OUT_BITS, out=scratch)))
    keys = _position_keys()[at : at + len(bits)]
    first_lane = int(np.add.reduce(np.multiply(first, keys, out=scratch)))
    second = _mix(first, scratch, _FACTORS[2], _FACTORS[3])
    total += int(np.add.reduce(second)) << 64
    second_lane = int(np.add.reduce(np.multiply(second, keys, out=scratch)))
    return total, (first_lane, second_lane)


def _mix(words: np.ndarray, scratch: np.ndarray, factor: np.uint64, other: np.uint64) -> np.ndarray:
    """Mixes each of `words` in place, one to one."""
    for shift, multiplier in ((np.uint64(32), factor), (np.uint64(29), other)):
        np.bitwise_xor(words, np.right_shift(words, shift, out=scratch), out=words)
        np.multiply(words, multiplier, out=words)
    np.bitwise_xor(words, np.right_shift(words, np.uint64(32), out=scratch), out=words)
    return words


@functools.cache
def _position_keys() -> np.ndarray:
    """An odd word for each place of a block, the same in every run."""
    places = np.arange(1, BLOCK_ELEMENTS + 1, dtype=np.uint64) * _GOLDEN
    keys: np.ndarray = _mix(places, np.empty_like(places), _FACTORS[2], _FACTORS[0]) | np.uint64(1)
    keys.setflags(write=False)
    return keys


def _string_fingerprint(spec: TensorSpec, elements: list[bytes]) -> Fingerprint:
    ordered = hashlib.blake2b(digest_size=16)
    unordered = 0
    for element in elements:
        part = hashlib.blake2b(element, digest_size=16).digest()
        ordered.update(part)
        unordered += int.from_bytes(part, "little")
    constant = all(element == elements[0] for element in elements)
    return Fingerprint(spec.shape, spec.dtype, ordered.digest(), unordered % _TOTAL, constant)
