"""Runs commands of ckptkit, each in a process of its own that is forked when everything is imported already.

A script, not a test: `python fork_server.py` reads a JSON job per line from standard input (`argv`, `cwd`, `seconds`)
and answers with a JSON line (`code`, `signal`, `seconds`, `rss`, `stdout`, `stderr`). Hundreds of command lines then
take a second rather than minutes, and each is still measured alone: exit code, time, peak memory.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import tempfile
import time
from typing import Any

# A stop before the machine suffers; what is judged is the peak that `wait4` reports.
_ADDRESS_SPACE = 6 << 30


def main() -> None:
    """Answer jobs until standard input ends."""
    _import_everything()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


def _import_everything() -> None:
    """All of ckptkit but what needs a framework."""
    import h5py  # noqa: F401
    import rich.console
    import rich.progress
    import rich.table  # noqa: F401

    import ckptkit

    for module in pkgutil.walk_packages(ckptkit.__path__, "ckptkit."):
        if not module.name.startswith(("ckptkit.verification", "ckptkit.auditing", "ckptkit.__main__")):
            importlib.import_module(module.name)


def _run(job: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with contextlib.suppress(OSError):  # a line in a trace of system calls: whose are the files opened after it
            os.open(f"/job-{job['number']}", os.O_RDONLY)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(job, out.fileno(), err.fileno())
        status, usage = _wait(child, job["seconds"])
        seconds = time.monotonic() - started
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
    return {
        "code": os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "seconds": seconds,
        "rss": usage.ru_maxrss * 1024,
        "stdout": texts[0],
        "stderr": texts[1],
    }


def _wait(child: int, seconds: float) -> tuple[int, Any]:
    """Status and resources of `child`, which is killed when it takes longer than `seconds`."""
    watched = os.pidfd_open(child)
    try:
        if not select.select([watched], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(watched)
    _, status, usage = os.wait4(child, 0)
    return status, usage


def _become(job: dict[str, Any], out: int, err: int) -> None:
    """In the child: run the command and leave."""
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(job["cwd"])
        os.environ.update(COLUMNS="100", NO_COLOR="1")
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        sys.argv = ["ckptkit", *job["argv"]]
        sys.stdout = open(1, "w", closefd=False)
        sys.stderr = open(2, "w", closefd=False)
        code = _command()
    except BaseException:  # noqa: BLE001 (it must not run on as a second server)
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 98
        os._exit(code)


def _command() -> int:
    import ckptkit.cli

    try:
        ckptkit.cli.main()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)


if __name__ == "__main__":
    main()
