"""Repositories that know nothing of the developer's own git."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT


class Repository:
    """A folder under git, and an environment in which only it is configured."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env

    def run(self, *command: object, code: int = 0, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
        """What `command` prints, stderr after stdout."""
        done = subprocess.run(
            [*map(str, command)],
            cwd=cwd or self.folder,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def git(self, *arguments: object, **options) -> str:
        return self.run("git", *arguments, **options)

    def ckptkit(self, *arguments: object, **options) -> str:
        return self.run("ckptkit", *arguments, **options)

    def commit(self, message: str = "x") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def changes(self, *arguments: object, **options) -> list[str]:
        """The lines that `git diff` shows as removed and added."""
        lines = self.git("diff", *arguments, **options).splitlines()
        return [line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"}]


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[[str], Repository]:
    home = tmp_path / "home"
    binaries = tmp_path / "bin"
    home.mkdir()
    binaries.mkdir()
    script = binaries / "ckptkit"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ckptkit "$@"\n')
    script.chmod(0o755)
    (home / ".gitconfig").write_text("[user]\n\tname = x\n\temail = x@example.org\n[init]\n\tdefaultBranch = main\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_"))}
    env = {
        **kept, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "PATH": f"{binaries}:{os.environ['PATH']}", "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip

    def make(name: str = "a repository") -> Repository:
        folder = tmp_path / name
        folder.mkdir()
        repository = Repository(folder, env)
        repository.git("init", "--quiet")
        return repository

    return make


@pytest.fixture
def repository(make_repository) -> Repository:
    return make_repository()
