"""Shared by all benchmarks: their figures go into one table, printed when the run ends.

pytest tests/benchmarks -m benchmark --table docs/performance.md
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.table import Part, Table

_TABLE = pytest.StashKey[Table]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", metavar="PAGE", help="page of Markdown whose marked table the figures replace")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = Table()


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Part:
    """Where a benchmark notes its figures."""
    return Part(request.path.stem.removeprefix("test_").replace("_", " "), request.config.stash[_TABLE])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash.get(_TABLE, Table())
    if not table.rows:
        return
    terminalreporter.section("figures")
    terminalreporter.write(table.markdown())
    page = config.getoption("--table", default=None)
    if page:
        table.write(config.invocation_params.dir / Path(page))
        terminalreporter.write_line(f"{page}: table replaced")
