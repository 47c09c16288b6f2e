"""What a command costs before it does anything, against the interpreter and the imports that it cannot do without.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

import pytest

from tests.benchmarks.measure import ckptkit, python
from tests.benchmarks.table import Part
from tests.conftest import FIXTURES

pytestmark = pytest.mark.benchmark

IMPORTS = "import numpy, typer, rich.table, rich.console"
SINGLE, DOUBLE = (FIXTURES / f"{name}-h5" / f"{name}.h5" for name in ("single", "double"))


def test_import(table: Part) -> None:
    bare = table.add("python -c pass", python("pass"))
    assert table.add("python -c 'import ckptkit'", python("import ckptkit"), against=bare, ratio_most=2.5).held


def test_version(table: Part) -> None:
    typer = table.add("python -c 'import typer'", python("import typer"))
    assert table.add("ckptkit --version", ckptkit("--version"), against=typer, ratio_most=2).held


def test_commands(table: Part) -> None:
    libraries = table.add("python -c 'import numpy, typer, rich'", python(IMPORTS))
    inspection = table.add("inspect, small HDF5", ckptkit("inspect", SINGLE), against=libraries, ratio_most=1.3)
    difference = table.add("diff, small HDF5", ckptkit("diff", SINGLE, DOUBLE, code=1), against=libraries, ratio_most=3)
    tensorflow = table.add(
        "python -c 'import tensorflow'", python("import tensorflow"), against=inspection, ratio_least=10
    )
    assert [row.what for row in (inspection, difference, tensorflow) if not row.held] == []
