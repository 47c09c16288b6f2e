"""Timing whole commands: wall time, CPU time, peak resident memory, the best of several runs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

LAUNCHER = Path(__file__).with_name("launcher.py")
ROUNDS = int(os.environ.get("CKPTKIT_BENCHMARK_ROUNDS", "5"))


@dataclass(frozen=True, slots=True)
class Run:
    """The best of several runs of one command, each figure by itself: another process only ever adds to it.

    Attributes:
        seconds: of wall time.
        peak: resident bytes, in the run with the least wall time.
        cpu: seconds that the command and what it started kept cores busy, in user and system code.
    """

    seconds: float
    peak: int
    cpu: float | None = None


def run(*command: object, code: int = 0, output: Path | None = None, rounds: int = ROUNDS) -> Run:
    """Best of several runs of a command, after one that warms the page cache.

    Args:
        command: the program and its arguments.
        code: what every run has to exit with.
        output: a file to remove before each run.
        rounds: how many runs count.
    """
    lines = _printed("-I", "-S", LAUNCHER, rounds + 1, output or "", *command).splitlines()
    found = []
    for line in lines:
        seconds, peak, given, cpu = line.split()
        assert int(given) == code, f"exit code {given} of {' '.join(map(str, command))}"
        found.append(Run(float(seconds), int(peak), float(cpu)))
    best = min(found, key=lambda each: each.seconds)
    return Run(best.seconds, best.peak, min(each.cpu or 0.0 for each in found))


def ckptkit(*arguments: object, code: int = 0, output: Path | None = None) -> Run:
    """`run` for a command of ours."""
    return run(sys.executable, "-m", "ckptkit", *arguments, code=code, output=output)


def python(program: str, *arguments: object) -> Run:
    """`run` for a program of Python."""
    return run(sys.executable, "-c", program, *arguments)


def told(program: str, *arguments: object) -> list[str]:
    """The words that a program of Python prints which does its own timing."""
    return _printed("-c", program, *arguments).split()


def _printed(*arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # An installed package is compiled; without this, where it is set, each start would compile a fresh checkout anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
