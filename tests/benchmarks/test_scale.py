"""100,000 variables against 10,000: ten times as many should take little more than ten times as long.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import data
from tests.benchmarks.measure import ckptkit, told
from tests.benchmarks.table import Part

pytestmark = pytest.mark.benchmark

COUNTS = (10_000, 100_000)
# n log n: ten times the variables, 10 × 5 / 4 times the time.
TEN_TIMES = 12.5

_MATCH = """
import gc, sys, time
import ckptkit
from ckptkit.conventions import read_forms
from ckptkit.matching import match

gc.disable()  # as the command line does
specs = []
for path in sys.argv[2:]:
    with ckptkit.open(path) as checkpoint:
        specs.append(checkpoint.spec)
seconds = []
for _ in range(3):
    begun = time.perf_counter()
    found = match(read_forms(specs[0]), read_forms(specs[1]), by=sys.argv[1])
    seconds.append(time.perf_counter() - begun)
print(len(found.pairs), min(seconds))
"""


def pair(count: int) -> tuple[Path, Path]:
    """Two bundles of `count` variables with equal names and other values."""
    first, second = (data.many_variables(count, seed, f"many_{count}_{seed}") for seed in (1, 2))
    return first, second


def test_inspect(table: Part) -> None:
    few, many = (ckptkit("inspect", pair(count)[0], "--json") for count in COUNTS)
    base = table.add("inspect --json, 10,000 variables", few)
    row = table.add("inspect --json, 100,000 variables", many, against=base, ratio_most=TEN_TIMES, cpu_most=2)
    assert row.held


def test_diff(table: Part) -> None:
    few, many = (ckptkit("diff", *pair(count), "--json", code=1) for count in COUNTS)
    base = table.add("diff, 10,000 small variables", few)
    row = table.add(
        "diff, 100,000 small variables", many, against=base, ratio_most=TEN_TIMES, cpu_most=6, peak_most=300
    )
    assert row.held


def test_remap(table: Part) -> None:
    few, many = (
        ckptkit("remap", a, "--like", b, "-o", "never-written", "--dry-run", "--json") for a, b in map(pair, COUNTS)
    )
    base = table.add("remap --dry-run, 10,000 variables", few)
    assert table.add("remap --dry-run, 100,000 variables", many, against=base, ratio_most=TEN_TIMES, cpu_most=8).held


@pytest.mark.parametrize("by", ["order", "auto"])
def test_matching(by: str, table: Part) -> None:
    seconds = {}
    for count in COUNTS:
        pairs, took = told(_MATCH, by, *pair(count))
        assert int(pairs) == count
        seconds[count] = float(took)
    base = table.add(f"matching by {by}, 10,000 variables", seconds[10_000])
    row = table.add(
        f"matching by {by}, 100,000 variables", seconds[100_000], against=base, ratio_most=TEN_TIMES, most=30
    )
    assert row.held
