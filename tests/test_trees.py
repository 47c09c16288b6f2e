"""Trees of plain dictionaries, without JAX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.conftest import ROOT

PROGRAM = """
import sys
import numpy as np
import ckptkit
like = {"params": {"Dense_0": {"kernel": np.zeros((3, 4), np.float16), "bias": np.zeros(4, np.float32)}}, "list": []}
tree = ckptkit.to_tree(sys.argv[1], like=like)
assert tree["params"]["Dense_0"]["kernel"].dtype == np.float16 and list(tree) == ["params", "list"]
assert (tree["params"]["Dense_0"]["kernel"] == np.arange(12).reshape(3, 4)).all()
assert (tree["params"]["Dense_0"]["bias"] == np.arange(4)).all()
assert not {"jax", "flax", "tensorflow"} & set(sys.modules)
"""


def test_to_tree_needs_no_framework(tmp_path: Path) -> None:
    kernel, bias = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(4, dtype=np.float32)
    np.savez(tmp_path / "a.npz", **{"params/Dense_0/kernel": kernel, "params/Dense_0/bias": bias})
    np.savez(tmp_path / "b.npz", **{"linear/w": kernel, "linear/b": bias})
    for name in ("a", "b"):
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / f"{name}.npz")], check=True, cwd=ROOT, timeout=600
        )
