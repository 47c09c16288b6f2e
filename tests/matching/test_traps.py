"""Pairs that tempt a matcher into one mistake each: none is taken in silence, and what a person can tell is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matching.grading import grade, read_cases
from tests.matching.traps.kinds import TRAPS
from tests.matching.traps.trap import Trap, write_trap

pytestmark = pytest.mark.filterwarnings("ignore")  # saving in old formats warns

# What only counters tell is refused, or shown as resting on an order; the rest is told or refused.
WARNED = {
    "a_second_copy": ("refused",),
    "names_against_the_order": ("warned", "refused"),
    "towers_with_automatic_names": ("warned", "refused"),
}

SPREAD = 3  # the quick run takes every so many of a kind that has many


def _graded(kind: str, traps: list[Trap], root: Path) -> dict[str, str]:
    """What is not as it should be, by the trap's name."""
    for trap in traps:
        write_trap(trap, root / trap.name)
    verdicts = {case.name: (grade(case), case.expect) for case in read_cases(root)}
    assert len(verdicts) == len(traps)
    return {
        name: f"{verdict.status}: {verdict.detail}"
        for name, (verdict, good) in verdicts.items()
        if verdict.status not in (*good, *WARNED.get(kind, ()))
    }


def _few(kind: str) -> list[Trap]:
    every = list(TRAPS[kind]())
    return every if len(every) <= 2 * SPREAD else every[:: len(every) // SPREAD]


@pytest.mark.parametrize("kind", TRAPS)
def test_some_traps(kind: str, tmp_path: Path) -> None:
    assert not _graded(kind, _few(kind), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", TRAPS)
def test_all_traps(kind: str, tmp_path: Path) -> None:
    assert not _graded(kind, list(TRAPS[kind]()), tmp_path)
