"""What README and the documentation show is what happens.

Every fenced `console` block is run: lines that begin with `$ ` are commands, the lines between them what they print
(stdout and stderr together; a line `…` stands for any number of lines, a word `…` for any part of its line). Every
`python` block is run too, and one that is headed `python file=NAME` is written to that file instead. Blocks of one
page share a folder in which `fixtures` lies, and a page's Python blocks share their names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=ids)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path, workplace: dict[str, str]) -> None:
    program: list[str] = []
    for language, text in blocks(page):
        if language.startswith("python file="):
            (tmp_path / language.partition("=")[2]).write_text(text)
            continue
        if language == "python":
            program.append(text)
            done = subprocess.run(
                [sys.executable, "-c", "\n".join(program)], cwd=tmp_path, env=workplace, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{text}\n{done.stderr[-2000:]}"
            continue
        for command, wanted in commands(text):
            shell = ["bash", "-c", command]
            done = subprocess.run(
                shell, cwd=tmp_path, env=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            printed = done.stdout.splitlines()
            assert agrees(printed, wanted), f"$ {command}\n--- printed\n{done.stdout}\n--- documented\n" + "\n".join(
                wanted
            )


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", prose):
        assert (page.parent / target).exists(), target


def test_the_check_can_fail() -> None:
    assert agrees(["a", "b", "c"], ["a", "…", "c"])
    assert not agrees(["a", "b"], ["a"])
    assert agrees(["a 12 b", "c 3"], ["a … b", "c …"])
    assert not agrees(["a 12 c"], ["a … b"])
    assert not agrees(["f(x=1)"], ["f(x=…)"])
    assert commands("$ x\n1\n$ y\n") == [("x", ["1"]), ("y", [])]
