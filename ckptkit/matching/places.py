"""Layers of which one file tells nothing but the places of their variables: `norm/vars/0`, `norm/vars/1`.

The layer is found by its own name, as every other. Its variables are then taken in the order in which the framework of
the other side makes those of such a layer, within each shape, and the evidence says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Hashable

from ckptkit.matching.auto import evidence_of, side_labels, units_called
from ckptkit.matching.draft import MatchDraft
from ckptkit.matching.orders import Orders
from ckptkit.matching.result import Pair
from ckptkit.matching.sequence import pair_by_order
from ckptkit.matching.signatures import number_class
from ckptkit.matching.units import Unit
from ckptkit.matching.weigh import weigh
from ckptkit.model import Variable

ORDER = "order of variables"


def match_places(
    draft: MatchDraft, settled: tuple[Container[int], Container[int]]
) -> tuple[list[Pair], tuple[set[int], set[int]]]:
    """Pair the variables of layers that names pair and of which one side has places only.

    Args:
        draft: what is paired so far.
        settled: units of either side that are paired or tied.

    Returns:
        The pairs, and the units of either side that they are of.
    """
    free = (
        [i not in settled[0] for i in range(len(draft.a.units))],
        [j not in settled[1] for j in range(len(draft.b.units))],
    )
    bare = (
        [own and _bare(unit) for own, unit in zip(free[0], draft.a.units, strict=True)],
        [own and _bare(unit) for own, unit in zip(free[1], draft.b.units, strict=True)],
    )
    used: tuple[set[int], set[int]] = (set(), set())
    if not any(bare[0]) and not any(bare[1]):
        return [], used
    labels = side_labels(draft.a, draft.b)
    numbers: dict[Hashable, int] = {}
    classes = (
        [numbers.setdefault(_shapes(unit), len(numbers)) for unit in draft.a.units],
        [numbers.setdefault(_shapes(unit), len(numbers)) for unit in draft.b.units],
    )
    called = units_called(draft.a, labels[0]), units_called(draft.b, labels[1])
    verdict = weigh(
        labels[0], classes[0], labels[1], classes[1], lambda i, j: bare[0][i] != bare[1][j], free, called,
    )  # fmt: skip
    found: list[tuple[int, int, tuple[str, ...], float | None]] = []
    for i, weighed in verdict.pairs.items():
        j = weighed.target
        if weighed.edge.words or not called[0][i].words.isdisjoint(called[1][j].words):
            same = draft.a.units[i].name == draft.b.units[j].name
            found.append((i, j, evidence_of(weighed.edge, same=same), weighed.margin))
    level = [group for group in verdict.open if len(group[0]) == len(group[1])]
    if level:
        orders = Orders(draft.a, labels[0], classes[0]), Orders(draft.b, labels[1], classes[1])
        known = dict(draft.edges)
        for own, other in level:
            ordered = pair_by_order(own, other, orders, classes, known)
            if ordered and all(not called[0][i].words.isdisjoint(called[1][j].words) for i, j in ordered[0].items()):
                found += [(i, j, (ordered[1],), None) for i, j in ordered[0].items()]
    pairs = []
    for i, j, evidence, margin in sorted(found, key=lambda item: item[1]):
        used[0].add(i)
        used[1].add(j)
        pairs += [
            Pair((one.name,), (other.name,), (*evidence, ORDER), confidence=margin)
            for one, other in _in_places(_made(draft.a.units[i]), _made(draft.b.units[j]))
        ]
    return pairs, used


def _bare(unit: Unit) -> bool:
    """Whether places are all that is known of a layer's variables."""
    return not unit.forms and all(variable.name.rpartition("/")[2].isdecimal() for variable in unit.weights)


def _shapes(unit: Unit) -> Hashable:
    return tuple(sorted((variable.shape, number_class(variable.dtype)) for variable in unit.weights))


def _made(unit: Unit) -> list[Variable]:
    """The variables of a layer in the order in which its framework makes them."""
    order = {name: place for place, (_, name) in enumerate(unit.forms[0].natives)} if unit.forms else {}
    return sorted(unit.weights, key=lambda variable: order.get(variable.name, len(order)))


def _in_places(a: list[Variable], b: list[Variable]) -> list[tuple[Variable, Variable]]:
    """The variables of two layers by their places among those of one shape, in the order of `b`."""
    left: dict[tuple[int, ...], list[Variable]] = defaultdict(list)
    for variable in reversed(a):
        left[variable.shape].append(variable)
    return [(left[variable.shape].pop(), variable) for variable in b]
