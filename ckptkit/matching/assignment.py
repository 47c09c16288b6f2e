"""The best assignment of two groups, and by how much each of its pairs is better than the best without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pair of the best assignment: target, score, and what the whole loses where this pair is forbidden."""

    target: int
    score: float
    margin: float


def assign(scores: np.ndarray) -> dict[int, Chosen]:
    """The assignment of rows to columns of the greatest total; a row or column may stay alone, which counts 0.

    The Hungarian method by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987). The margin of a pair comes
    from one more augmentation, with the pair forbidden, from the dual solution that is there already.

    Args:
        scores: [rows, columns], -inf for what may not be paired.

    Returns:
        row -> what it is paired with; rows that stay alone are not in it.
    """
    import numpy as np

    rows, columns = scores.shape
    # A column of its own for each row, and a row of its own for each column: to stay alone.
    size = rows + columns
    costs = np.zeros((size, size))
    costs[:rows, :columns] = np.where(np.isneginf(scores), np.inf, -scores)
    costs[:rows, columns:] = np.inf
    costs[rows:, :columns] = np.inf
    costs[np.arange(rows), columns + np.arange(rows)] = 0.0
    costs[rows + np.arange(columns), np.arange(columns)] = 0.0
    state = _State(costs)
    for row in range(size):
        state.augment(row)
    total = state.total()
    found = {}
    for row in range(rows):
        column = int(state.column_of[row])
        if column < columns:
            margin = state.without(row).total() - total
            found[row] = Chosen(column, float(scores[row, column]), float(margin))
    return found


class _State:
    """A partial assignment with the potentials that prove it the best."""

    def __init__(self, costs: np.ndarray) -> None:
        import numpy as np

        self._costs = costs
        size = len(costs)
        self._u = np.zeros(size)
        self._v = np.zeros(size)
        self.column_of = np.full(size, -1)
        self._row_of = np.full(size, -1)

    def total(self) -> float:
        """Cost of the assignment."""
        return float(sum(self._costs[row, column] for row, column in enumerate(self.column_of)))

    def without(self, row: int) -> _State:
        """The best assignment in which `row` is not paired with what it is paired with here."""
        import numpy as np

        other = _State(self._costs.copy())
        other._u, other._v = self._u.copy(), self._v.copy()
        other.column_of, other._row_of = self.column_of.copy(), self._row_of.copy()
        column = int(other.column_of[row])
        other._costs[row, column] = np.inf
        other.column_of[row], other._row_of[column] = -1, -1
        other.augment(row)
        return other

    def augment(self, row: int) -> None:
        """Give `row` a column along the shortest path through the columns that are taken."""
        import numpy as np

        size = len(self._costs)
        distance = np.full(size, np.inf)
        before = np.full(size, -1)
        done = np.zeros(size, bool)
        current, reached = row, 0.0
        while True:
            steps = reached + self._costs[current] - self._u[current] - self._v
            shorter = ~done & (steps < distance)
            distance[shorter] = steps[shorter]
            before[shorter] = current
            column = int(np.where(done, np.inf, distance).argmin())
            reached = distance[column]
            done[column] = True
            if self._row_of[column] < 0:
                break
            current = int(self._row_of[column])
        end = reached
        for other in np.flatnonzero(done):
            if other != column:
                self._u[self._row_of[other]] += end - distance[other]
                self._v[other] -= end - distance[other]
        self._u[row] += end
        while True:
            previous = int(before[column])
            self._row_of[column] = previous
            self.column_of[previous], column = column, int(self.column_of[previous])
            if previous == row:
                break


def components(edges: Mapping[tuple[int, int], float]) -> list[tuple[list[int], list[int]]]:
    """Rows and columns that edges connect, each component once."""
    neighbours: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i, j in edges:
        neighbours.setdefault((0, i), []).append((1, j))
        neighbours.setdefault((1, j), []).append((0, i))
    seen: set[tuple[int, int]] = set()
    found = []
    for start in neighbours:
        if start in seen:
            continue
        seen.add(start)
        stack = [start]
        group: tuple[list[int], list[int]] = ([], [])
        while stack:
            side, index = stack.pop()
            group[side].append(index)
            for other in neighbours[side, index]:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        found.append((sorted(group[0]), sorted(group[1])))
    return found
