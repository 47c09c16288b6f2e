"""Towers: layers that one side repeats with weights of their own and the other side has once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ckptkit.matching.draft import Fan, MatchDraft
from ckptkit.matching.names import best_tail
from ckptkit.matching.paths import LayerPath

EVIDENCE = "fan-out"


def fan_out(draft: MatchDraft) -> None:
    """Let sources fill several targets, and several sources that must be equal feed one target.

    Only layers that are still free get company, and only where the repetition is plain: the one layer of its class
    against several whose names are related, names that say which is repeated, or whole towers of equal length under
    scopes of their own.
    """
    numbers_a, numbers_b = draft.classes()
    groups: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, numbers in enumerate((numbers_a, numbers_b)):
        for index, number in enumerate(numbers):
            groups[number][side].append(index)
    recorded = draft.a.recorded and draft.b.recorded
    for own, other in groups.values():
        if own and len(own) < len(other):
            free = [j for j in other if j not in draft.taken]
            origins, word = _origins(own, other, free, draft.paths_a, draft.paths_b, recorded)
            _fill(draft, origins, (word, EVIDENCE))
        elif other and len(other) < len(own):
            free = [i for i in own if i not in draft.links]
            origins, word = _origins(other, own, free, draft.paths_b, draft.paths_a, recorded)
            _collect(draft, origins, (word, EVIDENCE))


def _fill(draft: MatchDraft, origins: Mapping[int, int], evidence: tuple[str, ...]) -> None:
    for j, i in origins.items():
        fit = draft.fit(i, j)
        if fit is None:
            continue
        if i in draft.links:
            draft.fans[j] = Fan(i, fit, evidence)
        else:
            draft.settle(i, j, fit, evidence)


def _collect(draft: MatchDraft, origins: Mapping[int, int], evidence: tuple[str, ...]) -> None:
    for i, j in origins.items():
        fit = draft.fit(i, j)
        if fit is None:
            continue
        if j in draft.taken:
            draft.copies.setdefault(j, []).append((i, fit))
        else:
            draft.settle(i, j, fit, evidence)


def _origins(
    once: list[int],
    repeated: list[int],
    free: list[int],
    paths_once: Sequence[LayerPath],
    paths_repeated: Sequence[LayerPath],
    recorded: bool,
) -> tuple[Mapping[int, int], str]:
    """Which of `once` each of the `free` among `repeated` repeats, and what says so; empty where that is not plain.

    Args:
        once: units of one class on the side that has fewer.
        repeated: units of that class on the side that has more.
        free: those of `repeated` that are not paired yet.
        paths_once: paths of the side with fewer.
        paths_repeated: paths of the side with more.
        recorded: whether the order of both sides can be trusted.
    """
    if len(once) == 1:
        related = _related([paths_repeated[index] for index in repeated])
        return (dict.fromkeys(free, once[0]) if related else {}), "shape"
    words = {index: paths_once[index].words for index in once}
    tails = {index: best_tail(paths_repeated[index].words, words) for index in free}
    named = {index: origin for index, origin in tails.items() if origin is not None}
    if len(named) == len(free) and (len(free) < len(repeated) or len(set(named.values())) == len(once)):
        return named, "scope"
    if recorded and len(free) == len(repeated):
        return _towers(once, repeated, paths_repeated), "order"
    return {}, ""


def _related(paths: Sequence[LayerPath]) -> bool:
    """Whether all names share a word: repetitions of one layer are called alike, two layers of equal shape are not."""
    words = [{word for base in path.bases for word in re.split(r"[_\d]+", base) if word} for path in paths]
    return bool(set.intersection(*words))


def _towers(once: list[int], repeated: list[int], paths: Sequence[LayerPath]) -> dict[int, int]:
    """The repetitions by rank, where each tower has a scope of its own and as many of these layers as `once`."""
    towers: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in repeated:
        towers[paths[index].words[:-1]].append(index)
    if len(towers) < 2 or any(len(tower) != len(once) for tower in towers.values()):
        return {}
    return {index: once[rank] for tower in towers.values() for rank, index in enumerate(tower)}
