"""`REF`: where the user's code is found, run once, and blamed in one line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from ckptkit.errors import CkptkitError, ModelError, NotFoundError, UsageError
from ckptkit.references import describe, load_callable, load_reference
from tests.conftest import ROOT


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("VALUE = 41\n")
    path = tmp_path / "net.py"
    path.write_text(
        "import sys\n"
        "from beside import VALUE\n"
        "class Build:\n"
        "    @staticmethod\n"
        "    def make(): return VALUE + 1\n"
        "def build(): return VALUE\n"
        "def fails(): raise RuntimeError('no\\nreally')\n"
        "def leaves(): sys.exit(3)\n"
        "def nothing(): return None\n"
        "def wants(size, *, depth): return size\n"
        "def optional(size=1): return size\n"
        "value = 3\n"
    )
    return path


def test_a_file_finds_what_lies_beside_it_and_leaves_the_path_alone(net: Path) -> None:
    before = list(sys.path)
    assert load_reference(f"{net}:build") == 41
    assert load_reference(f"{net}:Build.make") == 42
    assert load_reference(f"{net}:optional") == 1
    assert sys.path == before


def test_a_module(monkeypatch: pytest.MonkeyPatch, net: Path) -> None:
    monkeypatch.chdir(net.parent)
    assert load_reference("net:build") == 41
    assert load_callable("pathlib:Path.cwd")() == Path.cwd()


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("fails", ModelError, "RuntimeError: no"),
        ("leaves", ModelError, "SystemExit: 3"),
        ("nothing", ModelError, "None"),
        ("wants", UsageError, "size, depth"),
        ("value", UsageError, "int"),
        ("biuld", NotFoundError, "Did you mean build"),
    ],
)
def test_what_goes_wrong_in_the_file(net: Path, name: str, kind: type[CkptkitError], words: str) -> None:
    with pytest.raises(kind) as caught:
        load_reference(f"{net}:{name}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_users_own_exception_is_the_cause(net: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_reference(f"{net}:fails")
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("reference", ["", "x", ":f", "net.py", "net.py:", "missing.py:f", "no.such.module:f", "..x:f"])
def test_what_is_no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CkptkitError) as caught:
        load_reference(reference)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_parse(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def build(:\n")
    with pytest.raises(ModelError, match="SyntaxError"):
        load_reference(f"{tmp_path / 'broken.py'}:build")
    assert "broken" not in sys.modules


def test_describe_looks_past_the_header_that_keras_puts_first() -> None:
    error = ValueError("Exception encountered when calling Model.call().\n\n\x1b[1mno such shape\x1b[0m\nArguments")
    assert describe(error) == "ValueError: no such shape"
    assert describe(KeyError()) == "KeyError"


_TRITON = """
import sys
import tensorflow
from ckptkit.references import load_triton
flags = sys.getdlopenflags()
load_triton()
assert "triton" in sys.modules and sys.getdlopenflags() == flags
import torch
torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
"""


@pytest.mark.torch
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_triton_and_tensorflow_live_in_one_process(first: bool) -> None:
    """PyTorch imports Triton with its first optimizer; after TensorFlow and on its own that is a segmentation fault."""
    for name in ("torch", "triton", "tensorflow"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    code = _TRITON.replace("import tensorflow\n", "") + "import tensorflow\n" if first else _TRITON
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
