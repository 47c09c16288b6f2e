"""What is published: built as a release is, looked into, and installed into empty environments."""

from __future__ import annotations

import email
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import ckptkit
from tests.conftest import FIXTURES, ROOT
from tests.test_public import USER_PROGRAM

pytestmark = pytest.mark.slow

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""The classifiers of the package; each that is at hand is tried."""

# Bytes, a fifth more than they are; more means that something slipped in.
LARGEST_WHEEL = 5 << 18
LARGEST_SDIST = 2 << 20

# A clean checkout lacks these; hidden files are left out too.
_NOT_IN_A_CHECKOUT = {"__pycache__", "build", "dist", "site"}

# Files of the source distribution beside its folders.
_BESIDE = {".gitignore", ".mkdocs.yml", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run away from this checkout, as a user who has only what is installed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    settings = {"capture_output": True, "text": True, "env": {**env, "NO_COLOR": "1"}, **options}
    return subprocess.run([*map(str, command)], **settings)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel, which is built from the source distribution, and that."""
    if importlib.util.find_spec("build") is None:
        pytest.skip("build is not installed (pip install '.[test]')")
    folder = tmp_path_factory.mktemp("release")
    source = folder / "source"

    def left_out(within: str, names: list[str]) -> list[str]:
        return [name for name in names if name in _NOT_IN_A_CHECKOUT or (name[0] == "." and Path(within) == ROOT)]

    shutil.copytree(ROOT, source, ignore=left_out)
    for name in (".gitignore", ".mkdocs.yml"):
        shutil.copy(ROOT / name, source)
    done = run(sys.executable, "-m", "build", "--outdir", folder / "dist", source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr.lower()
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(distributions: Path) -> Path:
    (found,) = distributions.glob("*.tar.gz")
    return found


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_string(archive.read(f"ckptkit-{ckptkit.__version__}.dist-info/METADATA").decode())


def files(folder: str) -> set[str]:
    """Files of the checkout below `folder`, as paths from its root."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"ckptkit-{ckptkit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith("ckptkit/")} == files("ckptkit")
    assert "ckptkit/py.typed" in names
    about = f"ckptkit-{ckptkit.__version__}.dist-info"
    assert {name for name in names if not name.startswith("ckptkit/")} == {
        f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    said = metadata(wheel)
    assert (said["Name"], said["Version"]) == ("ckptkit", ckptkit.__version__)
    assert (said["Requires-Python"], said["License-Expression"]) == (f">={PYTHONS[0]}", "Apache-2.0")
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload() == (ROOT / "README.md").read_text()
    prefix = "Programming Language :: Python :: 3."
    tried = [line for line in said.get_all("Classifier", []) if line.startswith(prefix)]
    assert tried == [f"Programming Language :: Python :: {version}" for version in PYTHONS]


def test_extras_are_those_of_the_project(wheel: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = metadata(wheel)
    assert set(said.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    needed = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(project["dependencies"])
    assert not any("tensorflow" in line for line in needed)


def test_the_source_distribution_passes_tests_where_it_is_unpacked(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / f"ckptkit-{ckptkit.__version__}"
    held = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    for folder in ("ckptkit", "docs", "fixtures", "tests"):
        assert {name for name in held if name.startswith(f"{folder}/")} == files(folder)
    assert {name for name in held if "/" not in name} == _BESIDE
    assert sdist.stat().st_size < LARGEST_SDIST
    some = ("tests/test_imports.py", "tests/test_plan.py", "tests/report", "tests/formats/test_fixtures.py")
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some, cwd=root)
    assert done.returncode == 0, done.stdout[-3000:]


def interpreter(version: str) -> str | None:
    """A Python of this version: the one that runs, one on the path, or one of pyenv's."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    running = sys.executable if version == "{}.{}".format(*sys.version_info) else None
    for candidate in (running, shutil.which(f"python{version}"), *kept):
        # A pyenv shim is on the path whether or not the version that it stands for is chosen.
        if candidate and run(candidate, "-c", "import ensurepip, venv").returncode == 0:
            return str(candidate)
    return None


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment that holds the wheel and what it needs, and nothing else."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"there is no Python {request.param} on this machine")
    folder = tmp_path_factory.mktemp(f"python{request.param}")
    assert run(python, "-m", "venv", folder).returncode == 0
    done = run(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    assert done.returncode == 0, done.stderr
    said = run(folder / "bin" / "python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))")
    assert said.stdout.strip() == request.param
    return folder / "bin"


class TestInstalled:
    def test_the_version(self, installed: Path, tmp_path: Path) -> None:
        for command in (["ckptkit"], ["python", "-m", "ckptkit"]):
            done = run(installed / command[0], *command[1:], "--version", cwd=tmp_path)
            assert (done.returncode, done.stdout) == (0, f"ckptkit {ckptkit.__version__}\n")
        code = "import importlib.metadata as m, ckptkit; assert m.version('ckptkit') == ckptkit.__version__"
        assert run(installed / "python", "-c", code, cwd=tmp_path).returncode == 0

    def test_the_main_jobs_without_tensorflow(self, installed: Path, tmp_path: Path) -> None:
        assert run(installed / "python", "-c", "import tensorflow").returncode == 1
        single, double, out = FIXTURES / "single-h5" / "single.h5", FIXTURES / "double-h5" / "double.h5", "out.h5"

        def ckptkit_(*arguments: object, code: int = 0) -> str:
            done = run(installed / "ckptkit", *arguments, cwd=tmp_path)
            assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
            return done.stdout

        assert "2 layers with weights, 6,789 parameters" in ckptkit_(
            "inspect", single, "--stats", "--html", "page.html"
        )
        assert "dense_1/kernel" in (tmp_path / "page.html").read_text(encoding="utf-8")
        bundle = json.loads(ckptkit_("inspect", FIXTURES / "tf1-layers-adam" / "model.ckpt-9000", "--json"))
        assert bundle["totals"]["layers"] == 4
        assert ckptkit_("diff", single, double, code=1).startswith("DIFFERENT")
        assert "4 moved, 0 kept" in ckptkit_("remap", single, "--like", double, "-o", out)
        assert json.loads(ckptkit_("diff", single, out, "--json"))["verdict"] == "identical"
        ckptkit_("convert", out, "-o", "out.safetensors")
        assert ckptkit_("diff", out, "out.safetensors").startswith("IDENTICAL")

    def test_verify_says_what_to_install(self, installed: Path, tmp_path: Path) -> None:
        single = FIXTURES / "single-h5" / "single.h5"
        done = run(installed / "ckptkit", "verify", single, single, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert "ckptkit[tensorflow]" in done.stderr

    def test_the_library(self, installed: Path, tmp_path: Path) -> None:
        program = f"""
import warnings; warnings.simplefilter("error")
import ckptkit
with ckptkit.open({str(FIXTURES / "single-h5" / "single.h5")!r}) as checkpoint:
    assert checkpoint["dense/kernel"].read().shape == (100, 64)
    assert "6,789 parameters" in checkpoint._repr_html_()
"""
        done = run(installed / "python", "-c", program, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    def test_a_strict_user_program_type_checks(self, installed: Path, tmp_path: Path) -> None:
        """From outside: by what the installed package publishes, which without `py.typed` is nothing."""
        if importlib.util.find_spec("mypy") is None:
            pytest.skip("mypy is not installed (pip install '.[lint]')")
        program = tmp_path / "program.py"
        program.write_text(USER_PROGRAM)
        arguments = ("--strict", "--config-file", os.devnull, "--python-executable", installed / "python", program)
        done = run(sys.executable, "-m", "mypy", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stdout
