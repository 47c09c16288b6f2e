"""What feeds what, as far as a file tells: which layers follow which, and how many channels each takes and gives."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ckptkit.matching.units import Side, Unit

# Kinds whose kernel tells how many channels they take and give: [..., inputs, outputs].
_FLOWING = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense", "GRU", "LSTM", "SimpleRNN"})


def read_follows(side: Side) -> dict[int, list[int]] | None:
    """Which layers each layer feeds, where the graph of all of them is known; in the order of the file."""
    if not side.units or any(unit.feeds is None for unit in side.units if unit.is_layer):
        return None
    places = {unit.original: index for index, unit in enumerate(side.units)}
    found: dict[int, list[int]] = {index: [] for index, unit in enumerate(side.units) if unit.is_layer}
    for index in list(found):
        for name in dict.fromkeys(side.units[index].feeds or ()):
            if name in places and places[name] != index and places[name] in found:
                found[places[name]].append(index)
    return found


def leads(follows: Mapping[int, Sequence[int]], start: int, end: int) -> bool:
    """Whether what `start` gives reaches `end`."""
    seen = {start}
    stack = [start]
    while stack:
        for other in follows[stack.pop()]:
            if other == end:
                return True
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return False


def tower_by_tower(follows: Mapping[int, Sequence[int]]) -> tuple[int, ...] | None:
    """The layers in the order of a program that follows each branch to its end; None where they go in circles."""
    waits = Counter([other for after in follows.values() for other in after])
    stack = [index for index in reversed(list(follows)) if not waits[index]]
    found: list[int] = []
    while stack:
        index = stack.pop()
        found.append(index)
        for other in reversed(follows[index]):
            waits[other] -= 1
            if not waits[other]:
                stack.append(other)
    return tuple(found) if len(found) == len(follows) else None


def goes_along(follows: Mapping[int, Sequence[int]], order: Sequence[int] | None, sequence: Sequence[int]) -> bool:
    """Whether no layer of a sequence stands before one that feeds it, straight or through others.

    Args:
        follows: what each layer feeds.
        order: all layers, each after those that feed it; None where they go in circles.
        sequence: some of them.
    """
    if order is None:
        return False
    places = {index: place for place, index in enumerate(sequence)}
    latest: dict[int, int] = {}
    for index in order:
        place = places.get(index, -1)
        before = latest.get(index, -1)
        if index in places and place < before:
            return False
        for other in follows[index]:
            latest[other] = max(latest.get(other, -1), before, place)
    return True


def turned_round(pairs: Mapping[int, int], a: Side, b: Side) -> set[int]:
    """Sources of pairs of which one graph leads from the first to the second, and the other from the second to the first."""
    if len(pairs) < 2:
        return set()
    follows = read_follows(a), read_follows(b)
    if follows[0] is None or follows[1] is None:
        return set()
    orders = tower_by_tower(follows[0]), tower_by_tower(follows[1])
    if orders[0] is None or orders[1] is None:
        return set()
    places = {j: place for place, j in enumerate(orders[1])}
    row = [i for i in orders[0] if pairs.get(i) in places]
    found = set()
    for one, other in itertools.pairwise(row):
        back = places[pairs[other]] < places[pairs[one]]
        if back and leads(follows[0], one, other) and leads(follows[1], pairs[other], pairs[one]):
            found |= {one, other}
    return found


def same_graph(
    pairs: Mapping[int, int],
    own: Iterable[int],
    follows_a: Mapping[int, Sequence[int]] | None,
    follows_b: Mapping[int, Sequence[int]] | None,
) -> bool:
    """Whether each of `own` feeds the partners of what its own partner feeds; or one graph is not known."""
    if follows_a is None or follows_b is None:
        return True
    back = set(pairs.values())
    return all(
        {pairs[after] for after in follows_a[i] if after in pairs} == back.intersection(follows_b[pairs[i]])
        for i in own
    )


def flow_of(unit: Unit) -> tuple[int, int] | None:
    """(inputs, outputs) of a matrix product, a convolution or a recurrent layer; None for what takes and gives alike."""
    if not unit.forms:
        return None
    form = unit.forms[0]
    kernel = next((part.shape for part in form.parts if part.role == "kernel"), ())
    recurrent = next((part.shape for part in form.parts if part.role == "recurrent_kernel"), None)
    if len(kernel) < 2 or form.kind not in _FLOWING:
        return None
    return kernel[-2], recurrent[0] if recurrent else kernel[-1]
