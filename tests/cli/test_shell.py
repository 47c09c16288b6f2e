"""What makes the command line comfortable: completion, `--quiet`, `-`, colours, guesses at what was meant."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys

import pytest

from tests.conftest import ROOT

COMMANDS = ("inspect", "diff", "remap", "convert", "verify", "audit", "drift")


@pytest.fixture
def single(fixtures):
    return fixtures / "single-h5/single.h5"


@pytest.fixture
def double(fixtures):
    return fixtures / "double-h5/double.h5"


def refused(done) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


# Completion


@pytest.fixture
def complete(tmp_path):
    """What bash offers for the last word of a line, by its own protocol and the script that we give it."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    script = binaries / "ckptkit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ckptkit "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{binaries}:{os.environ['PATH']}"}

    def complete(line: str) -> list[str]:
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        program = f"""
            eval "$(_CKPTKIT_COMPLETE=source_bash ckptkit)"
            COMP_WORDS=({shlex.join(words)})
            COMP_CWORD={len(words) - 1}
            _ckptkit_completion ckptkit
            printf '%s\\n' "${{COMPREPLY[@]}}"
            complete -p ckptkit
        """
        shell = ["bash", "-c", program]
        done = subprocess.run(shell, capture_output=True, text=True, env=env, cwd=tmp_path, check=True)
        *offered, how = done.stdout.splitlines()
        assert "-o default" in how  # where nothing is offered bash completes files
        return [word for word in offered if word]

    return complete


def test_completion_offers_commands_options_and_values(complete) -> None:
    assert complete("ckptkit d") == ["diff", "drift"]
    assert complete("ckptkit git t") == ["textconv"]
    assert complete("ckptkit diff --f") == ["--filter"]
    assert complete("ckptkit diff --by ") == ["auto", "name", "order", "scope", "value"]
    assert "safetensors" in complete("ckptkit convert x --to s")


def test_completion_leaves_paths_to_the_shell(complete) -> None:
    assert complete("ckptkit inspect fix") == []
    assert complete("ckptkit remap a --like fix") == []


def test_completion_knows_the_variables_of_the_file_that_is_named(complete, single, tmp_path) -> None:
    assert complete(f"ckptkit inspect {single} --filter dense/") == ["dense/kernel", "dense/bias"]
    assert complete(f"ckptkit diff {single} other --filter dense_1/k") == ["dense_1/kernel"]
    assert complete("ckptkit inspect nowhere --filter x") == []
    import numpy as np
    from safetensors.numpy import save_file

    evil = tmp_path / "evil.safetensors"
    save_file({"x/$(touch pwned)": np.ones(1), "x/`id`": np.ones(1), "x/a b": np.ones(1), "x/ok": np.ones(1)}, evil)
    assert complete(f"ckptkit inspect {evil} --filter x") == ["x", "x/ok"]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_every_shell_gets_its_script(run_cli, shell) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_CKPTKIT_COMPLETE": f"source_{shell}"}
    assert f"_CKPTKIT_COMPLETE=complete_{shell}" in run_cli(env=env).stdout


# Quiet


def test_quiet_prints_nothing_and_keeps_the_exit_code(run_cli, single, double, tmp_path) -> None:
    def code(*arguments) -> int:
        done = run_cli(*arguments)
        assert (done.stdout, done.stderr) == ("", "")
        return done.returncode

    assert code("diff", single, single, "--quiet") == 0
    assert code("diff", "-q", single, double) == 1
    assert code("remap", single, "--like", double, "-o", tmp_path / "out.h5", "-q") == 0
    assert code("convert", single, "-o", tmp_path / "out.npz", "-q") == 0
    assert code("drift", single, single, "-q") == 1
    assert (tmp_path / "out.h5").exists()
    assert "no such file" in refused(run_cli("diff", "-q", single, "nowhere"))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "inspect"])
def test_quiet_and_json_exclude_each_other(run_cli, command, single, tmp_path) -> None:
    places = {"convert": [single, "-o", tmp_path / "x.npz"], "diff": [single, single], "verify": [single, single]}
    said = refused(run_cli(command, *places.get(command, [single]), "--quiet", "--json"))
    assert said.startswith("ckptkit: --quiet and --json: ")


# Pipes


def test_a_plan_goes_through_a_pipe(run_cli, single, double, tmp_path) -> None:
    made = run_cli("remap", single, "--like", double, "--dry-run", "--plan-out", "-")
    assert made.returncode == 0
    assert json.loads(made.stdout)["schema"] == "ckptkit.remap/1"
    out = tmp_path / "out.h5"
    assert run_cli("remap", single, "--plan", "-", "-o", out, input=made.stdout).returncode == 0
    assert run_cli("diff", "-q", single, out).returncode == 0
    assert "standard input: the plan is not JSON" in refused(
        run_cli("remap", single, "--plan", "-", "-o", tmp_path / "x.h5", input="nonsense")
    )
    both = run_cli("remap", single, "--like", double, "--dry-run", "--plan-out", "-", "--json")
    assert "both go to stdout" in refused(both)


