"""Running many command lines cheaply, and what has to hold for each of them whatever its input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SERVER = Path(__file__).with_name("fork_server.py")

SECONDS = 5.0
RSS = 512 << 20

# C0 (a line feed is the end of a line), DEL and C1, bidirectional marks, line separators.
_UNFIT = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Result:
    """How one command line ended."""

    argv: tuple[str, ...]
    code: int | None
    signal: int | None
    seconds: float
    rss: int
    stdout: str
    stderr: str


class ForkServer:
    """A running `fork_server.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._number = 0

    def run(self, *argv: object, cwd: Path, seconds: float = 2 * SECONDS) -> Result:
        """Run `ckptkit ARGV` in `cwd`, killed after `seconds`."""
        self._number += 1
        arguments = tuple(map(str, argv))
        job = {"number": self._number, "argv": arguments, "cwd": str(cwd), "seconds": seconds}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Result(argv=arguments, **json.loads(self._process.stdout.readline()))

    @property
    def number(self) -> int:
        """Number of the last job."""
        return self._number


@contextmanager
def fork_server(*, optimised: bool = False, trace: Path | None = None) -> Iterator[ForkServer]:
    """Start a server; with `trace`, every file that its processes open is noted there by strace."""
    command = [sys.executable, *(["-O"] if optimised else []), str(_SERVER)]
    if trace is not None:
        options = ["-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-s", "4096", "-e", "trace=open,openat,openat2"]
        command = ["strace", *options, "-o", str(trace), *command]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        yield ForkServer(process)
    finally:
        process.communicate()


def can_trace() -> bool:
    """Whether strace is there and may trace."""
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0
    )


def complaints(result: Result, named: str) -> list[str]:
    """What is wrong with how a command ended, apart from which of the orderly exit codes it gave.

    Args:
        result: how it ended.
        named: what an error message has to name: the file's last part.
    """
    wrong = []
    if result.code not in (0, 1, 2):
        wrong.append(f"code {result.code}, signal {result.signal}")
    if result.seconds > SECONDS:
        wrong.append(f"{result.seconds:.1f} s")
    if result.rss > RSS:
        wrong.append(f"{result.rss >> 20} MiB")
    if "Traceback" in result.stderr + result.stdout or "internal error" in result.stderr:
        wrong.append(f"a traceback or an internal error: {result.stderr[-300:]}")
    lines = result.stderr.splitlines()
    if result.code == 2 and (len(lines) != 1 or not result.stderr.endswith("\n")):
        wrong.append(f"{len(lines)} lines on stderr: {lines[:3]}")
    if result.code == 2 and lines and named not in lines[-1]:
        wrong.append(f"the message does not name {named}: {lines[-1][:200]}")
    if found := _UNFIT.search(result.stdout + result.stderr):
        wrong.append(f"an unescaped {found.group()!r}")
    return wrong
