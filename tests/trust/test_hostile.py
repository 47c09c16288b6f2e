"""The collection of hostile files, all of it, through the command line, as its table says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trust.commands import ForkServer, Result, can_trace, complaints, fork_server


@pytest.fixture(scope="module")
def cases(hostile_dir: Path) -> list[dict[str, Any]]:
    """The table's rows that mean something for this user."""
    rows = json.loads((hostile_dir / "expectations.json").read_text())["cases"]
    return [row for row in rows if not (row.get("drop_privileges") and os.geteuid() == 0)]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


def _tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of everything below `folder`, without following links or opening what is no file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) and mode & 0o400 else ""
        found[str(path.relative_to(folder))] = (mode, content)
    return found


def _commands(row: dict[str, Any], folder: Path, out: Path) -> dict[str, tuple[object, ...]]:
    argument = folder / row["arg"]
    return {
        "inspect": ("inspect", argument),
        "diff": ("diff", argument, folder / row["good"]),
        "convert": ("convert", argument, "-o", out),
    }


def _judge_text(row: dict[str, Any], result: Result) -> list[str]:
    """Names that forge lines or are taken for markup."""
    wrong = []
    shown = result.stdout + result.stderr
    if row.get("forged") and any(line.lstrip().startswith(row["forged"]) for line in shown.splitlines()):
        wrong.append("a forged line")
    if row.get("markup"):
        for found in re.finditer(row["markup"], shown):
            if "[" not in shown[max(0, found.start() - 20) : found.start()]:
                wrong.append("markup was taken for markup")
    return wrong


def _judge(server: ForkServer, row: dict[str, Any], folder: Path, work: Path) -> list[str]:
    """Everything that is wrong with how the three commands treat one case."""
    wrong = []
    cwd = work / row["name"].replace("/", "-")
    cwd.mkdir()
    out = cwd / "out.npz"
    for command, argv in _commands(row, folder, out).items():
        result = server.run(*argv, cwd=cwd)
        found = complaints(result, Path(row["arg"]).name) + _judge_text(row, result)
        if result.code not in row[command]:
            found.append(f"code {result.code}, wanted {row[command]}: {result.stderr[-200:].strip()}")
        left = sorted(path.name for path in cwd.iterdir())
        if left != (["out.npz"] if command == "convert" and result.code == 0 else []):
            found.append(f"left behind: {left}")
        wrong += [f"{row['name']} {command}: {complaint}" for complaint in found]
    return wrong


def _complain(wrong: list[str]) -> None:
    """Fail with the first forty complaints; one cause can have hundreds."""
    if wrong:
        pytest.fail("\n".join([f"{len(wrong)} complaints", *dict.fromkeys(wrong)][:41]), pytrace=False)


def test_every_case_comes_out_as_the_table_says(
    hostile_dir: Path, cases: list[dict[str, Any]], server: ForkServer, tmp_path: Path
) -> None:
    before = _tree(hostile_dir)
    wrong = [complaint for row in cases for complaint in _judge(server, row, hostile_dir, tmp_path)]
    assert _tree(hostile_dir) == before
    _complain(wrong)


def test_every_case_without_assertions(hostile_dir: Path, cases: list[dict[str, Any]], tmp_path: Path) -> None:
    """`python -O` strips assertions: nothing may depend on one."""
    with fork_server(optimised=True) as server:
        wrong = [complaint for row in cases for complaint in _judge(server, row, hostile_dir, tmp_path)]
    _complain(wrong)


def test_json_is_strict(hostile_dir: Path, cases: list[dict[str, Any]], server: ForkServer, tmp_path: Path) -> None:
    """One object on standard output, without the tokens that JSON has not, statistics included."""
    wrong = []
    for row in cases:
        for options in (["--json"], ["--json", "--stats", "--hash"]):
            result = server.run("inspect", hostile_dir / row["arg"], *options, cwd=tmp_path)
            wrong += [f"{row['name']} {options}: {text}" for text in complaints(result, Path(row["arg"]).name)]
            if (result.stdout or result.code != 2) and not _is_strict(result.stdout):
                wrong.append(f"{row['name']} {options}: {result.stdout[:200]!r}")
    _complain(wrong)


def _is_strict(text: str) -> bool:
    def refuse(token: str) -> None:
        raise ValueError(token)

    try:
        return isinstance(json.loads(text, parse_constant=refuse), dict)
    except ValueError:
        return False


def test_nothing_else_is_opened(hostile_dir: Path, cases: list[dict[str, Any]], tmp_path: Path) -> None:
    """No bait, and below the collection's folder nothing but the case's own files and the good one."""
    if not can_trace():
        pytest.skip("strace is not installed or may not trace here")
    trace = tmp_path / "trace"
    jobs: dict[str, tuple[dict[str, Any], str]] = {}
    with fork_server(trace=trace) as server:
        for row in cases:
            cwd = tmp_path / row["name"].replace("/", "-")
            cwd.mkdir()
            for command, argv in _commands(row, hostile_dir, cwd / "out.npz").items():
                server.run(*argv, cwd=cwd, seconds=60)
                jobs[str(server.number)] = (row, command)
    wrong = []
    current: tuple[dict[str, Any], str] | None = None
    for line in trace.read_text(errors="backslashreplace").splitlines():
        if mark := re.search(r'"/job-([0-9]+)"', line):
            current = jobs[mark[1]]
        opened = re.search(r'\bopen(?:at2?)?\((?:AT_FDCWD, )?"([^"]*)"', line)
        if current is None or opened is None:
            continue
        row, command = current
        if not _may_open(opened[1], row, hostile_dir):
            wrong.append(f"{row['name']} {command}: {opened[1]}")
    assert jobs
    assert current is not None
    _complain(wrong)


def _may_open(path: str, row: dict[str, Any], folder: Path) -> bool:
    if row.get("canary") and path in (row["canary"], str(folder / row["canary"])):
        return False
    resolved = os.path.normpath(os.path.join(folder / row["name"], path))
    if not resolved.startswith(f"{folder}/"):
        return True
    good = folder / row["good"]
    return resolved == str(good.parent) or resolved.startswith((str(folder / row["name"]), str(good)))
