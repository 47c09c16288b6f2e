"""How the content of one tensor becomes that of another: found by trying, proven by comparing every element."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Blocks that kernels hold side by side: a GRU has 3 gates, an LSTM 4, CuDNN's joined biases up to 8; attention has heads.
BLOCK_COUNTS = (2, 3, 4, 6, 8, 12, 16)

# Kernels of fewer axes have no spatial ones, which are what implementations of convolutions turn round.
_FEWEST_FLIPPED = 3

# Axes beyond which the permutations are too many to try; no known kernel has more than five.
_MOST_AXES = 6


@dataclass(frozen=True, slots=True)
class Transform:
    """Steps that turn the parts of a, in this order, into b.

    They are taken in the order of the attributes: join, transpose, permute blocks, flip, reshape.

    Attributes:
        shape: of the result.
        joined: axis along which the parts are put together; None for a single one.
        parts: numbers of the given parts in the order in which they are joined.
        permutation: of the axes, as `numpy.transpose` takes it; None where they stay.
        blocks: (axis, order): the axis is cut into `len(order)` equal blocks; block i of the result is `order[i]`.
        flips: axes along which the elements are in the reverse order.
    """

    shape: tuple[int, ...]
    joined: int | None = None
    parts: tuple[int, ...] = (0,)
    permutation: tuple[int, ...] | None = None
    blocks: tuple[int, tuple[int, ...]] | None = None
    flips: tuple[int, ...] = ()

    def apply(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The result of the steps on `arrays`."""
        ordered = [arrays[number] for number in self.parts]
        value = ordered[0] if self.joined is None else np.concatenate(ordered, axis=self.joined)
        if self.permutation is not None:
            value = value.transpose(self.permutation)
        if self.blocks is not None:
            axis, order = self.blocks
            value = np.take(_cut(value, axis, len(order)), order, axis=axis).reshape(value.shape)
        return np.flip(value, self.flips).reshape(self.shape)

    def describe(self, shapes: Sequence[tuple[int, ...]], *, gates: bool = False) -> str:
        """The steps in words, for parts of `shapes`; `equal` where there is none.

        Args:
            shapes: of the parts.
            gates: whether the blocks of the last axis are known to be gates.
        """
        words = []
        shape = shapes[self.parts[0]]
        if self.joined is not None:
            order = "" if self.parts == tuple(range(len(self.parts))) else f" in the order {_listed(self.parts)}"
            words.append(f"{len(self.parts)} parts joined along axis {self.joined}{order}")
            sizes = [shapes[number][self.joined] for number in self.parts]
            shape = (*shape[: self.joined], sum(sizes), *shape[self.joined + 1 :])
        if self.permutation is not None:
            words.append(f"transposed ({_listed(self.permutation)})" if len(shape) > 2 else "transposed")
            shape = tuple(shape[axis] for axis in self.permutation)
        if self.blocks is not None:
            axis, numbers = self.blocks
            what = "gates" if gates and axis == len(shape) - 1 else f"{len(numbers)} blocks of axis {axis}"
            words.append(f"{what} in the order {_listed(numbers)}")
        if self.flips:
            words.append(f"flipped along ax{'e' if len(self.flips) > 1 else 'i'}s {_listed(self.flips)}")
        if shape != self.shape:
            squeezed = [size for size in shape if size != 1] == [size for size in self.shape if size != 1]
            words.append("axes of size 1 " + ("dropped" if len(shape) > len(self.shape) else "added"))
            if not squeezed:
                words[-1] = f"reshaped to {list(self.shape)}"
        return ", ".join(words) or "equal"


def establish(parts: np.ndarray | Sequence[np.ndarray], whole: np.ndarray) -> Transform | None:
    """The simplest transform that makes `whole` out of `parts`, bit for bit, or None when none of the known ones does.

    Tried in this order: equal, reshaped (axes of size 1 among that), transposed, gate blocks permuted along one axis,
    transposed and permuted, flipped or transposed and flipped (from three axes on); several parts are joined along every
    axis and in every order first.

    Args:
        parts: one array, or up to four that were joined.
        whole: the array to be explained, of the same dtype.
    """
    arrays = [parts] if isinstance(parts, np.ndarray) else list(parts)
    whole = _bits(whole)
    arrays = [_bits(array) for array in arrays]
    if sum(array.size for array in arrays) != whole.size or len({array.dtype for array in (*arrays, whole)}) != 1:
        return None
    for joined, order, value in _joins(arrays):
        for permutation, blocks, flips in _arrangements(value, whole):
            transform = Transform(whole.shape, joined, order, permutation, blocks, flips)
            if np.array_equal(transform.apply(arrays), whole):
                return transform
    return None


