"""The table of figures itself; runs with all other tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.measure import run
from tests.benchmarks.table import BEGIN, END, MIB, Part, Run, Table, shown


def test_a_row_says_what_it_is_compared_with_and_whether_its_bounds_hold() -> None:
    part = Part("diff", Table())
    base = part.add("cmp", Run(0.5, 3 * MIB, 0.4))
    assert (base.ratio, base.bounds, base.held) == (None, (), True)
    row = part.add("diff", Run(1.0, 64 * MIB, 1.6), against=base, ratio_most=2, peak_most=64, cpu_most=1.6)
    assert (row.against, row.ratio, row.bounds, row.held) == ("cmp", 2.0, ("≤ 2 ×", "≤ 64 MiB", "≤ 1.6 s of CPU"), True)
    assert row.cells() == (
        "diff",
        "1.00 s",
        "1.60 s",
        "cmp",
        "2.00 ×",
        "64 MiB",
        "≤ 2 ×, ≤ 64 MiB, ≤ 1.6 s of CPU",
        "✓",
    )


@pytest.mark.parametrize(
    "bound",
    [
        {"ratio_most": 1.9},
        {"ratio_least": 2.1},
        {"most": 0.9},
        {"peak_most": 63},
        {"cpu_most": 1.5},
        {"cpu_ratio_most": 3.9},
    ],
)
def test_a_missed_bound_is_said(bound: dict) -> None:
    part = Part("diff", Table())
    base = part.add("cmp", Run(0.5, 3 * MIB, 0.4))
    row = part.add("diff", Run(1.0, 64 * MIB, 1.6), against=base, **bound)
    assert not row.held
    assert row.cells()[-1] == "✗ missed"


def test_a_bound_of_what_was_not_measured_does_not_hold() -> None:
    assert not Part("verify", Table()).add("passes", 1.0, peak_most=100).held


def test_figures_keep_three_digits() -> None:
    assert [shown(figure) for figure in (0.0071, 0.5, 1.234, 12.34, 12345.6)] == [
        "0.007", "0.500", "1.23", "12.3", "12,346",
    ]  # fmt: skip


def test_only_the_marked_table_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    table = Table()
    Part("diff", table).add("a | b", 2.0, "requests")
    table.write(page)
    before, rest = page.read_text().split(BEGIN)
    middle, after = rest.split(END)
    assert (before, after) == ("# Before\n\n", "\n\nafter\n")
    assert "old" not in middle
    assert "| **diff** | a \\| b | 2.00 requests |  |  |  |  |  |  |\n" in middle


@pytest.mark.parametrize("text", ["no marks", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_page_without_its_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md"):
        Table().write(page)
    assert page.read_text() == text


def test_a_run_is_of_the_command_alone(tmp_path: Path) -> None:
    output = tmp_path / "made"
    found = run("sh", "-c", f"test ! -e {output} && touch {output} && exit 3", output=output, code=3, rounds=2)
    assert 0 < found.seconds < 10
    assert found.cpu is not None
    assert 0 < found.cpu < 10
    assert MIB < found.peak < 40 * MIB


def test_a_run_that_fails_is_no_figure() -> None:
    with pytest.raises(AssertionError, match="exit code 1 of false"):
        run("false", rounds=1)
