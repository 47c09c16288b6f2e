"""Variables of one layer that together hold the elements of one or more variables of the other side.

Order-free fingerprints add up: the sum over the parts of a joined kernel is that of the whole.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ckptkit.model import Fingerprint, Variable

# Gates of a recurrent cell, and query, key, value and output of attention, are the most that frameworks join.
_MOST_PARTS = 4

# Layers with more unexplained variables than this would have too many subsets to look at.
_MOST_VARIABLES = 16

_TOTAL = 1 << 128

Names = tuple[str, ...]
Content = tuple[str, int, int]


def find_joins(
    left_a: Iterable[Variable],
    prints_a: Mapping[str, Fingerprint],
    left_b: Iterable[Variable],
    prints_b: Mapping[str, Fingerprint],
) -> list[tuple[Names, Names]]:
    """(names in a, names in b) with equal elements, at least one side of several; each variable at most once.

    A combination counts only when no other combination of either side has the same elements.
    """
    sums_a, sums_b = _sums(left_a, prints_a), _sums(left_b, prints_b)
    found = [
        (sums_a[content][0], sums_b[content][0])
        for content in sums_a.keys() & sums_b.keys()
        if len(sums_a[content]) == len(sums_b[content]) == 1
    ]
    taken_a: set[str] = set()
    taken_b: set[str] = set()
    joins = []
    for source, target in sorted(found, key=lambda pair: (len(pair[0]) + len(pair[1]), pair)):
        if len(source) + len(target) > 2 and taken_a.isdisjoint(source) and taken_b.isdisjoint(target):
            joins.append((source, target))
            taken_a.update(source)
            taken_b.update(target)
    return joins


def _sums(left: Iterable[Variable], prints: Mapping[str, Fingerprint]) -> dict[Content, list[Names]]:
    """(dtype, elements, total of the order-free fingerprints) -> the subsets of one layer or scope that have it."""
    sums: dict[Content, list[Names]] = defaultdict(list)
    seen: set[Names] = set()
    for variables in _neighbours([variable for variable in left if not prints[variable.name].constant]):
        most = _MOST_PARTS if len(variables) <= _MOST_VARIABLES else 1
        for count in range(1, most + 1):
            for parts in itertools.combinations(variables, count):
                names = tuple(part.name for part in parts)
                if names not in seen and len({part.dtype for part in parts}) == 1:
                    seen.add(names)
                    total = sum(prints[name].unordered for name in names) % _TOTAL
                    sums[parts[0].dtype, sum(part.size for part in parts), total].append(names)
    return sums


def _neighbours(variables: list[Variable]) -> Iterator[list[Variable]]:
    """Variables of each layer, then of all layers directly below each scope."""
    layers: dict[str, list[Variable]] = defaultdict(list)
    scopes: dict[str, list[Variable]] = defaultdict(list)
    for variable in variables:
        layers[variable.layer or variable.name].append(variable)
        scopes[variable.layer.rpartition("/")[0] or variable.name].append(variable)
    yield from layers.values()
    yield from scopes.values()
