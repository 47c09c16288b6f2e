"""The commands, end to end, with URLs for every path that they take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FIXTURES, ROOT
from tests.remote.conftest import copy_fixture
from tests.remote.server import RangeServer
from tests.stores import KEY, SECRET

LIKE = FIXTURES / "keras3-mlp-weights" / "model.weights.h5"


@pytest.fixture
def model(server: RangeServer) -> str:
    """URL of a whole Keras model."""
    copy_fixture("keras3-mlp-h5", server.folder)
    return f"{server.url}/keras3-mlp-h5/model.h5"


def test_inspect_and_diff(model: str, run_remote: Any) -> None:
    local = FIXTURES / "keras3-mlp-h5" / "model.h5"
    far, near = (json.loads(run_remote("inspect", path, "--json", "--stats").stdout) for path in (model, local))
    assert far.pop("path") == model
    near.pop("path")
    assert far == near
    same = run_remote("diff", model, local, "--json")
    assert (same.returncode, json.loads(same.stdout)["verdict"], same.stderr) == (0, "identical", "")


def test_remap_convert_and_drift_in_a_store(model: str, s3: Any, s3_folder: str, run_remote: Any) -> None:
    dry = run_remote("remap", model, "--like", LIKE, "--dry-run", "--plan-out", f"{s3_folder}/plan.json")
    assert (dry.returncode, dry.stderr) == (0, "")
    done = run_remote("remap", model, "--plan", f"{s3_folder}/plan.json", "-o", f"{s3_folder}/run/step-1.weights.h5")
    assert (done.returncode, done.stderr) == (0, "")
    again = run_remote(
        "convert", f"{s3_folder}/run/step-1.weights.h5", "-o", f"{s3_folder}/run/step-2.weights.h5", "--json"
    )
    assert (again.returncode, again.stderr) == (0, "")
    drift = run_remote("drift", f"{s3_folder}/run", "--json")
    assert (drift.returncode, drift.stderr) == (1, "")
    assert json.loads(drift.stdout)["checkpoints"] == [f"{s3_folder}/run/step-{step}.weights.h5" for step in (1, 2)]
    refused = run_remote("convert", model, "-o", f"{s3_folder}/run/step-1.weights.h5", "--to", "keras-weights-h5")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    page = run_remote("diff", model, LIKE, "--html", f"{s3_folder}/diff.html")
    assert (page.returncode, page.stderr) == (0, f"report: {s3_folder}/diff.html\n")
    assert s3.info(f"{s3_folder}/diff.html")["size"] > 1000


def test_an_object_replaced_in_the_middle(model: str, server: RangeServer, run_remote: Any) -> None:
    path = server.folder / "keras3-mlp-h5" / "model.h5"

    def replace(asked: str, number: int) -> None:
        if number == 3:
            shutil.copy(path, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)

    server.knobs.before = replace
    found = run_remote("diff", model, FIXTURES / "keras3-mlp-h5" / "model.h5")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        f"ckptkit: {model}: changed while it was read. Run the command again when nothing writes there\n"
    )


def test_secrets_are_not_shown(model: str, server: RangeServer, run_remote: Any) -> None:
    secret = f"{model.replace('://', '://me:hunter2@')}?X-Amz-Signature=abcdef&versionId=3"
    shown = f"{model.replace('://', '://…@')}?X-Amz-Signature=…&versionId=3"
    planned = run_remote("remap", secret, "--like", secret, "--dry-run", "--json")
    assert [json.loads(planned.stdout)[side] for side in ("source", "target")] == [shown, shown]
    compared = run_remote("diff", secret, secret, "--json")
    assert [json.loads(compared.stdout)[side] for side in ("a", "b")] == [shown, shown]
    listed = run_remote("inspect", secret)
    failed = run_remote("inspect", secret.replace("127.0.0.1", "nowhere.invalid"), CKPTKIT_DEBUG="1")
    server.knobs.errors, server.knobs.status = -1, 403
    denied = run_remote("inspect", secret)
    assert (failed.returncode, denied.returncode, denied.stderr.count("\n")) == (2, 2, 1)
    assert "Traceback" in failed.stderr
    for page in (planned, compared, listed, failed, denied):
        said = page.stdout + page.stderr
        assert not [word for word in ("hunter2", "abcdef", KEY, SECRET) if word in said], said


def test_a_plan_with_a_hidden_secret_asks_for_its_template(model: str, tmp_path: Path, run_remote: Any) -> None:
    like = f"{model}?sig=abcdef"
    run_remote("remap", model, "--like", like, "--dry-run", "--plan-out", tmp_path / "plan.json")
    assert "abcdef" not in (tmp_path / "plan.json").read_text()
    found = run_remote("remap", model, "--plan", tmp_path / "plan.json", "-o", tmp_path / "out.h5")
    assert found.returncode == 2
    assert "secrets of this URL were left out" in found.stderr
    found = run_remote("remap", model, "--plan", tmp_path / "plan.json", "--like", like, "-o", tmp_path / "out.h5")
    assert found.returncode == 0


@pytest.mark.parametrize(
    ("blocked", "url", "said"),
    [
        (
            "fsspec",
            "s3://bucket/x.h5",
            "URLs are read through fsspec, which is not installed. pip install 'ckptkit[remote]' s3fs",
        ),
        ("s3fs", "s3://bucket/x.h5", "s3:// needs a package that is not installed. pip install s3fs"),
        ("gcsfs", "gs://bucket/x.h5", "gs:// needs a package that is not installed. pip install gcsfs"),
        ("none", "nonsense://x", "no such kind of URL: found nonsense://"),
    ],
)
def test_what_is_missing_is_said_with_the_command(blocked: str, url: str, said: str) -> None:
    code = (
        f"import sys; sys.modules[{blocked!r}] = None; sys.argv = ['ckptkit', 'inspect', {url!r}]\n"
        "from ckptkit.cli import run; sys.exit(run())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (found.returncode, found.stderr) == (2, f"ckptkit: {url}: {said}\n")


def test_a_local_path_loads_no_fsspec() -> None:
    code = f"import sys, ckptkit; ckptkit.open({os.fspath(LIKE)!r}).close(); print('fsspec' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout == "False\n"
