"""`--html` of each command, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.report.html.samples import Page


def report(done, path, code=0):
    assert done.returncode == code, done.stderr
    assert done.stderr == f"report: {path}\n"
    return Page(path.read_text())


@pytest.fixture
def run(tmp_path):
    for step in (1, 2, 3):
        values = {"a/kernel": np.full((2, 3), float(step), "f4"), "b/kernel": np.ones((3, 4), "f4")}
        np.savez(tmp_path / f"run-{step}.npz", **values)
    return tmp_path


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_templates_are_loaded_for_a_report_only(run, option) -> None:
    arguments = ["ckptkit", "diff", str(run / "run-1.npz"), str(run / "run-2.npz"), option]
    arguments += [str(run / "x.html")] if option == "--html" else []
    program = f"import sys\nsys.argv = {arguments}\nfrom ckptkit.cli import run\nrun()\nprint('jinja2' in sys.modules)"
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[-1] == str(option == "--html")


def test_inspect(run_cli, run) -> None:
    page = report(run_cli("inspect", run / "run-1.npz", "--stats", "--html", run / "x.html"), run / "x.html")
    assert "DOUBTS" in page.shown
    assert page.count("path", **{"class": "area"}) == 2
    assert "LISTED" in report(run_cli("inspect", run / "run-1.npz", "--html", run / "x.html"), run / "x.html").shown


def test_diff_beside_json_and_in_place_of_an_earlier_report(run_cli, run) -> None:
    out = run / "x.html"
    for _ in range(2):
        done = run_cli("diff", run / "run-1.npz", run / "run-2.npz", "--json", "--html", out)
        assert json.loads(done.stdout)["verdict"] == "different"
        assert "DIFFERENT" in report(done, out, 1).shown
    quiet = run_cli("diff", run / "run-1.npz", run / "run-1.npz", "--quiet", "--html", out)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert "IDENTICAL" in out.read_text()


def test_the_page_is_still_printed(run_cli, run) -> None:
    done = run_cli("diff", run / "run-1.npz", run / "run-2.npz", "--html", run / "x.html")
    assert done.stdout.startswith("DIFFERENT")


def test_drift(run_cli, run) -> None:
    page = report(run_cli("drift", *sorted(run.glob("*.npz")), "--html", run / "x.html"), run / "x.html", 1)
    assert "FROZEN" in page.shown


def test_remap(run_cli, fixtures, tmp_path) -> None:
    single, double = fixtures / "single-h5/single.h5", fixtures / "double-h5/double.h5"
    out = tmp_path / "x.html"
    page = report(run_cli("remap", single, "--like", double, "--dry-run", "--html", out), out)
    assert "dense → dense_2: 2 variables, roles and shapes" in page.shown
    assert "nothing written (dry run)" in page.shown


def test_verify(run_cli, fixtures, tmp_path) -> None:
    pytest.importorskip("tensorflow")
    out = tmp_path / "x.html"
    page = report(
        run_cli("verify", fixtures / "single-h5/single.h5", fixtures / "single-h5/single.h5", "--html", out), out
    )
    assert "PASS" in page.shown


def test_audit(run_cli, tmp_path) -> None:
    pytest.importorskip("tensorflow")
    (tmp_path / "net.py").write_text(
        "import keras\ndef build():\n    return keras.Sequential([keras.layers.Dense(3)])\n"
    )
    out = tmp_path / "x.html"
    page = report(run_cli("audit", tmp_path / "net.py:build", "--input-shape", "4,5", "--html", out), out)
    assert "CLEAN" in page.shown


@pytest.mark.parametrize("what", ["text", "input", "folder", "nowhere", "pipe", "link"])
def test_nothing_but_a_report_is_replaced(run_cli, run, what) -> None:
    (run / "notes.html").write_text("mine")
    (run / "link.html").symlink_to(run / "notes.html")
    target = {
        "text": run / "notes.html", "input": run / "run-1.npz", "folder": run, "nowhere": run / "none" / "x.html",
        "pipe": "-", "link": run / "link.html",
    }[what]  # fmt: skip
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    done = run_cli("diff", run / "run-1.npz", run / "run-2.npz", "--html", target)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ckptkit: ")
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
