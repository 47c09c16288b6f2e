"""Large matrices that hold the same elements in another order: the change of layout is probed, then proven in slabs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from ckptkit import dtypes
from ckptkit.compare import BLOCK_COUNTS, Transform
from ckptkit.model import TensorSource, TensorSpec

# Memory of one slab. The larger, the fewer and longer reads a transposition takes.
_SLAB_BYTES = 16 << 20


class Arranged:
    """The bytes of a matrix `[rows, columns]` after a transform without joins.

    Checksums are not looked at: who asks for another order has seen the bytes verified in theirs.
    """

    def __init__(self, source: TensorSource, spec: TensorSpec, transform: Transform) -> None:
        self._source = source
        self._spec = spec
        self._transposed = transform.permutation is not None
        self._blocks = transform.blocks
        self._itemsize = dtypes.itemsize(spec.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        rows, columns = self._spec.shape
        return (columns, rows) if self._transposed else (rows, columns)

    def stream(self) -> Iterator[memoryview]:
        """All bytes of the result in C order."""
        rows, columns = self.shape
        step = max(_SLAB_BYTES // (columns * self._itemsize), 1)
        for first, count in self._row_ranges(rows, step):
            yield memoryview(self.rows(first, count).reshape(-1).view(np.uint8))  # type: ignore[arg-type]

    def rows(self, first: int, count: int) -> np.ndarray:
        """Rows from `first`, counted before blocks of rows are permuted, as items `[count, columns]` of raw bytes."""
        columns = self.shape[1]
        found = np.empty((count, columns), dtype=np.dtype((np.void, self._itemsize)))
        if self._transposed:
            strip = np.empty((columns, count), dtype=found.dtype)
            for place in range(columns):
                self._read(place * self._spec.shape[1] + first, strip[place])
            found[:] = strip.T
        else:
            self._read(first * columns, found)
        if self._blocks is not None and self._blocks[0] == 1:
            order = self._blocks[1]
            found = found.reshape(count, len(order), -1)[:, list(order)].reshape(count, columns)
        return found

    def _row_ranges(self, rows: int, step: int) -> Iterator[tuple[int, int]]:
        """(first row, number of rows) in the order in which the result has them."""
        order = self._blocks[1] if self._blocks is not None and self._blocks[0] == 0 else (0,)
        size = rows // len(order)
        for block in order:
            for start in range(0, size, step):
                yield block * size + start, min(step, size - start)

    def _read(self, element: int, into: np.ndarray) -> None:
        raw = memoryview(into.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        self._source.read_into(self._spec.name, element * self._itemsize, raw)


def likely_transforms(
    source_a: TensorSource, spec_a: TensorSpec, source_b: TensorSource, spec_b: TensorSpec
) -> Iterator[Transform]:
    """Transforms of matrix a that agree with b in a few rows; each has still to be proven.

    Args:
        source_a: where the bytes of a are.
        spec_a: what they are: `[rows, columns]`, each of at least one.
        source_b: where those of b are.
        spec_b: what they are, likewise.
    """
    turns: list[tuple[int, int] | None] = [None, (1, 0)]
    b = Arranged(source_b, spec_b, Transform(spec_b.shape))
    for turn in turns:
        transform = Transform(spec_b.shape, permutation=turn)
        a = Arranged(source_a, spec_a, transform)
        if a.shape != spec_b.shape:
            continue
        top_a, top_b = a.rows(0, 1)[0], b.rows(0, 1)[0]
        if np.array_equal(top_a, top_b):
            yield transform
        for count in BLOCK_COUNTS:
            rows, columns = a.shape
            if columns % count == 0:
                order = _order(np.split(top_a, count), np.split(top_b, count))
                if order is not None:
                    yield Transform(spec_b.shape, permutation=turn, blocks=(1, order))
            if rows % count == 0:
                starts = range(0, rows, rows // count)
                order = _order([a.rows(row, 1) for row in starts], [b.rows(row, 1) for row in starts])
                if order is not None:
                    yield Transform(spec_b.shape, permutation=turn, blocks=(0, order))


def _order(given: list[np.ndarray], wanted: list[np.ndarray]) -> tuple[int, ...] | None:
    """Which of `given` each of `wanted` is, or None where one of them is none or their order is unchanged."""
    numbers = {each.tobytes(): number for number, each in enumerate(given)}
    order = tuple(numbers.get(each.tobytes(), -1) for each in wanted)
    return order if set(order) == set(range(len(given))) and any(a > b for a, b in itertools.pairwise(order)) else None
