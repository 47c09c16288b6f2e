"""`ckptkit inspect` of 1.24 GiB against the imports that it cannot do without and against TensorFlow's own reader.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

import pytest

from tests.benchmarks import data
from tests.benchmarks.measure import ckptkit, python
from tests.benchmarks.table import Part, Row

pytestmark = pytest.mark.benchmark

IMPORTS = "import numpy, typer, rich.table, rich.console"


@pytest.fixture(scope="module")
def inspected(table: Part) -> Row:
    base = table.add("python -c 'import numpy, typer, rich'", python(IMPORTS))
    return table.add("inspect, bundle", ckptkit("inspect", data.bundle("one", 1)), against=base, ratio_most=1.3)


def test_a_bundle_of_386_variables(inspected: Row) -> None:
    assert inspected.held


def test_an_hdf5_file_of_386_variables(table: Part) -> None:
    base = table.add("python -c 'import numpy, typer, rich, h5py'", python(f"{IMPORTS}, h5py"))
    found = ckptkit("inspect", data.hdf5("one", 1))
    assert table.add("inspect, HDF5", found, against=base, ratio_most=1.3).held


def test_against_tensorflow(inspected: Row, table: Part) -> None:
    listing = "import sys, tensorflow as tf; tf.train.list_variables(sys.argv[1])"
    theirs = python(listing, data.bundle("one", 1))
    assert table.add("tf.train.list_variables, bundle", theirs, against=inspected, ratio_least=12).held


def test_reading_everything_takes_little_memory(table: Part) -> None:
    for kind, name in ((data.hdf5, "HDF5"), (data.bundle, "bundle")):
        path = kind("one", 1)
        hashed = table.add(f"inspect --hash, {name}", ckptkit("inspect", path, "--hash"), peak_most=200)
        run = ckptkit("inspect", path, "--stats")
        measured = table.add(f"inspect --stats, {name}", run, against=hashed, peak_most=200, cpu_ratio_most=1.5)
        run = ckptkit("inspect", path, "--stats", "--hash")
        both = table.add(f"inspect --stats --hash, {name}", run, against=hashed, peak_most=200, cpu_ratio_most=2.5)
        assert all(row.held for row in (hashed, measured, both))


def test_reading_everything_against_tensorflow(table: Part) -> None:
    path = data.bundle("one", 1)
    ours = table.add("inspect --hash, bundle", ckptkit("inspect", path, "--hash"), peak_most=200)
    theirs = python(
        "import sys, tensorflow as tf\n"
        "reader = tf.train.load_checkpoint(sys.argv[1])\n"
        "for name in reader.get_variable_to_shape_map(): reader.get_tensor(name)",
        path,
    )
    row = table.add("tf.train.load_checkpoint, each tensor, bundle", theirs, against=ours, ratio_least=2)
    assert ours.held
    assert row.held
