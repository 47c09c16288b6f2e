"""Timing whole commands: wall time, peak resident memory, exit code, the best of several runs."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

ROUNDS = 5
MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """The best of several runs of one command: seconds of wall time, peak resident bytes, exit code."""

    seconds: float
    peak: int
    code: int


def run(*command: object, output: Path | None = None) -> Run:
    """Best of `ROUNDS`, after one that warms the page cache; all have to end alike. `output` is removed before each."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = []
    for _ in range(ROUNDS + 1):
        if output is not None:
            output.unlink(missing_ok=True)
        begun = time.perf_counter()
        process = subprocess.Popen([*map(str, command)], env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found.append(Run(time.perf_counter() - begun, usage.ru_maxrss * 1024, process.returncode))
    assert len({each.code for each in found}) == 1, found
    return min(found, key=lambda each: each.seconds)


def show(name: str, found: Run, base: Run) -> float:
    """Prints a row, returns the ratio."""
    ratio = found.seconds / base.seconds
    print(f"{name:<44} {found.seconds:7.2f} s {ratio:6.2f} × {found.peak / MIB:6.0f} MiB  exit {found.code}")
    return ratio
