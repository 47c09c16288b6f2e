"""`ckptkit remap` of 1.24 GiB, read-back included, against `cp`; matching of 100,000 variables.

pytest tests/benchmarks -m benchmark -s
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ckptkit
from tests.benchmarks import data
from tests.benchmarks.measure import MIB, run, show
from tests.conftest import ROOT

pytestmark = pytest.mark.benchmark


def test_a_bundle_into_hdf5(tmp_path: Path) -> None:
    source, like, output = data.folder() / "named", data.hdf5("other", 2), tmp_path / "out.weights.h5"
    ckptkit.convert(data.hdf5("one", 1), source, to="tensor-bundle", force=True)
    copy = tmp_path / "copy"
    base = run("cp", like, copy, output=copy)
    synced = run("bash", "-c", f"cp {like} {copy} && sync {copy}", output=copy)
    copy.unlink()
    print()
    show("cp of the same bytes", base, base)
    show("cp and sync", synced, base)
    found = run(sys.executable, "-m", "ckptkit", "remap", source, "--like", like, "-o", output, output=output)
    ratio = show("remap, bundle of 1.24 GiB into HDF5", found, base)
    assert (found.code, found.peak < 250 * MIB) == (0, True)
    assert ratio <= 2.5


_MATCH = """
import sys, time
import ckptkit
from ckptkit.conventions import read_forms
from ckptkit.matching import match

specs = []
for path in sys.argv[2:]:
    with ckptkit.open(path) as checkpoint:
        specs.append(checkpoint.spec)
begun = time.perf_counter()
found = match(read_forms(specs[0]), read_forms(specs[1]), by=sys.argv[1])
print(len(found.pairs), time.perf_counter() - begun)
"""


@pytest.mark.parametrize("by", ["order", "auto"])
def test_matching_grows_with_the_number_of_variables(by: str) -> None:
    seconds = {}
    for count in (10_000, 100_000):
        paths = [data.many_variables(count, seed, f"many_{count}_{seed}") for seed in (1, 2)]
        # In a process of its own: a large one here would count as the peak memory of every command run after it.
        done = subprocess.run(
            [sys.executable, "-c", _MATCH, by, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        pairs, took = done.stdout.split()
        assert int(pairs) == count
        seconds[count] = float(took)
    print(f"\nmatch by {by}: {seconds[10_000]:.2f} s for 10,000, {seconds[100_000]:.2f} s for 100,000")
    assert seconds[100_000] <= 30
    assert seconds[100_000] <= 13 * seconds[10_000]
