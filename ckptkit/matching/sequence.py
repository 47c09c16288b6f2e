"""What only the order of layers tells: orders of one kind compared, where everything that can be checked agrees.

An alphabet is no order, and orders of different kinds agree in chains only.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set

from ckptkit.matching.graph import same_graph
from ckptkit.matching.orders import CREATION, DEPTH, EITHER, FILE, NUMBERS, Orders, Reading

# How unlikely an order that was made from names, or that may be one of several, has to be by luck: one in a million.
_SURE_BITS = 20.0


def pair_by_order(
    own: Sequence[int],
    other: Sequence[int],
    orders: tuple[Orders, Orders],
    classes: tuple[Sequence[int], Sequence[int]],
    known: Mapping[int, int],
) -> tuple[dict[int, int], str] | None:
    """Pair two groups of one class that names do not tell apart, or None where no order can be trusted to.

    Args:
        own: units of the source.
        other: as many of the target.
        orders: of both sides.
        classes: of all units of both sides.
        known: pairs that are certain, of any class.
    """
    wanted_a, wanted_b = set(own), set(other)
    listed = _pair_lists(wanted_a, wanted_b, orders, classes, known)
    if listed is not None:
        return listed, FILE
    parallel = orders[0].parallel(own) or orders[1].parallel(other)
    found: dict[tuple[tuple[int, int], ...], Reading] = {}
    for reading_a in orders[0].readings(own):
        for reading_b in orders[1].readings(other):
            if reading_a.says == reading_b.says == NUMBERS:  # what numbers say against numbers, names have said
                continue
            agreed = _agree(reading_a, reading_b, classes, known) if reading_a.natures & reading_b.natures else None
            if agreed is not None and not (reading_a.disputed and reading_b.disputed):
                left = [i for i in reading_a.sequence if i in wanted_a]
                right = [j for j in reading_b.sequence if j in wanted_b]
                pairs = tuple(zip(left, right, strict=True))
                counted = orders[0].counters_say(own, left), orders[1].counters_say(other, right)
                if None not in counted and counted[0] != counted[1]:
                    return None
                if reading_a.natures == reading_b.natures == DEPTH:  # what both files have, and nothing made of it
                    return _as_graphs_have_it(dict(pairs), reading_a.says, orders, known)
                if parallel and agreed < _SURE_BITS:  # which of two towers alike was made first, nobody knows
                    continue
                if agreed < _SURE_BITS and _rows_for_columns((reading_a, reading_b), orders, (own, other)):
                    continue
                if _backwards((reading_a, reading_b), orders, known):
                    continue
                if _contested(dict(pairs), (own, other), (reading_a, reading_b), orders, classes, known):
                    return None
                found.setdefault(pairs, reading_b if reading_a.says == FILE else reading_a)
    if len(found) != 1:
        return None
    pairs, reading = next(iter(found.items()))
    return _as_graphs_have_it(dict(pairs), reading.says, orders, known)


def _rows_for_columns(
    readings: tuple[Reading, Reading], orders: tuple[Orders, Orders], groups: tuple[Sequence[int], Sequence[int]]
) -> bool:
    """Whether one file lists layers depth by depth, and names of the other show towers: its list may be tower by tower."""
    return any(
        one.natures == DEPTH and other.natures == EITHER and side.in_towers(group)
        for one, other, side, group in zip(readings, readings[::-1], orders[::-1], groups[::-1], strict=True)
    )


def _backwards(readings: tuple[Reading, Reading], orders: tuple[Orders, Orders], known: Mapping[int, int]) -> bool:
    """Whether layers were made in one file from the last to the first, as what is certain shows, against users' numbers."""
    says = [reading.says for reading in readings]
    if set(says) != {FILE, NUMBERS} or readings[says.index(FILE)].natures != CREATION or not orders[1].stored:
        return False
    row = [known[i] for i in orders[0].stored if i in known]
    return len(row) > 1 and all(other < one for one, other in itertools.pairwise(row))


