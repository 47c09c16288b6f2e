"""Keras's own editor of weights files against `ckptkit` on 1.24 GiB.

The editor reads a whole file into memory when it opens it, shows its structure, renames in it and writes all of it again.
It compares names and shapes with a live model, never values; what is timed for that is the loop that a user would write.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import data
from tests.benchmarks.measure import Run, ckptkit, run
from tests.benchmarks.table import Part

pytestmark = pytest.mark.benchmark

_OPEN = """
import sys
from keras.saving import KerasFileEditor
editor = KerasFileEditor(sys.argv[1])
"""
_SUMMARY = f"{_OPEN}editor.summary()"
_COMPARE = f"""{_OPEN}
import numpy
def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all([equal(a[key], b[key]) for key in a])
    return numpy.array_equal(a, b)
sys.exit(not equal(editor.weights_dict, KerasFileEditor(sys.argv[2]).weights_dict))
"""
_RENAME = f"""{_OPEN}
editor.rename_object("layers/embedding_1", "positions")
editor.resave_weights(sys.argv[2])
"""


def editor(program: str, *arguments: object, output: Path | None = None) -> Run:
    return run(sys.executable, "-c", program, *arguments, output=output, rounds=2)


def test_looking(table: Part) -> None:
    path = data.hdf5("one", 1)
    ours = table.add("inspect, HDF5", ckptkit("inspect", path))
    assert table.add("editor: open, summary()", editor(_SUMMARY, path), against=ours, ratio_least=10).held


def test_comparing(table: Part) -> None:
    paths = data.hdf5("one", 1), data.hdf5("twin", 1)
    ours = table.add("diff, equal HDF5", ckptkit("diff", *paths))
    theirs = editor(_COMPARE, *paths)
    assert table.add("editor: open both, array_equal", theirs, against=ours, ratio_least=3).held


def test_renaming(tmp_path: Path, table: Part) -> None:
    path, output = data.hdf5("one", 1), tmp_path / "out.weights.h5"
    moved = ckptkit("remap", path, "--like", data.hdf5("other", 2), "-o", output, output=output)
    ours = table.add("remap, HDF5, synced, read back", moved)
    theirs = editor(_RENAME, path, output, output=output)
    assert table.add("editor: open, rename_object(), resave_weights()", theirs, against=ours, ratio_least=2).held
