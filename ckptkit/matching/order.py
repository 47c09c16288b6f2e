"""Matching by order: weight-bearing layers in order, aligned on what they hold."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from ckptkit.matching.align import Alignment, align
from ckptkit.matching.draft import MatchDraft
from ckptkit.matching.names import NameMatch, match_names
from ckptkit.matching.paths import LayerPath
from ckptkit.matching.units import Side

ORDER = ("order",)
SHAPE = ("shape",)
MOVED = ("shape", "order (another place)")

# A tie that names break is a new fixed point, which can break further ties; more rounds than these add nothing.
_ROUNDS = 4

_SEVERAL = "equal roles and shapes, and the order fits in more than one way"
_CONTRARY = "equal roles and shapes; the order says one thing and the names another"


def match_order(draft: MatchDraft) -> None:
    """Pair units by their order; names break ties between equal signatures, and contradict where users gave them."""
    _match(draft, draft.classes())
    if not draft.settled:
        _match(draft, draft.untied_classes(loose=True))


def _match(draft: MatchDraft, numbers: tuple[list[int], list[int]]) -> None:
    names = match_names(*numbers, draft.paths_a, draft.paths_b)
    given = {i: j for i, j in names.pairs.items() if not (draft.paths_a[i].automatic or draft.paths_b[j].automatic)}
    alignment, broken = _align_with_names(draft, numbers, given)
    for i, j in broken:
        draft.link(i, j, ("order", "scope"))
    _accept(draft, alignment, names, given)


def _align_with_names(
    draft: MatchDraft, numbers: tuple[list[int], list[int]], given: dict[int, int]
) -> tuple[Alignment, list[tuple[int, int]]]:
    """Align around the pairs there are, and again with the ties that given names break as further fixed points."""
    fixed = draft.edges
    alignment = align_sides(draft, numbers, fixed)
    for _ in range(_ROUNDS):
        broken: list[tuple[int, int]] = []
        for group_a, group_b in alignment.ties:
            targets = set(group_b)
            broken.extend((i, given[i]) for i in group_a if given.get(i) in targets)
        if not broken:
            break
        fixed = sorted([*fixed, *broken])
        alignment = align_sides(draft, numbers, fixed)
    return alignment, [edge for edge in fixed if edge[0] not in draft.links]


def _accept(draft: MatchDraft, alignment: Alignment, names: NameMatch, given: dict[int, int]) -> None:
    given_to = {j: i for i, j in given.items()}
    claimed = {j: i for i, j in names.pairs.items()}
    for edges, evidence in ((alignment.pairs, ORDER), (alignment.moved, moved_evidence(draft))):
        for i, j in edges:
            others_a, others_b = {i, given_to.get(j, i)}, {j, given.get(i, j)}
            if len(others_a) > 1 or len(others_b) > 1:
                draft.tie(sorted(others_a), sorted(others_b), _CONTRARY)
            elif names.pairs.get(i) == j:
                draft.link(i, j, (*evidence, "scope"))
            elif i in names.pairs or j in claimed:
                draft.link(i, j, (*evidence, "names disagree"))
            else:
                draft.link(i, j, evidence)
    for group_a, group_b in alignment.ties:
        draft.tie(group_a, group_b, _SEVERAL)


def moved_evidence(draft: MatchDraft) -> tuple[str, ...]:
    """What a pair rests on that stands in another place: where an order is only the alphabet's, it has no place."""
    return MOVED if draft.a.recorded and draft.b.recorded else SHAPE


def align_sides(
    draft: MatchDraft, numbers: tuple[Sequence[int], Sequence[int]], fixed: Sequence[tuple[int, int]]
) -> Alignment:
    """Align the units on their classes, around the pairs in `fixed`, as far as either side's order can be trusted."""
    if draft.a.recorded and draft.b.recorded:
        return _with_numbered(draft, numbers, align(*numbers, fixed))
    return _by_class(draft, numbers, fixed)


def _with_numbered(draft: MatchDraft, numbers: tuple[Sequence[int], Sequence[int]], found: Alignment) -> Alignment:
    """Pair ties that are a whole class, equally many and numbered on both sides, in the order of their numbers.

    Others stand between them in another way: a module lists its convolutions, then its normalisations, where a model
    lists them in turn. Which comes first among themselves both sides say.
    """
    counts = Counter(numbers[0]), Counter(numbers[1])
    ties, found.ties = found.ties, []
    for group_a, group_b in ties:
        number = numbers[0][group_a[0]]
        whole = len(group_a) == len(group_b) == counts[0][number] == counts[1][number]
        if whole and _numbered(group_a, draft.paths_a) and _numbered(group_b, draft.paths_b):
            found.moved.extend(zip(group_a, group_b, strict=True))
        else:
            found.ties.append((group_a, group_b))
    return found


def _by_class(
    draft: MatchDraft, numbers: tuple[Sequence[int], Sequence[int]], fixed: Sequence[tuple[int, int]]
) -> Alignment:
    """What an order that was made from names can tell: the only ones of a class, and numbered ones of equal count."""
    found = Alignment()
    fixed_a, fixed_b = {i for i, _ in fixed}, {j for _, j in fixed}
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for side, own in enumerate(numbers):
        for index, number in enumerate(own):
            if number >= 0:
                groups.setdefault(number, ([], []))[side].append(index)
    for group_a, group_b in groups.values():
        free_a, free_b = [i for i in group_a if i not in fixed_a], [j for j in group_b if j not in fixed_b]
        if len(group_a) == 1 == len(group_b) and free_a and free_b:
            found.moved.append((group_a[0], group_b[0]))
        elif (
            len(free_a) == len(group_a) == len(group_b) == len(free_b)
            and _ordered(draft.a, group_a, draft.paths_a)
            and _ordered(draft.b, group_b, draft.paths_b)
        ):
            found.pairs.extend(zip(group_a, group_b, strict=True))
        elif free_a and free_b:
            found.ties.append((free_a, free_b))
    return found


def _ordered(side: Side, group: list[int], paths: Sequence[LayerPath]) -> bool:
    """Whether the order among these units is more than the alphabet's: recorded, or counters of one name that rise."""
    return side.recorded or (side.order_source == "natural" and _numbered(group, paths))


def _numbered(group: list[int], paths: Sequence[LayerPath]) -> bool:
    """Whether these units are called alike but for counters, which rise in the order of the units."""
    counters = [paths[index].counters for index in group]
    rising = all(one < other for one, other in itertools.pairwise(counters))
    return rising and len({paths[index].bases for index in group}) == 1
