"""`ckptkit diff` of 1.24 GiB pairs against `cmp` and `h5diff`, in one run on warm files; see `data.py`.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ckptkit as library
from tests.benchmarks import data
from tests.benchmarks.measure import Run, ckptkit, run
from tests.benchmarks.table import Part, Row

pytestmark = pytest.mark.benchmark

FULL = 1.3
"""Seconds of CPU that every statistic of the pair may take."""


def diff(a: Path, b: Path, *options: str, code: int = 0) -> Run:
    return ckptkit("diff", a, b, "--json", *options, code=code)


@pytest.fixture(scope="module")
def cmp(table: Part) -> Row:
    """What everything is measured by: `cmp -s` of the equal HDF5 files."""
    if not shutil.which("cmp"):
        pytest.skip("cmp is not installed")
    return table.add("cmp -s, equal HDF5", run("cmp", "-s", data.hdf5("one", 1), data.hdf5("twin", 1)))


def test_equal_hdf5_files(cmp: Row, table: Part) -> None:
    found = diff(data.hdf5("one", 1), data.hdf5("twin", 1))
    assert table.add("diff, equal HDF5", found, against=cmp, ratio_most=2, peak_most=160).held


@pytest.fixture(scope="module")
def different(cmp: Row, table: Part) -> Row:
    found = diff(data.hdf5("one", 1), data.hdf5("other", 2), code=1)
    return table.add(
        "diff, HDF5 that differ everywhere", found, against=cmp, ratio_most=2, peak_most=160, cpu_most=FULL
    )


def test_hdf5_files_that_differ_everywhere(different: Row) -> None:
    assert different.held


def test_bundles_that_differ_everywhere(cmp: Row, table: Part) -> None:
    found = diff(data.bundle("one", 1), data.bundle("other", 2), code=1)
    assert table.add(
        "diff, bundles that differ everywhere", found, against=cmp, ratio_most=2, peak_most=160, cpu_most=FULL
    ).held


def test_safetensors_that_differ_everywhere(cmp: Row, table: Part) -> None:
    one, other = (data.folder() / f"{name}.safetensors" for name in ("one", "other"))
    for path, seed in ((one, 1), (other, 2)):
        if not path.exists():
            library.convert(data.hdf5(path.stem, seed), path)
    found = diff(one, other, code=1)
    assert table.add(
        "diff, safetensors that differ everywhere", found, against=cmp, ratio_most=2, peak_most=160, cpu_most=FULL
    ).held


@pytest.mark.parametrize("by", ["auto", "value"])
def test_a_renamed_bundle_against_an_equal_hdf5_file(cmp: Row, by: str, table: Part) -> None:
    found = diff(data.bundle("one", 1), data.hdf5("one", 1), "--by", by)
    what = f"diff --by {by}, renamed bundle and equal HDF5"
    assert table.add(what, found, against=cmp, ratio_most=3.5, peak_most=160).held


def test_against_h5diff(different: Row, table: Part) -> None:
    if not shutil.which("h5diff"):
        pytest.skip("h5diff is not installed (hdf5-tools)")
    theirs = run("h5diff", "-d", "1e-3", data.hdf5("one", 1), data.hdf5("other", 2), code=1)
    assert table.add("h5diff -d 1e-3, the same", theirs, against=different, ratio_least=4).held
