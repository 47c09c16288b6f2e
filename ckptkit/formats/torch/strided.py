"""Elements that do not lie one after the other: gathered into C order in pieces, whatever the strides.

A transposed or permuted tensor covers its storage densely, an expanded one says its elements several times, a slice leaves
some out. A block of elements is read at once where what lies between its first and its last one is small or mostly
wanted; else it is halved along the axis that reaches furthest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ckptkit.model import CHUNK_BYTES
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

# Of the result, in memory at once.
_PIECE_BYTES = 16 << 20
# So much is read in one go even if most of it is not wanted.
_NEAR_BYTES = 1 << 16
_WANTED_SHARE = 8


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie one after the other in C order."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Items from the first element to the last, both counted; 0 for no elements."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def gathered(
    storage: Storage, item: np.dtype, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """The elements in C order, in arrays of at most 16 MiB.

    Args:
        storage: where they lie; everything that is asked for is inside.
        item: NumPy dtype of an item as it lies there.
        offset: items before the first element.
        shape: of the tensor.
        strides: items from one element to the next, by axis.
    """
    if 0 in shape:
        return
    axis = len(shape)
    while axis and math.prod(shape[axis - 1 :]) * item.itemsize <= _PIECE_BYTES:
        axis -= 1
    # Axes before `axis - 1` are walked one index after the other, that one in runs, the rest is taken whole.
    if axis == 0:
        yield _block(storage, item, offset, shape, strides)
        return
    rest = math.prod(shape[axis:]) * item.itemsize
    run = max(1, _PIECE_BYTES // rest)
    outer, length = shape[: axis - 1], shape[axis - 1]
    for number in range(math.prod(outer)):
        begin = offset
        for size, stride in zip(reversed(outer), reversed(strides[: axis - 1]), strict=True):
            begin += number % size * stride
            number //= size  # noqa: PLW2901 - the index is taken apart
        for first in range(0, length, run):
            count = min(run, length - first)
            at = begin + first * strides[axis - 1]
            yield _block(storage, item, at, (count, *shape[axis:]), strides[axis - 1 :])


def _block(
    storage: Storage, item: np.dtype, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    import numpy as np

    block = np.empty(shape, item)
    _fill(storage, offset, block, strides)
    return block


def _fill(storage: Storage, offset: int, block: np.ndarray, strides: tuple[int, ...]) -> None:
    import numpy as np

    pending = [(offset, block)]
    while pending:
        at, part = pending.pop()
        span = reach(part.shape, strides) * part.itemsize
        if span <= _NEAR_BYTES or (span <= CHUNK_BYTES and span <= _WANTED_SHARE * part.nbytes):
            raw = np.frombuffer(read(storage, at * part.itemsize, span), part.dtype)
            steps = tuple(stride * part.itemsize for stride in strides)
            part[...] = np.lib.stride_tricks.as_strided(raw, part.shape, steps, writeable=False)
            continue
        axis = max(range(part.ndim), key=lambda axis: (part.shape[axis] - 1) * strides[axis])
        half = part.shape[axis] // 2
        lower: list[slice] = [slice(None)] * (axis + 1)
        upper = list(lower)
        lower[axis], upper[axis] = slice(None, half), slice(half, None)
        pending.append((at + half * strides[axis], part[tuple(upper)]))
        pending.append((at, part[tuple(lower)]))
