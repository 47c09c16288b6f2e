"""Arrays that are cut into chunks: which elements of a tensor lie in which part of which chunk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product


def boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut elements `start` to `stop` (in C order) into boxes, in order.

    Each box is (first index, counts) along every axis, and its own elements in C order are consecutive.

    Example:
        >>> list(boxes((3, 4), 2, 9))
        [((0, 2), (1, 2)), ((1, 0), (1, 4)), ((2, 0), (1, 1))]
    """
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    while start < stop:
        # The outermost axis along which the box may begin here and is not longer than what is left.
        axis = next(axis for axis, stride in enumerate(strides) if start % stride == 0 and stop - start >= stride)
        index = [start // stride % size for stride, size in zip(strides, shape, strict=True)]
        count = min((stop - start) // strides[axis], shape[axis] - index[axis])
        yield tuple(index), (1,) * axis + (count,) + shape[axis + 1 :]
        start += count * strides[axis]


def parts_of_box(
    chunk: tuple[int, ...], first: tuple[int, ...], counts: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """(position of a chunk in the grid, slices in the chunk, slices in the box) for every chunk that the box meets."""
    low = [begin // step for begin, step in zip(first, chunk, strict=True)]
    spans = [
        (begin + count - 1) // step + 1 - at for begin, count, step, at in zip(first, counts, chunk, low, strict=True)
    ]
    for offset in product(*map(range, spans)):
        position = tuple(at + more for at, more in zip(low, offset, strict=True))
        inside, target = [], []
        for at, step, begin, count in zip(position, chunk, first, counts, strict=True):
            left, right = max(at * step, begin), min((at + 1) * step, begin + count)
            inside.append(slice(left - at * step, right - at * step))
            target.append(slice(left - begin, right - begin))
        yield position, tuple(inside), tuple(target)
