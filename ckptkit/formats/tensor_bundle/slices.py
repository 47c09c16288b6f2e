"""Partitioned variables: the names of their parts, the proof that the parts are the whole, and reading them joined.

Sources: tensorflow/core/util/saved_tensor_slice_util.cc (`EncodeTensorNameSlice`),
tensorflow/core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError

if TYPE_CHECKING:
    from ckptkit.formats.tensor_bundle.entries import Extent

# A part has 2 ** axes corners; partitioners cut one axis, and no one cuts more than a few.
_MOST_CUT_AXES = 8


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a partitioned variable, in elements.

    Attributes:
        starts: first index along each axis.
        lengths: extent along each axis.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.lengths)


def encode_slice_key(name: bytes, extents: tuple[Extent, ...]) -> bytes:
    """The key under which a part of variable `name` is stored; it begins with a NUL, as no variable's name does."""
    bounds = b"".join(_ordered_signed(start) + _ordered_signed(length) for start, length in extents)
    return b"".join((_ordered_unsigned(0), _ordered_string(name), _ordered_unsigned(len(extents)), bounds))


def _ordered_string(value: bytes) -> bytes:
    """`OrderedCode::WriteString`: 0x00 and 0xFF escaped by each other, 0x00 0x01 at the end."""
    if b"\x00" in value or b"\xff" in value:
        escapes = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}
        value = b"".join(escapes.get(byte, bytes([byte])) for byte in value)
    return value + b"\x00\x01"


def _ordered_unsigned(value: int) -> bytes:
    """`OrderedCode::WriteNumIncreasing`: the number of bytes, then these, big-endian."""
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(body)]) + body


def _ordered_signed(value: int) -> bytes:
    """`OrderedCode::WriteSignedNumIncreasing`: two's complement, its top bits turned into a count of its bytes."""
    magnitude = ~value if value < 0 else value
    length = magnitude.bit_length() // 7 + 1
    header = ((1 << length) - 1) << 7 * length
    return ((value % (1 << 8 * length)) ^ header).to_bytes(length, "big")


def infer_parts(shape: tuple[int, ...], slices: tuple[tuple[Extent, ...], ...]) -> tuple[Part, ...]:
    """The parts of a variable of `shape`, once they are proven to tile it: no hole, no overlap.

    Raises:
        FormatError: a part is not inside, or they do not tile.
    """
    parts = []
    for extents in slices:
        if len(extents) != len(shape):
            raise FormatError("a partition has another rank than its variable", expected=len(shape), found=len(extents))
        bounds = [
            (0, size) if length == -1 else (start, length) for (start, length), size in zip(extents, shape, strict=True)
        ]
        if any(
            start < 0 or length < 0 or start + length > size
            for (start, length), size in zip(bounds, shape, strict=True)
        ):
            raise FormatError("a partition reaches beyond its variable", expected=list(shape), found=list(extents))
        parts.append(Part(tuple(start for start, _ in bounds), tuple(length for _, length in bounds)))
    _check_tiling(shape, parts)
    return tuple(parts)


def _check_tiling(shape: tuple[int, ...], parts: list[Part]) -> None:
    """Parts tile the whole exactly if the signed corners of all of them are those of the whole.

    (A box is the sum over its corners, with alternating signs, of the orthants that begin there; orthants are linearly
    independent, so equal sums of boxes have equal signed corners, and the sum over the parts is 1 everywhere.)
    """
    whole = Part((0,) * len(shape), shape)
    cut = [axis for axis in range(len(shape)) if any(part.lengths[axis] != shape[axis] for part in parts)]
    if len(cut) > _MOST_CUT_AXES:
        raise FormatError("a variable is partitioned along too many axes", expected=_MOST_CUT_AXES, found=len(cut))
    corners: Counter[tuple[int, ...]] = Counter()
    for part, weight in [(whole, -1), *((part, 1) for part in parts if part.size or not whole.size)]:
        ends = [(part.starts[axis], part.starts[axis] + part.lengths[axis]) for axis in cut]
        for sides in product((0, 1), repeat=len(cut)):
            corners[tuple(bounds[side] for bounds, side in zip(ends, sides, strict=True))] += (
                -weight if sum(sides) % 2 else weight
            )
    if any(corners.values()):
        raise FormatError("the partitions of a variable overlap or leave a hole")


