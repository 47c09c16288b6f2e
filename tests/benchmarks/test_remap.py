"""`ckptkit remap` and `convert` of 1.24 GiB, read-back included, against `cp`, `sync` and `cmp`.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

from pathlib import Path

import pytest

import ckptkit as library
from tests.benchmarks import data
from tests.benchmarks.measure import ckptkit, run
from tests.benchmarks.table import Part, Row

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, table: Part) -> Row:
    """What writing, syncing and reading back costs at least."""
    like, copy = data.hdf5("other", 2), tmp_path_factory.mktemp("copy") / "copy"
    table.add("cp of the same bytes", run("cp", like, copy, output=copy))
    line = f"cp {like} {copy} && sync {copy} && cmp {like} {copy}"
    row = table.add("cp, sync and cmp", run("bash", "-c", line, output=copy))
    copy.unlink()
    return row


def test_a_bundle_into_hdf5(copied: Row, tmp_path: Path, table: Part) -> None:
    source, like, output = data.folder() / "named", data.hdf5("other", 2), tmp_path / "out.weights.h5"
    library.convert(data.hdf5("one", 1), source, to="tensor-bundle", force=True)
    found = ckptkit("remap", source, "--like", like, "-o", output, output=output)
    what = "remap, bundle into HDF5, synced, read back"
    assert table.add(what, found, against=copied, ratio_most=1.25, peak_most=250).held


def test_hdf5_into_safetensors(copied: Row, tmp_path: Path, table: Part) -> None:
    output = tmp_path / "out.safetensors"
    found = ckptkit("convert", data.hdf5("one", 1), "-o", output, output=output)
    what = "convert, HDF5 into safetensors, synced, read back"
    assert table.add(what, found, against=copied, ratio_most=1.25, peak_most=250).held
