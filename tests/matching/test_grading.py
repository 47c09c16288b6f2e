"""The grader can say each of its verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.matching.grading import VERDICTS, grade, graded, read_cases, shown, write_case

FIRST = {"a/kernel": np.arange(6, dtype="float32").reshape(2, 3), "a/bias": np.array([1, 2, 3], "float32")}
OTHER = {"a/kernel": FIRST["a/kernel"] + 10, "a/bias": FIRST["a/bias"] + 10}


def write(folder: Path, source: dict[str, Any], truth: dict[str, Any] | None, **more: Any) -> None:
    folder.mkdir()
    np.savez(folder / "source.npz", **source)
    np.savez(folder / "target.npz", **OTHER)
    if truth is not None:
        np.savez(folder / "truth.npz", **truth)
    write_case(folder, "source.npz", "target.npz", "target.npz" if truth is None else "truth.npz", **more)


def verdict(root: Path) -> str:
    (case,) = read_cases(root)
    return grade(case).status


def test_the_truth_is_right(tmp_path: Path) -> None:
    write(tmp_path / "case", FIRST, FIRST)
    assert verdict(tmp_path) == "right"


def test_another_value_is_wrong(tmp_path: Path) -> None:
    write(tmp_path / "case", FIRST, {**FIRST, "a/bias": FIRST["a/bias"] + 1})
    assert verdict(tmp_path) == "wrong"


def test_what_fits_nowhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "case", {**FIRST, "b/kernel": np.ones((5, 7), "float32")}, FIRST)
    assert verdict(tmp_path) == "refused"


@pytest.mark.parametrize("truth", [FIRST, None])
def test_a_weight_that_stays_although_the_source_has_it_is_dropped(tmp_path: Path, truth: Any) -> None:
    source = (
        {"a/kernel": FIRST["a/kernel"], "elsewhere": OTHER["a/bias"]}
        if truth is None
        else {"z/kernel": np.ones((4, 9))}
    )
    options = {"allow_missing": True, "allow_unexpected": True}
    write(tmp_path / "case", source, truth, options=options)
    assert verdict(tmp_path) in ("dropped", "wrong")


def test_an_option_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    write(tmp_path / "case", FIRST, FIRST, options={"no_such_option": 1})
    assert verdict(tmp_path) == "refused"


def test_another_exception_is_a_crash(tmp_path: Path) -> None:
    write(tmp_path / "case", FIRST, FIRST, options={"rename": 5})
    assert verdict(tmp_path) == "crash"


def test_sums_by_what_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "one", FIRST, FIRST, known={"user_words": [True, True], "call_order": [True, False]})
    write(tmp_path / "two", FIRST, OTHER, known={"user_words": [True, False], "call_order": [True, True]})
    counts = graded(read_cases(tmp_path))
    assert shown(counts).splitlines() == [
        "all: 1 right, 1 wrong",
        "the user's words in both, order lost: 1 right",
        "words missing, call order kept: 1 wrong",
    ]
    assert [line[:5] for line in capsys.readouterr().out.splitlines()] == ["ok   ", "SHORT"]
    assert set(VERDICTS) >= {status for _, status in counts}


def test_cases_are_chosen_by_the_start_of_their_names(tmp_path: Path) -> None:
    for name in ("one", "other", "two"):
        write(tmp_path / name, FIRST, FIRST)
    assert [case.name for case in read_cases(tmp_path, ["o"])] == ["one", "other"]
