"""How often random pairs of files that hold one network's weights are right, refused, or silently wrong."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from pathlib import Path

import pytest

from tests.matching.grading import Case, Verdict, described, grade, read_cases
from tests.matching.networks.pairs import make_pair

pytestmark = pytest.mark.filterwarnings("ignore")  # saving in old formats warns

# The share of pairs that is refused today, by what the two files hold. A Keras 3 checkpoint has lost what lies in a list, and
# one of a subclass the names behind `layers`: these are refused whatever else is known.
REFUSED = {
    "the user's words in both, call order kept": 0.1,
    "the user's words in both, order lost": 0.1,
    "words missing, call order kept": 0.3,
}

# The share that is wrong where the plan says that only an order speaks for it. None is wrong in silence.
WARNED = 0.02


def _graded(seeds: range, root: Path) -> list[tuple[Case, Verdict]]:
    for seed in seeds:
        make_pair(seed, root / f"{seed:05}")
    return [(case, grade(case)) for case in read_cases(root)]


def _most(share: float, count: int) -> float:
    """The most that a sample of `count` may hold of what is `share` of all: two standard deviations above it."""
    return max(1, share * count + 2 * sqrt(share * (1 - share) * count))


def _hold(outcomes: list[tuple[Case, Verdict]]) -> None:
    bad = [(case.name, verdict) for case, verdict in outcomes if verdict.status in ("wrong", "dropped", "crash")]
    assert not bad
    assert sum(verdict.status == "warned" for _, verdict in outcomes) <= _most(WARNED, len(outcomes))
    plain = [(case, verdict) for case, verdict in outcomes if not case.known["twist"]]
    sums, refused = Counter(described(case) for case, _ in plain), Counter[str]()
    for case, verdict in plain:
        refused[described(case)] += verdict.status == "refused"
    for group, share in REFUSED.items():
        assert sums[group]
        assert refused[group] <= _most(share, sums[group]), (group, refused[group], sums[group])


def test_few_pairs(tmp_path: Path) -> None:
    _hold(_graded(range(1000, 1024), tmp_path))


@pytest.mark.slow
def test_more_pairs(tmp_path: Path) -> None:
    _hold(_graded(range(2000, 2040), tmp_path))


@pytest.mark.exhaustive
def test_many_pairs(tmp_path: Path) -> None:
    _hold(_graded(range(3000, 3300), tmp_path))
