"""Layers told by what stands before them: a normalisation behind the convolution that feeds it.

Where a graph is known, what feeds a layer stands before it. Elsewhere it is what a program made just before it, as long
as all layers of the class are made so: `conv1, bn1, conv2, bn2`, and not `conv1, conv2, bn1, bn2`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set

from ckptkit.matching.draft import MatchDraft
from ckptkit.matching.graph import flow_of
from ckptkit.matching.orders import Orders
from ckptkit.matching.units import Side, Unit

Numbers = tuple[Sequence[int], Sequence[int]]


def pair_followers(draft: MatchDraft, orders: tuple[Orders, Orders], numbers: Numbers, asked: Set[int]) -> None:
    """Pair what is free, belongs to a class of which names left a choice, and stands behind layers that are paired.

    Where there is no choice to be made, what a layer stands behind is no reason for a pair: a new head stands where the
    old one stood.

    Args:
        draft: what is paired so far.
        orders: of both sides, which know what feeds what.
        numbers: the class of every unit of either side.
        asked: the classes.
    """
    before = _befores(draft.a, orders[0], numbers[0]), _befores(draft.b, orders[1], numbers[1])
    against = {
        numbers[1][j]
        for i, j in draft.edges
        if i in before[0] and j in before[1]
        for source in [draft.taken.get(before[1][j])]
        if source is not None and source != before[0][i]
    }
    while True:
        waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, source in before[0].items():
            if i not in draft.links and numbers[0][i] in asked:
                waiting[source, numbers[0][i]].append(i)
        wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
        for j, target in before[1].items():
            if j not in draft.taken and target in draft.taken and numbers[1][j] not in against:
                wanted[draft.taken[target], numbers[1][j]].append(j)
        new = [
            draft.link(waiting[key][0], own[0], (f"behind: {_behind(draft, key[0])}",))
            for key, own in wanted.items()
            if len(own) == len(waiting[key]) == 1
        ]
        if not any(new):
            return


def _behind(draft: MatchDraft, source: int) -> str:
    return f"{draft.a.units[source].name} = {draft.b.units[draft.links[source].target].name}"


def _befores(side: Side, orders: Orders, numbers: Sequence[int]) -> dict[int, int]:
    """Which layer stands before each that has one before it."""
    if orders.follows is not None:
        feeds: dict[int, list[int]] = defaultdict(list)
        for index, after in orders.follows.items():
            for other in after:
                feeds[other].append(index)
        return {
            index: sources[0]
            for index, sources in feeds.items()
            if len(sources) == 1 and _feeds(side.units, sources[0], index)
        }
    if not side.recorded:
        return {}
    sequence = [index for index, unit in enumerate(side.units) if unit.is_layer and unit.ordered]
    found = dict(zip(sequence[1:], sequence, strict=False))
    spoiled = {numbers[index] for index in sequence if not _feeds(side.units, found.get(index), index)}
    return {index: before for index, before in found.items() if numbers[index] not in spoiled}


def _feeds(units: Sequence[Unit], before: int | None, index: int) -> bool:
    """Whether what stands before a layer gives what the layer normalises."""
    if before is None:
        return False
    flow = flow_of(units[before])
    widths = {variable.shape for variable in units[index].weights}
    return flow is not None and widths == {(flow[1],)}
