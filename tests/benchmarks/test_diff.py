"""`ckptkit diff` on 1.24 GiB pairs against `cmp` and `h5diff`, in one run on warm files; see `data.py`.

pytest tests/benchmarks -m benchmark -s
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.benchmarks import data
from tests.benchmarks.measure import MIB, Run, run, show

pytestmark = pytest.mark.benchmark


def diff(a: Path, b: Path, *options: str) -> Run:
    return run(sys.executable, "-m", "ckptkit", "diff", a, b, "--json", *options)


@pytest.fixture(scope="module")
def cmp() -> Run:
    """What everything is measured by: `cmp -s` of the equal HDF5 files."""
    if not shutil.which("cmp"):
        pytest.skip("cmp is not installed")
    found = run("cmp", "-s", data.hdf5("one", 1), data.hdf5("twin", 1))
    print()
    show("cmp -s, equal HDF5 files", found, found)
    return found


def test_equal_hdf5_files(cmp: Run) -> None:
    found = diff(data.hdf5("one", 1), data.hdf5("twin", 1))
    assert show("diff, equal HDF5 files", found, cmp) <= 2
    assert (found.code, found.peak < 160 * MIB) == (0, True)


def test_hdf5_files_that_differ_everywhere(cmp: Run) -> None:
    found = diff(data.hdf5("one", 1), data.hdf5("other", 2))
    assert show("diff, HDF5 files that differ everywhere", found, cmp) <= 4
    assert (found.code, found.peak < 160 * MIB) == (1, True)


def test_bundles_that_differ_everywhere(cmp: Run) -> None:
    found = diff(data.bundle("one", 1), data.bundle("other", 2))
    assert show("diff, bundles that differ everywhere", found, cmp) <= 4
    assert (found.code, found.peak < 160 * MIB) == (1, True)


@pytest.mark.parametrize("by", ["auto", "value"])
def test_a_renamed_bundle_against_an_equal_hdf5_file(cmp: Run, by: str) -> None:
    found = diff(data.bundle("one", 1), data.hdf5("one", 1), "--by", by)
    assert show(f"diff --by {by}, renamed bundle and equal HDF5", found, cmp) <= 3.5
    assert (found.code, found.peak < 160 * MIB) == (0, True)


def test_against_h5diff(cmp: Run) -> None:
    if not shutil.which("h5diff"):
        pytest.skip("h5diff is not installed (hdf5-tools)")
    paths = data.hdf5("one", 1), data.hdf5("other", 2)
    theirs = run("h5diff", "-d", "1e-3", *paths)
    show("h5diff -d 1e-3, files that differ everywhere", theirs, cmp)
    assert theirs.seconds >= 2.5 * diff(*paths).seconds


def test_time_grows_with_the_number_of_variables() -> None:
    found = {}
    for count in (10_000, 100_000):
        a, b = (data.many_variables(count, seed, f"many_{count}_{seed}") for seed in (1, 2))
        found[count] = diff(a, b)
    print()
    show("diff, 10,000 small variables", found[10_000], found[10_000])
    assert show("diff, 100,000 small variables", found[100_000], found[10_000]) <= 13
