"""Matching by scope: what the paths say, after rename rules, without prefixes and counters that carry no meaning."""

from __future__ import annotations

from ckptkit.matching.draft import Draft
from ckptkit.matching.names import match_names

_WHY = "equal roles and shapes, and their names fit equally well"


def match_scope(draft: Draft) -> None:
    """Pair units by their paths; first those with equal parts, then those that differ in an optional one."""
    _match(draft, draft.classes())
    if not draft.settled:
        _match(draft, draft.untied_classes(loose=True))


def _match(draft: Draft, numbers: tuple[list[int], list[int]]) -> None:
    found = match_names(*numbers, draft.paths_a, draft.paths_b)
    for i, j in found.pairs.items():
        draft.link(i, j, ("scope", "order") if i in found.numbered else ("scope",))
    for group_a, group_b in found.ties:
        draft.tie(group_a, group_b, _WHY)
