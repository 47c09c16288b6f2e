"""Runs many commands in one process and tells what came of each: `python driver.py '[["inspect", "x.h5"], …]'`."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_all(commands: Sequence[Sequence[object]], *, cwd: os.PathLike[str] | str = ROOT, before: str = "") -> list[Any]:
    """[exit code, standard output, standard error] of each command.

    Args:
        commands: arguments of `ckptkit`.
        cwd: where they run.
        before: `module:function` that is called first.
    """
    text = json.dumps([[str(word) for word in words] for words in commands])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.driver", text, before],
        cwd=cwd, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def without_syncing() -> None:
    """Spare the disk: nobody pulls the plug of these tests."""
    os.fsync = lambda descriptor: None  # type: ignore[assignment]


def main() -> None:
    if sys.argv[2]:
        module, _, function = sys.argv[2].partition(":")
        getattr(importlib.import_module(module), function)()
    from ckptkit.cli import app, run

    found = []
    for words in json.loads(sys.argv[1]):
        sys.argv = ["ckptkit", *words]
        app.registered_commands.clear()  # each call adds its own, as in a process of its own
        app.registered_groups.clear()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run()
        found.append([code, out.getvalue(), err.getvalue()])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
