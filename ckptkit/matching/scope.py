"""Matching by scope: what names say, in words and numbers, and nothing else."""

from __future__ import annotations

from ckptkit.matching.auto import match_names_alone
from ckptkit.matching.draft import MatchDraft


def match_scope(draft: MatchDraft) -> None:
    """Pair units by their names; first those with equal parts, then those that differ in an optional one."""
    match_names_alone(draft)