def test_a_checkpoint_is_no_stream_but_may_be_called_like_one(run_cli, single, double, tmp_path) -> None:
    calls = (
        ("inspect", "-"), ("diff", single, "-"), ("diff", "-", single), ("convert", "-", "-o", "x.npz"),
        ("convert", single, "-o", "-"), ("remap", single, "--like", "-", "--dry-run"), ("drift", single, "-"),
        ("verify", "-", single), ("git", "textconv", "-"),
    )  # fmt: skip
    for call in calls:
        said = refused(run_cli(*call, cwd=tmp_path))
        assert "./-" in said
        assert "pipe" in said
    (tmp_path / "-").write_bytes(single.read_bytes())
    assert run_cli("diff", "-q", "./-", single, cwd=tmp_path).returncode == 0


# Terminals


def on_a_terminal(*arguments, columns=100, **extra) -> str:
    """What `ckptkit arguments` writes to a terminal."""
    env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    env |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(columns), **extra}
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "ckptkit", *map(str, arguments)], stdout=theirs, env=env)
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 65536):
            pieces.append(piece)
    except OSError:  # Linux's way of saying that the other end is closed
        pass
    os.close(ours)
    assert process.wait() in (0, 1)
    return b"".join(pieces).decode()


ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_colour_only_on_a_terminal_that_wants_it(run_cli, single, double) -> None:
    plain = ESCAPE.sub("", on_a_terminal("diff", single, double))
    assert ESCAPE.search(on_a_terminal("diff", single, double))
    for refusal in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert on_a_terminal("diff", single, double, **refusal).split() == plain.split()
    env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    env |= {"PYTHONPATH": str(ROOT)}
    assert not ESCAPE.search(run_cli("diff", single, double, env=env).stdout)
    assert ESCAPE.search(run_cli("diff", single, double, env={**env, "FORCE_COLOR": "1"}).stdout)
    assert not ESCAPE.search(run_cli("diff", single, double, env={**env, "FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout)


@pytest.mark.parametrize("columns", [60, 120])
@pytest.mark.parametrize("command", [*COMMANDS, "git", "git install"])
def test_help_explains_every_argument_and_fits(command, columns) -> None:
    page = ESCAPE.sub("", on_a_terminal(*command.split(), "--help", columns=columns))
    assert max(map(len, page.splitlines())) <= columns
    assert f"Usage: ckptkit {command} [OPTIONS]" in page
    if command != "git":
        assert "Examples:" in page
        assert page.count(f"$ ckptkit {command}") >= 1
    arguments = page.partition("─ Arguments ")[2].partition("╰")[0]
    for line in arguments.splitlines():
        if line.startswith("│ *"):
            assert re.search(r"\*\s+\S+\s+\S+\s+\w", line), f"no help: {line}"


# What was meant


def test_what_was_meant(run_cli, single, tmp_path) -> None:
    assert "Did you mean 'inspect'" in refused(run_cli("inspct", single))
    assert "Did you mean 'textconv'" in refused(run_cli("git", "textcon"))
    said = refused(run_cli("inspect", single, "--filtre", "x"))
    assert "--filter" in said
    assert "(`ckptkit inspect --help` tells more)" in said
    assert said.count("Did you mean") == 1
    assert "'auto', 'name', 'order', 'scope', 'value'" in refused(run_cli("diff", single, single, "--by", "nam"))
    assert "Near it: dense_1, dense" in refused(run_cli("inspect", single, "--filter", "dens_1"))
    assert "Missing argument 'PATH'" in refused(run_cli("inspect"))


def test_a_mistyped_variable_in_a_plan(run_cli, single, double, tmp_path) -> None:
    plan = run_cli("remap", single, "--like", double, "--dry-run", "--plan-out", "-").stdout
    plan = plan.replace('"dense/kernel"', '"dense/kernle"')
    said = refused(run_cli("remap", single, "--plan", "-", "-o", tmp_path / "x.h5", input=plan))
    assert "read dense/kernle: the plan is stale: no such variable. Did you mean dense/kernel" in said


def test_a_mistyped_path(run_cli, single, fixtures, tmp_path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.weights.h5").write_bytes(single.read_bytes())
    for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        (folder / name).write_bytes((fixtures / "keras3-mlp-checkpoint" / name).read_bytes())

    def hint(path: str) -> str:
        return refused(run_cli("inspect", path, cwd=tmp_path)).partition("no such file")[2].strip()

    assert hint("models/model.weigths.h5") == ". Did you mean model.weights.h5?"
    assert hint("models/MODEL.WEIGHTS.H5") == ". Did you mean model.weights.h5?"
    assert hint("modles/model.weights.h5") == ". Did you mean models/model.weights.h5?"
    assert hint("models/ckpt-2") == ". Did you mean ckpt-1?"
    assert hint("models/ckpt-2.index") == ". Did you mean ckpt-1.index?"
    assert hint("nothing/like/it") == ""
    (folder / "evil\x1b[2J.h5").write_text("")
    assert "\\x1b[2J" in hint("models/evil.h5")


def test_calling_nothing_shows_the_help(run_cli) -> None:
    for call in ((), ("git",)):
        done = run_cli(*call)
        assert done.returncode == 2
        assert "Usage: ckptkit" in done.stdout + done.stderr
        assert "ckptkit:  " not in done.stderr


def test_wanted_help_and_version_are_no_trouble(run_cli) -> None:
    assert run_cli("--help").returncode == run_cli("git", "-h").returncode == run_cli("--version").returncode == 0