def _contested(
    pairs: Mapping[int, int],
    groups: tuple[Sequence[int], Sequence[int]],
    readings: tuple[Reading, Reading],
    orders: tuple[Orders, Orders],
    classes: tuple[Sequence[int], Sequence[int]],
    known: Mapping[int, int],
) -> bool:
    """Whether an order of creation meets a list that need not be one, and the file has another that fits it as well."""
    for side in (0, 1):
        stored, listed = orders[side].unsure(groups[side]), readings[1 - side]
        if stored is None or readings[side].natures != CREATION or listed.says != FILE or listed.natures == CREATION:
            continue
        both = (stored, listed) if side == 0 else (listed, stored)
        if _agree(*both, classes, known) is None:
            continue
        left, right = (
            [index for index in each.sequence if index in group] for each, group in zip(both, groups, strict=True)
        )
        if dict(zip(left, right, strict=True)) != pairs:
            return True
    return False


def _as_graphs_have_it(
    pairs: dict[int, int], says: str, orders: tuple[Orders, Orders], known: Mapping[int, int]
) -> tuple[dict[int, int], str] | None:
    """The pairs and what says so; None where graphs of both sides are known in which other layers feed them."""
    alike = same_graph({**known, **pairs}, pairs, orders[0].follows, orders[1].follows)
    return (pairs, says) if alike else None


def _pair_lists(
    own: Set[int],
    other: Set[int],
    orders: tuple[Orders, Orders],
    classes: tuple[Sequence[int], Sequence[int]],
    known: Mapping[int, int],
) -> dict[int, int] | None:
    """Pair by the lists that two functional models have of their layers, in whatever order these were made.

    Such a list follows from what feeds what, so that lists of one graph are equal; None where these are not, or where
    either side has no such list or a graph that disagrees.
    """
    lists = orders[0].list_of(own), orders[1].list_of(other)
    if lists[0] is None or lists[1] is None or _agree(lists[0], lists[1], classes, known) is None:
        return None
    alike = dict(zip(*_shared(lists[0], lists[1], classes), strict=True))
    if not same_graph(alike, own, orders[0].follows, orders[1].follows):
        return None
    return {i: alike[i] for i in own} if other == {alike.get(i) for i in own} else None


def _shared(a: Reading, b: Reading, classes: tuple[Sequence[int], Sequence[int]]) -> tuple[list[int], list[int]]:
    """The layers of each of two orders that are of a class of which both have as many."""
    counts = Counter([classes[0][i] for i in a.sequence]), Counter([classes[1][j] for j in b.sequence])
    shared = {number for number, count in counts[0].items() if counts[1].get(number) == count and number >= 0}
    return [i for i in a.sequence if classes[0][i] in shared], [j for j in b.sequence if classes[1][j] in shared]


def _agree(
    a: Reading, b: Reading, classes: tuple[Sequence[int], Sequence[int]], known: Mapping[int, int]
) -> float | None:
    """How unlikely it is, in bits, that two orders have the same classes in the same places by luck.

    None where they do not, or where a pair that is certain stands in two places.
    """
    left, right = _shared(a, b, classes)
    if [classes[0][i] for i in left] != [classes[1][j] for j in right]:
        return None
    bits = _bits([classes[0][i] for i in left])
    if (a.made or b.made) and bits < _SURE_BITS:
        return None
    places = {j: place for place, j in enumerate(right)}
    agreed = all(places.get(known[i], place) == place for place, i in enumerate(left) if i in known)
    return bits if agreed else None


def _bits(sequence: Sequence[int]) -> float:
    """How unlikely it is that the classes stand in this order by luck: the logarithm of the number of orders."""
    counts = Counter(sequence).values()
    return (math.lgamma(len(sequence) + 1) - sum(math.lgamma(count + 1) for count in counts)) / math.log(2)