def _bits(array: np.ndarray) -> np.ndarray:
    """Numbers of up to 8 bytes as unsigned words, so that NaN equals itself and 0.0 is not -0.0."""
    size = array.dtype.itemsize
    if array.dtype.hasobject or size not in (1, 2, 4, 8):
        return array
    return np.ascontiguousarray(array).view(f"u{size}").reshape(array.shape)


def _joins(arrays: Sequence[np.ndarray]) -> Iterator[tuple[int | None, tuple[int, ...], np.ndarray]]:
    """Every way to put the arrays together: (axis, order, the whole)."""
    if len(arrays) == 1:
        yield None, (0,), arrays[0]
        return
    if len({array.ndim for array in arrays}) != 1:
        return
    for axis in reversed(range(arrays[0].ndim)):
        if len({(*array.shape[:axis], *array.shape[axis + 1 :]) for array in arrays}) == 1:
            for order in itertools.permutations(range(len(arrays))):
                yield axis, order, np.concatenate([arrays[number] for number in order], axis=axis)


def _arrangements(
    value: np.ndarray, whole: np.ndarray
) -> Iterator[tuple[tuple[int, ...] | None, tuple[int, tuple[int, ...]] | None, tuple[int, ...]]]:
    """(permutation of axes, permutation of blocks, flips) that could make `whole` of `value`, the simplest first."""
    yield None, None, ()
    transposes = list(_transposes(value.shape, whole.shape))
    for permutation in transposes:
        yield permutation, None, ()
    turns: tuple[tuple[int, ...] | None, ...] = (None, *transposes)
    for turn in turns:
        turned = value if turn is None else value.transpose(turn)
        if turned.shape == whole.shape:
            for axis in reversed(range(whole.ndim)):
                for count in BLOCK_COUNTS:
                    order = _block_order(turned, whole, axis, count)
                    if order is not None:
                        yield turn, (axis, order), ()
    for turn in turns:
        turned = value if turn is None else value.transpose(turn)
        if turned.shape == whole.shape and _FEWEST_FLIPPED <= whole.ndim <= _MOST_AXES and whole.size:
            for flips in _flips(whole.shape):
                if np.array_equal(np.flip(turned, flips)[(0,) * whole.ndim], whole[(0,) * whole.ndim]):
                    yield turn, None, flips


def _flips(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every set of axes along which a tensor of `shape` can be turned round."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    for count in range(1, len(axes) + 1):
        yield from itertools.combinations(axes, count)


def _transposes(shape: tuple[int, ...], wanted: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Permutations of axes, other than none, that give `wanted` up to axes of size 1."""
    if not 2 <= len(shape) <= _MOST_AXES:
        return
    target = [size for size in wanted if size != 1]
    for permutation in itertools.permutations(range(len(shape))):
        turned = [shape[axis] for axis in permutation if shape[axis] != 1]
        if turned == target and list(permutation) != sorted(permutation):
            yield permutation


def _block_order(value: np.ndarray, whole: np.ndarray, axis: int, count: int) -> tuple[int, ...] | None:
    """Which block of `value` each block of `whole` along `axis` is, or None when one of them is no block of it."""
    if whole.shape[axis] % count or not whole.size:
        return None
    cut_value = np.moveaxis(_cut(value, axis, count), axis, 0)
    cut_whole = np.moveaxis(_cut(whole, axis, count), axis, 0)
    order: list[int] = []
    for wanted in cut_whole:
        found = (n for n in range(count) if n not in order and np.array_equal(cut_value[n], wanted))
        number = next(found, None)
        if number is None:
            return None
        order.append(number)
    return tuple(order)


def _cut(value: np.ndarray, axis: int, count: int) -> np.ndarray:
    """`value` with `axis` made two: the block, and the place in it."""
    size = value.shape[axis] // count
    return value.reshape(*value.shape[:axis], count, size, *value.shape[axis + 1 :])


def _listed(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