ReadPart = Callable[[int, int, memoryview], None]
"""(number of the part, byte in it, buffer to fill)."""


def read_joined(
    parts: tuple[Part, ...], shape: tuple[int, ...], itemsize: int, offset: int, buffer: memoryview, read_part: ReadPart
) -> None:
    """Fill `buffer` with the bytes of the joined variable that begin at byte `offset`.

    Each part is asked for one range at most, and over consecutive windows for consecutive ranges.
    """
    end = offset + len(buffer)
    for place, part in enumerate(parts):
        _Runs(part, shape, itemsize).scatter(offset, end, buffer, partial(read_part, place))


def part_pieces(
    part: Part,
    shape: tuple[int, ...],
    itemsize: int,
    read_whole: Callable[[int, memoryview], None],
    buffer: memoryview,
) -> Iterator[memoryview]:
    """The bytes of `part` in order, in pieces of `buffer`, taken from the variable of `shape` that it is a part of."""
    return _Runs(part, shape, itemsize).gather(read_whole, buffer)


class _Runs:
    """How a part's bytes, taken in order, lie in the joined variable: runs of equal length at rising places."""

    def __init__(self, part: Part, shape: tuple[int, ...], itemsize: int) -> None:
        strides = [itemsize] * len(shape)
        for place in range(len(shape) - 2, -1, -1):
            strides[place] = strides[place + 1] * shape[place + 1]
        axis, length = len(shape), itemsize
        while axis:
            axis -= 1
            length *= part.lengths[axis]
            if part.lengths[axis] != shape[axis]:
                break
        self.length = length
        self.count = math.prod(part.lengths[:axis]) if length else 0
        self._origin = sum(start * stride for start, stride in zip(part.starts, strides, strict=True))
        self._outer = tuple(zip(part.lengths[:axis], strides[:axis], strict=True))[::-1]

    def place(self, run: int) -> int:
        """First byte of run number `run` in the joined variable."""
        at = self._origin
        for length, stride in self._outer:
            run, index = divmod(run, length)
            at += index * stride
        return at

    def _first_from(self, offset: int) -> int:
        """Number of the first run whose place is `offset` or beyond."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self.place(middle) < offset:
                low = middle + 1
            else:
                high = middle
        return low

    def scatter(self, begin: int, end: int, buffer: memoryview, read_part: Callable[[int, memoryview], None]) -> None:
        """Put what of this part lies between bytes `begin` and `end` where it belongs in `buffer`."""
        first, last = self._first_from(begin - self.length + 1), self._first_from(end)
        if first == last:
            return
        low = first * self.length + max(begin - self.place(first), 0)
        high = last * self.length - max(self.place(last - 1) + self.length - end, 0)
        if last - first == 1:
            at = max(self.place(first), begin) - begin
            read_part(low, buffer[at : at + high - low])
            return
        data = memoryview(bytearray(high - low))
        read_part(low, data)
        taken = 0
        for run in range(first, last):
            place = self.place(run)
            start, stop = max(place, begin) - begin, min(place + self.length, end) - begin
            buffer[start:stop] = data[taken : taken + stop - start]
            taken += stop - start

    def gather(self, read_whole: Callable[[int, memoryview], None], buffer: memoryview) -> Iterator[memoryview]:
        """The bytes of this part in order, in pieces of `buffer`, taken from the joined variable."""
        filled = 0
        for run in range(self.count):
            place, end = self.place(run), self.place(run) + self.length
            while place < end:
                stop = min(end, place + len(buffer) - filled)
                read_whole(place, buffer[filled : filled + stop - place])
                filled += stop - place
                place = stop
                if filled == len(buffer):
                    yield buffer
                    filled = 0
        if filled:
            yield buffer[:filled]
