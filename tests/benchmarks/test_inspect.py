"""`ckptkit inspect` against the imports that it cannot do without, against TensorFlow's own reader, and by size.

pytest tests/benchmarks -m benchmark -s
"""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks import data
from tests.benchmarks.measure import MIB, Run, run, show

pytestmark = pytest.mark.benchmark

IMPORTS = "import numpy, typer, rich.table, rich.console"


def inspect(path: object, *options: str) -> Run:
    return run(sys.executable, "-m", "ckptkit", "inspect", path, *options)


def test_a_bundle_of_386_variables() -> None:
    base = run(sys.executable, "-c", IMPORTS)
    print()
    show(f"python -c '{IMPORTS}'", base, base)
    assert show("inspect, bundle of 386 variables", inspect(data.bundle("one", 1)), base) <= 1.3


def test_an_hdf5_file_of_386_variables() -> None:
    base = run(sys.executable, "-c", f"{IMPORTS}, h5py")
    print()
    show("the same imports and h5py", base, base)
    assert show("inspect, HDF5 file of 386 variables", inspect(data.hdf5("one", 1)), base) <= 1.3


def test_against_tensorflow() -> None:
    path = data.bundle("one", 1)
    ours = inspect(path)
    theirs = run(sys.executable, "-c", f"import tensorflow as tf; tf.train.list_variables({str(path)!r})")
    print()
    show("inspect, bundle of 386 variables", ours, ours)
    assert show("tf.train.list_variables", theirs, ours) >= 15


def test_100_000_variables() -> None:
    found = {count: inspect(data.many_variables(count, 1, f"many_{count}_1"), "--json") for count in (10_000, 100_000)}
    print()
    show("inspect --json, 10,000 variables", found[10_000], found[10_000])
    # n log n: ten times the variables, 10 × 5 / 4 times the time.
    assert show("inspect --json, 100,000 variables", found[100_000], found[10_000]) <= 12.5
    assert found[100_000].seconds <= 6


@pytest.mark.parametrize("option", ["--stats", "--hash"])
@pytest.mark.parametrize("kind", [data.hdf5, data.bundle])
def test_reading_everything_takes_little_memory(kind, option: str) -> None:
    found = inspect(kind("one", 1), option)
    print()
    show(f"inspect {option}, {kind.__name__} of 1.24 GiB", found, found)
    assert found.peak < 200 * MIB
