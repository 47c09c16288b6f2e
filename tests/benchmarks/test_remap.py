"""`ckptkit remap` of 1.24 GiB, read-back included, against `cp`.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

from pathlib import Path

import pytest

import ckptkit as library
from tests.benchmarks import data
from tests.benchmarks.measure import ckptkit, run
from tests.benchmarks.table import Part

pytestmark = pytest.mark.benchmark


def test_a_bundle_into_hdf5(tmp_path: Path, table: Part) -> None:
    source, like, output = data.folder() / "named", data.hdf5("other", 2), tmp_path / "out.weights.h5"
    library.convert(data.hdf5("one", 1), source, to="tensor-bundle", force=True)
    copy = tmp_path / "copy"
    copied = table.add("cp of the same bytes", run("cp", like, copy, output=copy))
    table.add("cp and sync", run("bash", "-c", f"cp {like} {copy} && sync {copy}", output=copy), against=copied)
    copy.unlink()
    found = ckptkit("remap", source, "--like", like, "-o", output, output=output)
    what = "remap, bundle into HDF5, synced, read back"
    assert table.add(what, found, against=copied, ratio_most=2.5, peak_most=250).held
