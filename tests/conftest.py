"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptkit.references import load_triton
from tests.stores import run_remote, s3, s3_env, s3_folder, server  # noqa: F401 - fixtures

# Before anything imports TensorFlow: `tf.keras` is then the legacy one, which tf.compat.v1's layers and cells need;
# `import keras` still gives Keras 3 in the same process.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
load_triton()  # before TensorFlow, which the processes of this suite share with PyTorch

# The tests of one of these share nothing, and take long: each goes to whichever process is free.
_APART = ("tests/test_docs.py",)

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"
_YARDSTICKS = Path(os.environ.get("CKPTKIT_YARDSTICKS", ROOT.parent / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a file's tests share is made once: with `-n`, they stay in one process."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(item.nodeid if file in _APART else file))


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of shipped fixtures."""
    return FIXTURES


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real checkpoints made by others; not part of the project."""
    folder = _YARDSTICKS / "corpus"
    if not (folder / "MANIFEST.json").is_file():
        pytest.skip("the collection of real checkpoints is not on this machine (CKPTKIT_YARDSTICKS names its folder)")
    return folder


@pytest.fixture(scope="session")
def hostile_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The malformed and malicious files, built anew; `expectations.json` lies beside them."""
    folder = _YARDSTICKS / "hostile"
    if not (folder / "make_hostile.py").is_file():
        pytest.skip("the collection of hostile files is not on this machine (CKPTKIT_YARDSTICKS names its folder)")
    target = tmp_path_factory.mktemp("hostile")
    subprocess.run([sys.executable, str(folder / "make_hostile.py"), str(target)], check=True, capture_output=True)
    (target / "expectations.json").write_bytes((folder / "expectations.json").read_bytes())
    return target


RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """Runs the command line as a user does, in a process of its own."""

    def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"}
        settings = {"capture_output": True, "text": True, "timeout": 600, "env": env, **options}
        return subprocess.run([sys.executable, "-m", "ckptkit", *map(str, args)], **settings)  # type: ignore[call-overload]

    return run
