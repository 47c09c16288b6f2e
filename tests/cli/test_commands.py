"""The command line as scripts and people meet it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT


def ok(done, code=0):
    assert done.returncode == code, done.stderr
    return done.stdout


def refused(done):
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("ckptkit: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def h5(tmp_path):
    """Two files of plain datasets that differ in one element of one of them."""
    for name, value in (("a.h5", 1.0), ("b.h5", 1.5)):
        with h5py.File(tmp_path / name, "w") as file:
            file["dense/kernel"] = np.arange(6, dtype="f").reshape(2, 3)
            file["dense/bias"] = np.array([0.5, value, 2.0], dtype="f")
            file["other"] = np.full((3,), np.nan, dtype="f")
    return tmp_path


def test_inspect_json_has_every_documented_field(run_cli, h5) -> None:
    found = json.loads(ok(run_cli("inspect", h5 / "a.h5", "--json", "--stats", "--hash")))
    assert found["schema"] == "ckptkit.inspect/1"
    assert set(found) >= {"path", "format", "producer", "order_source", "layers", "variables", "totals"}
    kernel = next(v for v in found["variables"] if v["name"] == "dense/kernel")
    assert (kernel["shape"], kernel["dtype"], kernel["bytes"], kernel["layer"], kernel["role"]) == (
        [2, 3], "float32", 24, "dense", "kernel",
    )  # fmt: skip
    assert kernel["sha256"] == hashlib.sha256(np.arange(6, dtype="<f4").tobytes()).hexdigest()
    assert (kernel["stats"]["minimum"], kernel["stats"]["maximum"], kernel["stats"]["mean"]) == (0.0, 5.0, 2.5)
    assert found["totals"]["variables"] == 3


def test_inspect_filters_and_says_when_nothing_matches(run_cli, h5) -> None:
    found = json.loads(ok(run_cli("inspect", h5 / "a.h5", "--json", "--filter", "dense/*")))
    assert [v["name"] for v in found["variables"]] == ["dense/kernel", "dense/bias"]
    assert "dense" in refused(run_cli("inspect", h5 / "a.h5", "--filter", "dens"))


def test_doubts_are_raised(run_cli, h5) -> None:
    assert "3 NaN" in ok(run_cli("inspect", h5 / "a.h5", "--stats"))


def test_diff_exit_codes_and_verdicts(run_cli, h5) -> None:
    assert ok(run_cli("diff", h5 / "a.h5", h5 / "a.h5")).startswith("IDENTICAL")
    page = ok(run_cli("diff", h5 / "a.h5", h5 / "b.h5"), 1)
    assert page.startswith("DIFFERENT")
    assert "bias" in page
    assert ok(run_cli("diff", h5 / "a.h5", h5 / "b.h5", "--atol", "0.5")).startswith("WITHIN")
    found = json.loads(ok(run_cli("diff", h5 / "a.h5", h5 / "b.h5", "--json"), 1))
    bias = next(p for p in found["pairs"] if p["b_name"] == "dense/bias")
    assert (bias["status"], bias["max_abs"], bias["max_index"], bias["mismatched"]) == ("different", 0.5, [1], 1)
    assert ok(run_cli("diff", h5 / "a.h5", h5 / "b.h5", "--filter", "dense/kernel")).startswith("IDENTICAL")


def test_stat_has_a_line_for_every_layer(run_cli, h5) -> None:
    lines = ok(run_cli("diff", h5 / "a.h5", h5 / "a.h5", "--stat")).splitlines()
    assert any(line.split()[0] == "dense" for line in lines if line.strip())


def test_usage_errors_are_one_line(run_cli, h5) -> None:
    assert "nosuch" in refused(run_cli("nosuch"))
    assert "--frob" in refused(run_cli("inspect", h5 / "a.h5", "--frob"))
    assert "--by" in refused(run_cli("diff", h5 / "a.h5", h5 / "b.h5", "--by", "luck"))
    assert "--like" in refused(run_cli("remap", h5 / "a.h5", "-o", h5 / "c.h5"))
    assert "-o" in refused(run_cli("remap", h5 / "a.h5", "--like", h5 / "b.h5"))
    assert "KEY=VALUE" in refused(run_cli("remap", h5 / "a.h5", "--like", h5 / "b.h5", "--dry-run", "--assume", "x"))


def test_version_and_help(run_cli) -> None:
    import ckptkit

    assert ok(run_cli("--version")) == f"ckptkit {ckptkit.__version__}\n"
    for command in ("inspect", "diff", "remap", "convert", "verify", "audit", "drift"):
        assert f"$ ckptkit {command} " in ok(run_cli(command, "--help"))


def test_remap_plans_are_written_read_and_applied(run_cli, fixtures, tmp_path) -> None:
    single, double = fixtures / "single-h5/single.h5", fixtures / "double-h5/double.h5"
    plan, out = tmp_path / "plan.json", tmp_path / "out.h5"
    ok(run_cli("remap", single, "--like", double, "--dry-run", "--plan-out", plan))
    assert not out.exists()
    data = json.loads(plan.read_text())
    assert (data["schema"], len(data["steps"])) == ("ckptkit.remap/1", 4)
    ok(run_cli("remap", single, "--plan", plan, "-o", out))
    with h5py.File(single) as a, h5py.File(out) as b:
        ours = a["model_weights/dense/dense/kernel:0"][()]
        theirs = [v for n, v in _datasets(b) if n.endswith("dense_2/kernel:0")][0]
        assert np.array_equal(ours, theirs)
    data["steps"][0]["frobnicate"] = 1
    plan.write_text(json.dumps(data))
    assert "frobnicate" in refused(run_cli("remap", single, "--plan", plan, "-o", tmp_path / "other.h5"))
    assert "--force" in refused(run_cli("remap", single, "--like", double, "-o", out))


def _datasets(file):
    found = []
    file.visititems(lambda name, item: found.append((name, item[()])) if isinstance(item, h5py.Dataset) else None)
    return found


def test_remap_refuses_what_does_not_fit_and_names_it(run_cli, fixtures, tmp_path) -> None:
    source, target = fixtures / "tf1-scopes/model.ckpt", fixtures / "double-h5/double.h5"
    done = run_cli("remap", source, "--like", target, "-o", tmp_path / "out.h5")
    assert done.returncode == 2
    first, *groups = done.stderr.splitlines()
    assert first.startswith("ckptkit: ")
    assert "wants 4 variables" in first
    assert "--allow-missing leaves" in first
    assert groups[0].startswith("  missing: dense_2/kernel")
    assert len(groups) == 6
    assert "more; --json" in groups[5]
    assert not (tmp_path / "out.h5").exists()


@pytest.fixture
def twins(tmp_path):
    """A source that holds one network twice, and a template that holds it once under other names."""
    layers = {"fc/kernel": (5, 5), "fc/bias": (5,), "out/kernel": (5, 3)}
    rng = np.random.default_rng(4)
    for path, scopes in (("agent.npz", ("Online/", "Target/")), ("q.npz", ("",))):
        values = {
            f"{scope}{name}": rng.normal(size=shape).astype("f4") for scope in scopes for name, shape in layers.items()
        }
        np.savez(tmp_path / path, **values)
    return tmp_path / "agent.npz", tmp_path / "q.npz"


@pytest.mark.parametrize("allowed", [(), ("--allow-unexpected", "--allow-missing")])
def test_copies_are_ambiguous_and_the_way_out_is_a_scope(run_cli, twins, tmp_path, allowed) -> None:
    agent, like = twins
    done = run_cli("remap", agent, "--like", like, "-o", tmp_path / "out.npz", *allowed)
    assert done.returncode == 2
    assert "Settle it with --source-scope Online or --source-scope Target." in done.stderr
    assert "--map" not in done.stderr
    assert "--allow" not in done.stderr
    page = ok(run_cli("remap", agent, "--like", like, "-o", tmp_path / "out.npz", "--source-scope", "Target"))
    assert "outside the scope: 3 weights of the source left out" in page
    with np.load(agent) as source, np.load(tmp_path / "out.npz") as moved:
        assert all(np.array_equal(moved[name], source[f"Target/{name}"]) for name in moved.files)


def test_a_refusal_leaves_a_plan_that_is_finished_by_hand(run_cli, twins, tmp_path) -> None:
    agent, like = twins
    plan, out = tmp_path / "plan.json", tmp_path / "out.npz"
    done = run_cli(
        "remap", agent, "--like", like, "-o", out, "--plan-out", plan, "--json", "--html", tmp_path / "x.html"
    )
    assert done.returncode == 2
    told, written = json.loads(done.stdout), json.loads(plan.read_text())
    assert [place["target"] for place in told["open"]] == ["fc/kernel", "fc/bias", "out/kernel"]
    assert [group["settle"] for group in told["groups"]] == ["--source-scope Online or --source-scope Target"] * 2
    assert written["open"] == told["open"]
    assert "REFUSED" in (tmp_path / "x.html").read_text()
    refusal = refused(run_cli("remap", agent, "--plan", plan, "-o", out))
    assert "fc/kernel, fc/bias, out/kernel" in refusal
    shown = run_cli("remap", agent, "--plan", plan, "--dry-run")
    assert (shown.returncode, "open: fc/bias" in shown.stdout) == (2, True)
    for place in written.pop("open"):
        chosen = place.pop("candidates")[1]
        op = {"read": chosen["source"], "shape": chosen["shape"], "dtype": chosen["dtype"]}
        del place["why"]
        written["steps"].append({**place, "op": op, "evidence": ["by hand"], "doubts": []})
    plan.write_text(json.dumps(written))
    ok(run_cli("remap", agent, "--plan", plan, "-o", out))
    with np.load(agent) as source, np.load(out) as moved:
        assert all(np.array_equal(moved[name], source[f"Target/{name}"]) for name in moved.files)


def test_one_pair_is_named(run_cli, twins, tmp_path) -> None:
    agent, like = twins
    out = tmp_path / "out.npz"
    maps = ("--map", "fc=Online/fc", "--map", "out/kernel=Target/out/kernel", "--allow-unexpected")
    page = ok(run_cli("remap", agent, "--like", like, "-o", out, *maps))
    assert "3 by --map" in page
    with np.load(agent) as source, np.load(out) as moved:
        assert np.array_equal(moved["out/kernel"], source["Target/out/kernel"])
        assert np.array_equal(moved["fc/bias"], source["Online/fc/bias"])
    for wrong, said in (
        ("fc=Online/fd", "Did you mean Online/fc"),
        ("fe=Online/fc", "Did you mean fc"),
        ("fc/bias=Online/fc/kernel", "another shape [5, 5]"),
        ("fc", "TARGET=SOURCE"),
    ):
        assert said in refused(run_cli("remap", agent, "--like", like, "--dry-run", "--map", wrong))
    assert "Did you mean Online" in refused(
        run_cli("remap", agent, "--like", like, "--dry-run", "--source-scope", "online")
    )
    assert "matches no layer" in refused(run_cli("remap", agent, "--like", like, "--dry-run", "--rename", "^Onlin/="))


@pytest.mark.parametrize("ending", ["npz", "safetensors", "h5", "weights.h5", "weights.json", "ckpt"])
def test_convert_there_and_back_keeps_every_byte(run_cli, fixtures, tmp_path, ending) -> None:
    source = fixtures / "tf1-seq2seq/seq2seq.ckpt-9000"
    there, back = tmp_path / f"there.{ending}", tmp_path / "back.npz"
    ok(run_cli("convert", source, "-o", there))
    ok(run_cli("convert", there, "-o", back))
    hashes = [
        sorted(
            (v["shape"], v["dtype"], v["sha256"])
            for v in json.loads(ok(run_cli("inspect", p, "--json", "--hash")))["variables"]
        )
        for p in (source, there, back)
    ]
    assert hashes[0] == hashes[1] == hashes[2]


def test_sharded_weights_are_not_replaced(run_cli, fixtures, tmp_path) -> None:
    source, out = fixtures / "tf1-scopes/model.ckpt", tmp_path / "out.weights.json"
    ok(run_cli("convert", source, "-o", out))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "another name" in refused(run_cli("convert", source, "-o", out, "--force"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_from_files_never_reach_the_terminal_raw(run_cli, tmp_path) -> None:
    with h5py.File(tmp_path / "evil.h5", "w") as file:
        file["a\x1b[2J[red]b\u202e\u2028c/kernel"] = np.zeros((2, 2), "f")
    for options in ((), ("--stats",), ("--json",)):
        page = ok(run_cli("inspect", tmp_path / "evil.h5", *options))
        assert not set(page) & {"\x1b", "\u202e", "\u2028"}
    assert "[red]" in ok(run_cli("inspect", tmp_path / "evil.h5"))


def test_narrow_terminals_wrap(fixtures) -> None:
    import pty

    parent, child = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "60", "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "ckptkit", "inspect", "tf1-rnn-cells/model.ckpt"]
    process = subprocess.Popen(command, stdout=child, env=env, cwd=fixtures)
    os.close(child)
    chunks = []
    while True:
        try:
            chunk = os.read(parent, 4096)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    assert process.wait() == 0
    text = b"".join(chunks).decode()
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(len(line) for line in plain.splitlines()) <= 60
    assert "candidate/kernel" in plain


def test_a_closed_output_is_no_traceback(fixtures) -> None:
    path = fixtures / "keras3-many-weights/model.weights.h5"
    command = f"{sys.executable} -m ckptkit inspect {path} --json | head -c 10 >/dev/null"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "Traceback" not in done.stderr
    full = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m ckptkit inspect {path} > /dev/full"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert full.returncode == 2
    assert "Traceback" not in full.stderr
    assert full.stderr.count("\n") == 1
