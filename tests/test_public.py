"""The public names: one list, which the package, its types and the documentation agree on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap

import ckptkit
from tests.conftest import ROOT


def test_every_public_name_is_there_and_none_is_a_module() -> None:
    import types

    for name in ckptkit.__all__:
        assert not isinstance(getattr(ckptkit, name), types.ModuleType), name


def test_calls_survive_the_import_of_every_room() -> None:
    """A submodule that is imported becomes an attribute of the package; none may take a call's place."""
    program = """
        import importlib, pkgutil, ckptkit
        for module in pkgutil.iter_modules(ckptkit.__path__):
            if module.name != "__main__":
                importlib.import_module(f"ckptkit.{module.name}")
        assert all(callable(getattr(ckptkit, name)) for name in ckptkit.__all__ if name != "__version__")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, cwd=ROOT)


def test_types_say_the_same_as_the_table() -> None:
    tree = ast.parse((ROOT / "ckptkit" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == ckptkit._PUBLIC
    assert set(ckptkit.__all__) == {*ckptkit._PUBLIC, "__version__"}


def test_the_version_is_that_of_the_project() -> None:
    assert f'version = "{ckptkit.__version__}"' in (ROOT / "pyproject.toml").read_text()


USER_PROGRAM = """
import ckptkit

with ckptkit.open("a.h5") as checkpoint:
    names: list[str] = [layer.name for layer in checkpoint.layers]
    value = checkpoint["dense/kernel"].read()
with ckptkit.progress_bar() as progress:
    found = ckptkit.diff("a.h5", "b.h5", by="auto", rtol=1e-5, progress=progress)
verdict: str = found.verdict
proposal = ckptkit.plan("a.ckpt", "b.weights.h5", rename=["^x/=y/"])
proposal.apply("out.weights.h5", force=True)
assert ckptkit.verify("a.keras", "b.keras").passed
"""


def test_a_strict_user_program_type_checks(tmp_path) -> None:
    import importlib.util

    import pytest

    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (pip install '.[lint]')")
    program = tmp_path / "program.py"
    program.write_text(USER_PROGRAM)
    # mypy tells nobody of errors in an installed package, and this checkout stands for one.
    options = ["--strict", "--config-file", os.devnull, "--follow-imports", "silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
