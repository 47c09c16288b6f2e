"""`ckptkit remap` of 1.24 GiB, read-back included, against `cp`; matching of 100,000 variables.

pytest tests/benchmarks -m benchmark -s
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks import data
from tests.benchmarks.measure import MIB, run, show

pytestmark = pytest.mark.benchmark


def test_a_bundle_into_hdf5(tmp_path: Path) -> None:
    source, like, output = data.bundle("one", 1), data.hdf5("other", 2), tmp_path / "out.weights.h5"
    base = run("cp", like, tmp_path / "copy")
    (tmp_path / "copy").unlink()
    print()
    show("cp of the same bytes", base, base)
    found = run(sys.executable, "-m", "ckptkit", "remap", source, "--like", like, "-o", output, "--force")
    ratio = show("remap, bundle of 1.24 GiB into HDF5", found, base)
    assert (found.code, found.peak < 250 * MIB) == (0, True)
    assert ratio <= 2.5


@pytest.mark.parametrize("by", ["order", "auto"])
def test_matching_grows_with_the_number_of_variables(by: str) -> None:
    import ckptkit
    from ckptkit.conventions import read_forms
    from ckptkit.matching import match

    seconds = {}
    for count in (10_000, 100_000):
        specs = []
        for seed in (1, 2):
            with ckptkit.open(data.many_variables(count, seed, f"many_{count}_{seed}")) as checkpoint:
                specs.append(checkpoint.spec)
        begun = time.perf_counter()
        found = match(read_forms(specs[0]), read_forms(specs[1]), by=by)
        seconds[count] = time.perf_counter() - begun
        assert len(found.pairs) == count
    print(f"\nmatch by {by}: {seconds[10_000]:.2f} s for 10,000, {seconds[100_000]:.2f} s for 100,000")
    assert seconds[100_000] <= 30
    assert seconds[100_000] <= 13 * seconds[10_000]
