"""Calling git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from ckptkit.errors import CkptkitError, MissingDependencyError, UsageError, WriteError

# What git answers where a configuration value or file that was asked for is not there (git-config(1)).
_NOT_THERE = {1, 5}


def run_git(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
    """What `git arguments` prints.

    Args:
        arguments: without `git`.
        stdin: what it reads.
        env: variables in addition to those of this process.

    Raises:
        MissingDependencyError: git is not installed.
        CkptkitError: git refused; the message is the first line of its own.
    """
    done = _run(arguments, stdin, env)
    if done.returncode:
        raise _refusal(arguments, done)
    return done.stdout


def read_config(*arguments: str) -> str | None:
    """The value that `git config arguments` prints; None where there is none."""
    command = ("config", *arguments)
    done = _run(command)
    if done.returncode in _NOT_THERE:
        return None
    if done.returncode:
        raise _refusal(command, done)
    return os.fsdecode(done.stdout).removesuffix("\n")


def unset_config(scope: str, key: str) -> None:
    """Take every value of `key` out of the configuration; a section that is left empty goes too."""
    command = ("config", scope, "--unset-all", key)
    done = _run(command)
    if done.returncode and done.returncode not in _NOT_THERE:
        raise _refusal(command, done)


def _run(
    arguments: tuple[str, ...], stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603  # what is passed on are words of ours and paths behind `--`
            ("git", *arguments),  # noqa: S607  # the user's git is the one on the PATH
            input=stdin,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C", **(env or {})},  # messages are recognised by their words
            check=False,
        )
    except FileNotFoundError:
        raise MissingDependencyError("git is not installed, or not on the PATH") from None


def _refusal(arguments: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> CkptkitError:
    said = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[0]
    if "not a git repository" in said:
        return UsageError("not inside a git repository", hint="--global sets git up for all repositories")
    problem = said.removeprefix("fatal: ").removeprefix("error: ")
    if arguments[0] == "config":
        return WriteError(f"git could not change its configuration: {problem}")
    return UsageError(f"git refused: {problem}", key=f"git {arguments[0]}")
