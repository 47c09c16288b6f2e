"""Tensors that are stored in parts: the proof that the parts are the whole, and reading them joined."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, islice, product

from ckptkit.errors import FormatError

# A part has 2 ** axes corners; partitioners cut one axis, and no one cuts more than a few.
_MOST_CUT_AXES = 8
# Parts, and places, that are looked at to say what is wrong.
_MOST_NAMED = 500


@dataclass(frozen=True, slots=True)
class Partition:
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

    def holds(self, place: Sequence[int]) -> bool:
        """Whether the element at `place` is in it."""
        return all(0 <= at - start < length for at, start, length in zip(place, self.starts, self.lengths, strict=True))

    def __str__(self) -> str:
        bounds = zip(self.starts, self.lengths, strict=True)
        return f"[{', '.join(f'{start}:{start + length}' for start, length in bounds)}]"


def check_tiling(shape: tuple[int, ...], parts: Sequence[Partition]) -> None:
    """Raise `FormatError` unless `parts`, which are inside, are all of `shape`: no hole, no overlap.

    Parts tile the whole exactly if the signed corners of all of them are those of the whole.

    (A box is the sum over its corners, with alternating signs, of the orthants that begin there; orthants are linearly
    independent, so equal sums of boxes have equal signed corners, and the sum over the parts is 1 everywhere.)
    """
    whole = Partition((0,) * len(shape), shape)
    cut = [axis for axis in range(len(shape)) if any(part.lengths[axis] != shape[axis] for part in parts)]
    if len(cut) > _MOST_CUT_AXES:
        raise FormatError("a tensor is cut along too many axes", expected=_MOST_CUT_AXES, found=len(cut))
    corners: Counter[tuple[int, ...]] = Counter()
    for part, weight in [(whole, -1), *((part, 1) for part in parts if part.size or not whole.size)]:
        ends = [(part.starts[axis], part.starts[axis] + part.lengths[axis]) for axis in cut]
        for sides in product((0, 1), repeat=len(cut)):
            corners[tuple(bounds[side] for bounds, side in zip(ends, sides, strict=True))] += (
                -weight if sum(sides) % 2 else weight
            )
    if any(corners.values()):
        raise FormatError(f"the parts of a tensor overlap or leave a hole ({_fault(shape, parts)})")


def _fault(shape: tuple[int, ...], parts: Sequence[Partition]) -> str:
    """Which of the parts overlap, or where nothing is."""
    found = sorted((part for part in parts if part.size), key=lambda part: part.starts)[:_MOST_NAMED]
    for one, other in combinations(found, 2):
        if all(
            max(a, b) < min(a + n, b + m)
            for a, n, b, m in zip(one.starts, one.lengths, other.starts, other.lengths, strict=True)
        ):
            return f"{one} and {other} overlap"
    ends = [{0, *(part.starts[axis] + part.lengths[axis] for part in found)} for axis in range(len(shape))]
    corners = islice(
        product(*(sorted(end for end in at if end < size) for at, size in zip(ends, shape, strict=True))), _MOST_NAMED
    )
    hole = next((at for at in corners if not any(part.holds(at) for part in found)), None)
    return f"nothing is at [{', '.join(map(str, hole))}]" if hole else "elements are missing"


ReadPart = Callable[[int, int, memoryview], None]
"""(number of the part, byte in it, buffer to fill)."""


def read_joined(
    parts: tuple[Partition, ...],
    shape: tuple[int, ...],
    itemsize: int,
    offset: int,
    buffer: memoryview,
    read_part: ReadPart,
) -> None:
    """Fill `buffer` with the bytes of the joined variable that begin at byte `offset`.

    Each part is asked for one range at most, and over consecutive windows for consecutive ranges.
    """
    end = offset + len(buffer)
    for place, part in enumerate(parts):
        _Runs(part, shape, itemsize).scatter(offset, end, buffer, partial(read_part, place))


def part_pieces(
    part: Partition,
    shape: tuple[int, ...],
    itemsize: int,
    read_whole: Callable[[int, memoryview], None],
    buffer: memoryview,
) -> Iterator[memoryview]:
    """The bytes of `part` in order, in pieces of `buffer`, taken from the variable of `shape` that it is a part of."""
    return _Runs(part, shape, itemsize).gather(read_whole, buffer)


class _Runs:
    """How a part's bytes, taken in order, lie in the joined variable: runs of equal length at rising places."""

    def __init__(self, part: Partition, shape: tuple[int, ...], itemsize: int) -> None:
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
