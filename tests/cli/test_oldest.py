"""Each command once, on shipped files: what CI also does with the oldest releases of what is needed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.driver import run_all
from tests.conftest import FIXTURES

MODEL = """
import keras

def build():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
"""


def test_every_command_once(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    archive, weights = FIXTURES / "keras3-mlp-archive" / "model.keras", FIXTURES / "keras3-mlp-weights"
    found = run_all(
        [
            ["inspect", archive, "--stats", "--hash", "--json"],
            ["diff", archive, weights / "model.weights.h5", "--json", "--html", tmp_path / "a.html"],
            ["remap", FIXTURES / "sonnet2-mlp" / "ckpt-1", "--like", archive, "--dry-run", "--json"],
            ["remap", archive, "--like", weights / "model.weights.h5", "-o", tmp_path / "o.weights.h5", "--json"],
            ["convert", archive, "-o", tmp_path / "model", "--to", "tensor-bundle", "--json"],
            ["drift", archive, weights / "model.weights.h5", "--json"],
            ["verify", archive, archive, "--json"],
            ["audit", f"{tmp_path / 'net.py'}:build", "--json"],
            ["git", "textconv", archive],
        ],
        cwd=tmp_path,
    )
    assert [code for code, _, _ in found] == [0, 0, 2, 0, 0, 1, 0, 0, 0], found
    assert all(json.loads(text) for code, text, _ in found[:-1] if code < 2)
    assert "hidden" in found[-1][1]
