"""What README and the documentation show is what happens.

Every fenced `console` block is run: lines that begin with `$ ` are commands, the lines between them what they print
(stdout and stderr together; a line `…` stands for any number of lines, a word `…` for any part of its line). Every
`python` block is run too, and one that is headed `python file=NAME` is written to that file instead. Blocks of one
page share a folder in which `fixtures` lies, and a page's Python blocks share their names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+(?: file=\S+)?)\n(.*?)^```$", re.M | re.S)
_ANY = "…"
_ANY_PART = re.compile(rf"(?<!\S){_ANY}(?!\S)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block that is run."""
    found = [(match[1], match[2]) for match in _BLOCK.finditer(page.read_text())]
    return [(head, text) for head, text in found if head.split(" ")[0] in {"console", "python"}]


def commands(block: str) -> list[tuple[str, list[str]]]:
    """(command, lines it should print) of a console block."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def _pattern(line: str) -> str:
    if line.strip() == _ANY:
        return r"(?:.*\n)*"
    return ".*".join(re.escape(part) for part in _ANY_PART.split(line.rstrip())) + r"\n"


def agrees(printed: list[str], wanted: list[str]) -> bool:
    pattern = "".join(map(_pattern, wanted))
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in printed)) is not None


@pytest.fixture
def workplace(tmp_path: Path) -> dict[str, str]:
    """An environment in which `ckptkit` is this checkout's, in a folder with the fixtures."""
    (tmp_path / "fixtures").symlink_to(FIXTURES)
    binaries = tmp_path / ".bin"
    binaries.mkdir()
    for name, arguments in (("ckptkit", "-m ckptkit"), ("python", "")):
        script = binaries / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    return {
        **os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


# What runs a page's Python blocks, so that a framework is imported once: a block comes as a line of JSON, what it
# raised goes back as one.
_INTERPRETER = """
import contextlib as _contextlib, json as _json, sys as _sys, traceback as _traceback
for _line in _sys.stdin:
    _raised = ""
    try:
        with _contextlib.redirect_stdout(_sys.stderr):
            exec(compile(_json.loads(_line), "<page>", "exec"))
    except BaseException:
        _raised = _traceback.format_exc()
    print(_json.dumps(_raised), flush=True)
"""


@contextmanager
def interpreter(folder: Path, env: dict[str, str]) -> Iterator[Callable[[str], str]]:
    """What runs a block in a process of the page's own, made when the first comes, and gives what it raised."""
    process: subprocess.Popen[str] | None = None

    def run(block: str) -> str:
        nonlocal process
        if process is None:
            process = subprocess.Popen(
                [sys.executable, "-c", _INTERPRETER], cwd=folder, env=env, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(block), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        return str(json.loads(answer)) if answer else f"the process ended with {process.wait()}"

    try:
        yield run
    finally:
        if process is not None:
            process.communicate()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=ids)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path, workplace: dict[str, str]) -> None:
    with interpreter(tmp_path, workplace) as run:
        for language, text in blocks(page):
            if language.startswith("python file="):
                (tmp_path / language.partition("=")[2]).write_text(text)
            elif language == "python":
                raised = run(text)
                assert not raised, f"{text}\n{raised[-2000:]}"
            else:
                for command, wanted in commands(text):
                    done = subprocess.run(
                        ["bash", "-c", command], cwd=tmp_path, env=workplace, text=True,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    )  # fmt: skip
                    assert agrees(done.stdout.splitlines(), wanted), (
                        f"$ {command}\n--- printed\n{done.stdout}\n--- documented\n" + "\n".join(wanted)
                    )


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", prose):
        assert (page.parent / target).exists(), target


def test_the_check_can_fail(tmp_path: Path, workplace: dict[str, str]) -> None:
    with interpreter(tmp_path, workplace) as run:
        assert run("value = 1\nprint(value)") == ""
        assert "ZeroDivisionError" in run("value / 0")
        assert run("assert value == 1") == ""
        assert "ended with 3" in run("import os; os._exit(3)")
    assert agrees(["a", "b", "c"], ["a", "…", "c"])
    assert not agrees(["a", "b"], ["a"])
    assert agrees(["a 12 b", "c 3"], ["a … b", "c …"])
    assert not agrees(["a 12 c"], ["a … b"])
    assert not agrees(["f(x=1)"], ["f(x=…)"])
    assert commands("$ x\n1\n$ y\n") == [("x", ["1"]), ("y", [])]
