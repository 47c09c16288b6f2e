"""Matching on all evidence: equal names first, then what scope and order agree on, then what only one of them says.

Evidence that contradicts itself is shown: a name that a user gave outweighs the order and says so, an automatic name
does not, and what is left undecided is a tie.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from ckptkit.matching.draft import Draft
from ckptkit.matching.names import NameMatch, distrust, match_names
from ckptkit.matching.order import ORDER, align_sides, moved_evidence

_SEVERAL = "equal roles and shapes, and neither names nor order tell them apart"
_CONTRARY = "equal roles and shapes; the order says one thing and the names another"


def match_auto(draft: Draft) -> None:
    """Pair units on all the evidence that names and order give."""
    pairs = _equal_names(draft)
    complete = len(pairs) in (len(draft.a.units), len(draft.b.units))
    if complete and _in_order(pairs):
        for i, j in pairs.items():
            draft.link(i, j, ("name",))
        if draft.settled:
            return
    numbers = draft.classes()
    if not complete:
        distrust(pairs, *numbers, draft.paths_a, draft.paths_b)
    doubtful = _against_order(draft, pairs, numbers)
    unlike: list[tuple[int, int]] = []
    for i, j in pairs.items():
        given = not (draft.paths_a[i].automatic or draft.paths_b[j].automatic)
        if i in doubtful and not given:
            continue
        evidence = ("name (order disagrees)",) if i in doubtful else ("name",)
        if not draft.link(i, j, evidence) and given:
            unlike.append((i, j))
    _tie_doubtful(draft, pairs, doubtful, numbers[0])
    _match_rest(draft, numbers, unlike)
    if not draft.settled:
        _match_rest(draft, draft.untied_classes(loose=True), unlike)
    for i, j in pairs.items():
        if draft.is_free(i, j) and not (draft.a.units[i].forms and draft.b.units[j].forms):
            draft.shared.append((i, j))


def _equal_names(draft: Draft) -> dict[int, int]:
    """Units of equal name; a name that occurs twice on one side (after renaming) is none."""
    places: dict[str, int | None] = {}
    for i, unit in enumerate(draft.a.units):
        places[unit.name] = None if unit.name in places else i
    pairs = {}
    for j, unit in enumerate(draft.b.units):
        place = places.get(unit.name)
        if place is not None:
            pairs[place] = j
    return pairs


def _in_order(pairs: dict[int, int]) -> bool:
    targets = [pairs[i] for i in sorted(pairs)]
    return all(one < other for one, other in itertools.pairwise(targets))


def _against_order(draft: Draft, pairs: dict[int, int], numbers: tuple[list[int], list[int]]) -> set[int]:
    """Those of the pairs by name that stand in another order among the pairs of their class."""
    if not (draft.a.recorded and draft.b.recorded) or _in_order(pairs):
        return set()
    groups: dict[int, list[int]] = defaultdict(list)
    for i in sorted(pairs):
        groups[numbers[0][i]].append(i)
    return {
        i
        for group in groups.values()
        for i, j in zip(group, sorted(pairs[i] for i in group), strict=True)
        if pairs[i] != j
    }


def _tie_doubtful(draft: Draft, pairs: dict[int, int], doubtful: set[int], numbers: list[int]) -> None:
    """Automatic names in another order: the names were given by a counter, so that either of the two may be right."""
    groups: dict[int, list[int]] = defaultdict(list)
    for i in sorted(doubtful - draft.links.keys()):
        groups[numbers[i]].append(i)
    for group in groups.values():
        draft.tie(group, [pairs[i] for i in group], _CONTRARY)


def _match_rest(draft: Draft, numbers: tuple[list[int], list[int]], unlike: list[tuple[int, int]]) -> None:
    """Pair what is left by paths and order.

    `unlike` are layers to which their user gave one name and that do not fit: the order pairs neither with a third.
    """
    unlike_a, unlike_b = {i for i, _ in unlike}, {j for _, j in unlike}
    names = match_names(*numbers, draft.paths_a, draft.paths_b)
    alignment = align_sides(draft, numbers, draft.edges)
    by_order = dict(alignment.pairs)
    _link_names(draft, names, by_order)
    if not draft.settled:
        alignment = align_sides(draft, numbers, draft.edges)
        for edges, evidence in ((alignment.pairs, ORDER), (alignment.moved, moved_evidence(draft))):
            for i, j in edges:
                if i not in unlike_a and j not in unlike_b:
                    draft.link(i, j, evidence)
    for group_a, group_b in (*alignment.ties, *names.ties):
        draft.tie(group_a, group_b, _SEVERAL)


def _link_names(draft: Draft, names: NameMatch, by_order: dict[int, int]) -> None:
    """Pair what names say: together with the order, without it, or (names that users gave) against it."""
    ordered_from = {j: i for i, j in by_order.items()}
    contrary = []
    for i, j in names.pairs.items():
        if i in draft.links or j in draft.taken:
            continue
        if by_order.get(i) == j:
            draft.link(i, j, ("scope", "order"))
        elif i not in by_order and j not in ordered_from:
            draft.link(i, j, ("scope",))
        elif not (draft.paths_a[i].automatic or draft.paths_b[j].automatic):
            draft.link(i, j, ("scope (order disagrees)",))
        else:
            contrary.append((i, j))
    for i, j in contrary:
        draft.tie([i, ordered_from.get(j, i)], [j, by_order.get(i, j)], _CONTRARY)
