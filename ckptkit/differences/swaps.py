"""Variables that are paired by name and hold each other's contents: what a loader that goes by order leaves behind."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ckptkit.compare import Tolerance, Workspace
from ckptkit.differences.reading import compare_variables, sketch
from ckptkit.differences.result import PairDiff, Swap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.model import Checkpoint, Variable


def find_swaps(a: Checkpoint, b: Checkpoint, pairs: Sequence[PairDiff]) -> tuple[Swap, ...]:
    """Cycles of equal contents among the differing pairs of equal shape.

    Args:
        a: one checkpoint.
        b: the reference.
        pairs: the outcome of comparing them.

    Raises:
        CkptkitError: a variable cannot be read.
    """
    differing = [
        (pair.source[0], pair.target[0])
        for pair in pairs
        if pair.status == "different" and pair.note is None and len(pair.source) == len(pair.target) == 1
    ]
    apart: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.verdict != "identical":
            for variable in pair.source:
                apart[variable.layer].add(variable.name)
    by_layers: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for cycle in _cycles(a, b, differing):
        layers = [one.layer for one, _ in cycle]
        start = layers.index(min(layers))
        turned = [one for one, _ in cycle[start:] + cycle[:start]]
        by_layers[tuple(one.layer for one in turned)].append(tuple(one.name for one in turned))
    return tuple(swap for layers, cycles in by_layers.items() for swap in _swaps_of(layers, tuple(cycles), apart))


def _swaps_of(
    layers: tuple[str, ...], cycles: tuple[tuple[str, ...], ...], apart: Mapping[str, set[str]]
) -> list[Swap]:
    """One swap of whole layers where that explains all that differs in them, else one for each cycle of variables."""
    explained = {name for cycle in cycles for name in cycle}
    whole = all(apart[layer] <= explained for layer in layers)
    if whole and len(set(layers)) == len(layers) and "" not in layers:
        return [Swap(layers, cycles, whole)]
    return [Swap(cycle, (cycle,), whole) for cycle in cycles]


def _cycles(
    a: Checkpoint, b: Checkpoint, differing: list[tuple[Variable, Variable]]
) -> list[list[tuple[Variable, Variable]]]:
    """Lists of pairs in which each pair's a equals the next pair's b, and the last one's the first one's."""
    follows = _equal_elsewhere(a, b, differing)
    cycles = []
    seen: set[int] = set()
    for start in follows:
        path: list[int] = []
        at: int | None = start
        while at is not None and at not in seen:
            seen.add(at)
            path.append(at)
            at = follows.get(at)
        if at is not None and at in path:
            cycles.append([differing[number] for number in path[path.index(at) :]])
    return cycles


def _equal_elsewhere(a: Checkpoint, b: Checkpoint, differing: list[tuple[Variable, Variable]]) -> dict[int, int]:
    """Number of a pair -> number of the one other pair whose b has the same bytes as its a."""
    sorts = Counter(_sort(other) for _, other in differing)
    comparable = [
        number
        for number, (one, other) in enumerate(differing)
        if sorts[_sort(other)] > 1 and one.dtype == other.dtype != "string"
    ]
    alike: dict[tuple[object, bytes], list[int]] = defaultdict(list)
    for number in comparable:
        other = differing[number][1]
        alike[_sort(other), sketch(b, other)].append(number)
    follows: dict[int, int] = {}
    work = Workspace()
    for number in comparable:
        one = differing[number][0]
        found = alike.get((_sort(one), sketch(a, one)), [])
        if len(found) == 1:
            comparison = compare_variables(a, one, b, differing[found[0]][1], Tolerance(), work)
            if comparison.status == "identical":
                follows[number] = found[0]
    return follows


def _sort(variable: Variable) -> object:
    return variable.shape, variable.dtype
