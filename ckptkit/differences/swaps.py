"""Variables that are paired by name and hold each other's contents: what a loader that goes by order leaves behind."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ckptkit.differences.result import PairDiff, Swap
from ckptkit.differences.work import Both, EqualityWork, One, SketchWork
from ckptkit.engines import THREADS, Engine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.model import Checkpoint, Variable

# Bits to which sums of squares of equal contents agree, whatever pieces they were read in (see `Statistics`).
_SIZE_BITS = 30


def find_swaps(a: Checkpoint, b: Checkpoint, pairs: Sequence[PairDiff], engine: Engine = THREADS) -> tuple[Swap, ...]:
    """Cycles of equal contents among the differing pairs of equal shape.

    Args:
        a: one checkpoint.
        b: the reference.
        pairs: the outcome of comparing them.
        engine: who reads them.

    Raises:
        CkptkitError: a variable cannot be read.
    """
    differing = [
        pair
        for pair in pairs
        if pair.status == "different" and pair.note is None and len(pair.source) == len(pair.target) == 1
    ]
    candidates = [(pair.source[0], pair.target[0]) for pair in _of_equal_size(differing)]
    cycles = _cycles(a, b, candidates, engine)
    if not cycles:
        return ()
    apart: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.verdict != "identical":
            for variable in pair.source:
                apart[variable.layer].add(variable.name)
    by_layers: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for cycle in cycles:
        layers = [one.layer for one, _ in cycle]
        start = layers.index(min(layers))
        turned = [one for one, _ in cycle[start:] + cycle[:start]]
        by_layers[tuple(one.layer for one in turned)].append(tuple(one.name for one in turned))
    return tuple(swap for layers, cycles in by_layers.items() for swap in _swaps_of(layers, tuple(cycles), apart))


def _of_equal_size(differing: Sequence[PairDiff]) -> list[PairDiff]:
    """The pairs of which a side may be that of another pair: sums of squares, which are known, do not rule it out.

    Where nothing is swapped that is none, as a rule, and nothing is read again.
    """
    sorts: dict[object, list[int]] = defaultdict(list)
    for number, pair in enumerate(differing):
        sorts[_sort(pair.target[0])].append(number)
    kept: set[int] = set()
    for numbers in sorts.values():
        statistics = [differing[number].statistics for number in numbers]
        known = [each for each in statistics if each is not None and each.finite == each.count]
        if len(known) < len(numbers):  # the sums leave out what is not finite
            kept.update(numbers)
            continue
        order = sorted(range(len(known)), key=lambda place: known[place].square_b)
        sizes = [known[place].square_b for place in order]
        for number, each in zip(numbers, known, strict=True):
            slack = each.square_a >> _SIZE_BITS
            first = bisect.bisect_left(sizes, each.square_a - slack)
            if first < len(sizes) and sizes[first] <= each.square_a + slack:
                last = bisect.bisect_right(sizes, each.square_a + slack, first)
                others = {numbers[place] for place in order[first:last]} - {number}
                kept |= others | ({number} if others else set())
    return [pair for number, pair in enumerate(differing) if number in kept]


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
    a: Checkpoint, b: Checkpoint, differing: list[tuple[Variable, Variable]], engine: Engine
) -> list[list[tuple[Variable, Variable]]]:
    """Lists of pairs in which each pair's a equals the next pair's b, and the last one's the first one's."""
    follows = _equal_elsewhere(a, b, differing, engine)
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


def _equal_elsewhere(
    a: Checkpoint, b: Checkpoint, differing: list[tuple[Variable, Variable]], engine: Engine
) -> dict[int, int]:
    """Number of a pair -> number of the one other pair whose b has the same bytes as its a."""
    sorts = Counter(_sort(other) for _, other in differing)
    comparable = [
        number
        for number, (one, other) in enumerate(differing)
        if sorts[_sort(other)] > 1 and one.dtype == other.dtype != "string"
    ]
    looked_at = [One(0, differing[number][0]) for number in comparable]
    looked_at += [One(1, differing[number][1]) for number in comparable]
    sketches = engine.run(looked_at, SketchWork(a, b), cost=lambda task: task.sketch_bytes)
    alike: dict[tuple[object, bytes], list[int]] = defaultdict(list)
    for number, seen in zip(comparable, sketches[len(comparable) :], strict=True):
        alike[_sort(differing[number][1]), seen].append(number)
    likely: dict[int, int] = {}
    for number, seen in zip(comparable, sketches, strict=False):
        found = alike.get((_sort(differing[number][0]), seen), [])
        if len(found) == 1:
            likely[number] = found[0]
    tasks = [Both(differing[number][0], differing[other][1]) for number, other in likely.items()]
    compared = engine.run(tasks, EqualityWork(a, b), cost=lambda task: task.nbytes)
    return {
        number: other
        for (number, other), comparison in zip(likely.items(), compared, strict=True)
        if comparison.status == "identical"
    }


def _sort(variable: Variable) -> object:
    return variable.shape, variable.dtype
