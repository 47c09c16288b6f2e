"""Every fixture behind a URL is the same as on the disk: contents, canonical map, values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ckptkit
from ckptkit.errors import CkptkitError
from tests.conftest import FIXTURES
from tests.formats.reading import assert_same, read_all

# One of each format and of each way to name it; S3 takes twenty times as long as the others for all of them.
_ON_S3 = (
    "keras3-mlp-h5/model.h5", "keras3-cnn-archive/model.keras", "keras3-cnn-sharded/model.weights.json",
    "keras3-mlp-checkpoint", "keras3-mlp-checkpoint/ckpt-1", "keras3-mlp-checkpoint/ckpt-1.data-00000-of-00001",
    "bundle-compressed-index", "tf1-saved-model", "tf1-two-shards-v1", "safetensors-sharded", "npz-compressed/arrays.npz",
)  # fmt: skip


def paths() -> Iterator[str]:
    """Every fixture folder, every file in it, and the prefixes of bundles."""
    for folder in sorted(FIXTURES.iterdir()):
        if not (folder / "expected.json").is_file():
            continue
        yield folder.name
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != "expected.json":
                path = file.relative_to(FIXTURES).as_posix()
                yield path
                if path.endswith(".index"):
                    yield path.removesuffix(".index")


PATHS = list(paths())


def outcome(path: str) -> Any:
    """Contents and values, or the kind of error and what it says besides the path."""
    try:
        return read_all(path)
    except CkptkitError as error:
        return type(error), error.problem


def assert_as_local(path: str, url: str) -> None:
    local, remote = outcome(os.fspath(FIXTURES / path)), outcome(url)
    if isinstance(local[0], type):
        assert remote == local
        return
    assert remote[0] == local[0]
    assert remote[1].keys() == local[1].keys()
    for key, value in local[1].items():
        assert_same(remote[1][key], value)
    with ckptkit.open(FIXTURES / path) as ours, ckptkit.open(url) as theirs:
        assert theirs.spec.variables == ours.spec.variables
        assert theirs.spec.layers == ours.spec.layers


@pytest.mark.parametrize("path", PATHS)
def test_http(path: str, fixtures_url: str) -> None:
    assert_as_local(path, f"{fixtures_url}/{path}")


@pytest.mark.parametrize("path", PATHS)
def test_memory(path: str, memory: Any) -> None:
    memory.put(os.fspath(FIXTURES / path.split("/")[0]), "/fixtures/", recursive=True)
    assert_as_local(path, f"memory://fixtures/{path}")


@pytest.fixture(scope="module")
def s3_fixtures(s3: Any) -> str:
    s3.put(f"{FIXTURES}/", "bucket/fixtures/", recursive=True)
    return "s3://bucket/fixtures"


@pytest.mark.parametrize("path", _ON_S3)
def test_s3(path: str, s3_fixtures: str) -> None:
    assert path in PATHS
    assert_as_local(path, f"{s3_fixtures}/{path}")


def test_a_chain_of_file_systems(memory: Any, tmp_path: Path) -> None:
    path = "keras3-mlp-h5/model.h5"
    memory.put(os.fspath(FIXTURES / path), "/model.h5")
    assert_as_local(path, "simplecache::memory://model.h5")


def test_a_member_of_a_zip_archive_behind_a_url(memory: Any, tmp_path: Path) -> None:
    import shutil

    made = shutil.make_archive(str(tmp_path / "run"), "zip", FIXTURES / "keras3-mlp-checkpoint")
    memory.put(made, "/run.zip")
    assert_as_local("keras3-mlp-checkpoint/ckpt-1", "zip://ckpt-1::memory://run.zip")


def test_a_file_url_is_local() -> None:
    path = FIXTURES / "keras3-mlp-h5" / "model.h5"
    with ckptkit.open(path) as ours, ckptkit.open(f"file://{path}") as theirs:
        assert theirs.spec.variables == ours.spec.variables


def test_a_query_stays_with_every_member(fixtures_url: str) -> None:
    contents, _ = read_all(f"{fixtures_url}/keras3-mlp-checkpoint/ckpt-1?sig=abc")
    assert contents == read_all(FIXTURES / "keras3-mlp-checkpoint" / "ckpt-1")[0]
