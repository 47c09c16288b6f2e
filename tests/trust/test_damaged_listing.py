"""What `inspect` lists of a damaged file, and the exit code that goes with it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import ckptkit
from ckptkit.errors import FormatError

FIXTURES = Path(__file__).parents[2] / "fixtures"

Run = Callable[..., "CompletedProcess[str]"]


def lost_shard(folder: Path) -> Path:
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00002"):
        shutil.copy(FIXTURES / "tf1-two-shards" / name, folder)
    return folder / "model.ckpt"


def archive_without_weights(folder: Path) -> Path:
    with (
        zipfile.ZipFile(FIXTURES / "keras3-mlp-archive" / "model.keras") as whole,
        zipfile.ZipFile(folder / "model.keras", "w") as cut,
    ):
        for name in whole.namelist():
            if name != "model.weights.h5":
                cut.writestr(name, whole.read(name))
    return folder / "model.keras"


def archive_of_strange_shards(folder: Path) -> Path:
    """An archive whose weights are said to be in shards, of which one is no file of it."""
    path = archive_without_weights(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "model.weights.json", json.dumps({"weight_map": {"/layers/dense/vars": ["model_00000.weights.h5"]}})
        )
    return path


def lost_keras_shard(folder: Path) -> Path:
    ckptkit.convert(FIXTURES / "keras3-mlp-weights" / "model.weights.h5", folder / "m.weights.json")
    next(folder.glob("m_*.weights.h5")).unlink()
    return folder / "m.weights.json"


@pytest.mark.parametrize("make", [lost_shard, archive_without_weights, archive_of_strange_shards, lost_keras_shard])
@pytest.mark.parametrize("options", [(), ("--json",), ("--stats",)])
def test_what_is_damaged_is_listed_and_the_exit_code_says_so(
    make: Callable[[Path], Path], options: tuple[str, ...], tmp_path: Path, run_cli: Run
) -> None:
    path = make(tmp_path)
    done = run_cli("inspect", path, *options)
    assert done.returncode == 2
    assert done.stdout
    assert done.stderr.count("\n") == 1
    assert path.name in done.stderr
    found = ckptkit.inspect(path)
    assert not found.sound
    with pytest.raises(FormatError, match=path.name):
        found.refuse_damaged()


def test_what_is_sound_is_said_to_be(run_cli: Run) -> None:
    path = FIXTURES / "tf1-two-shards" / "model.ckpt"
    assert ckptkit.inspect(path, stats=True, hashes=True).sound
    assert run_cli("inspect", path).returncode == 0
