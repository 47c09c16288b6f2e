"""What counts as a URL, its parts, and what of it may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptkit.errors import CkptkitError, without_secrets
from ckptkit.formats import names
from ckptkit.formats.stores import is_url
from ckptkit.formats.version import version_of
from tests.conftest import FIXTURES
from tests.remote.conftest import copy_fixture
from tests.remote.server import RangeServer


@pytest.mark.parametrize(
    "path", ["s3://b/k", "https://h/a", "memory://x", "zip://a::s3://b/k.zip", "simplecache::gs://b/k"]
)
def test_urls(path: str) -> None:
    assert is_url(path)


@pytest.mark.parametrize(
    "path", ["a/b", "c:/a", "c://a", "C:\\a", "file:///a", "a b://c", "://x", "1s://x", "s3:/b", "", "a:b"]
)
def test_local_paths(path: str) -> None:
    assert not is_url(path)


def test_a_file_here_that_is_called_like_a_url_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    assert not is_url("s3://bucket/x")
    assert is_url("gs://bucket/x")


@pytest.mark.parametrize(
    ("url", "folder", "name"),
    [
        ("s3://b/a/x.h5", "s3://b/a", "x.h5"),
        ("s3://b/x.h5", "s3://b", "x.h5"),
        ("s3://b/a?c.h5", "s3://b", "a?c.h5"),
        ("s3://b", "s3://", "b"),
        ("https://h/a/x.h5?q=/1", "https://h/a?q=/1", "x.h5"),
        ("https://h/x%20y.h5", "https://h/", "x y.h5"),
        ("https://h", "https://h", ""),
        ("memory://x.h5", "memory://", "x.h5"),
        ("zip://a/x.h5::s3://b/k.zip", "zip://a::s3://b/k.zip", "x.h5"),
        ("simplecache::s3://b/a/x.h5", "simplecache::s3://b/a", "x.h5"),
    ],
)
def test_parts(url: str, folder: str, name: str) -> None:
    assert (names.folder_of(url), names.base_name(url)) == (folder, name)
    if name and " " not in name and url != "s3://b":
        assert names.join(folder, name) == url


def test_members() -> None:
    assert names.bundle_prefix("https://h/a.index?q=1") == "https://h/a?q=1"
    assert names.shard_path("https://h/a?q=1", 0, 1) == "https://h/a.data-00000-of-00001?q=1"
    assert names.shard_path("s3://b/a?q=1", 0, 1) == "s3://b/a?q=1.data-00000-of-00001"
    assert names.join("https://h/a?q=1", "x#y?z%.h5") == "https://h/a/x%23y%3Fz%25.h5?q=1"
    assert names.beside("s3://b/a/x", "y") == "s3://b/a/y"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@h/a.h5", "https://…@h/a.h5"),
        ("https://token@h/a.h5", "https://…@h/a.h5"),
        ("https://h/a.h5?X-Amz-Signature=1&versionId=2", "https://h/a.h5?X-Amz-Signature=…&versionId=2"),
        ("https://h/a.h5?secret", "https://h/a.h5?…"),
        ("see https://h/a?k=v and ftp://u:p@h/b", "see https://h/a?k=… and ftp://…@h/b"),
        ("simplecache::https://u@h/b", "simplecache::https://…@h/b"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("hf://gpt2@main/model.h5", "hf://gpt2@main/model.h5"),
        ("s3://bucket/x@y.h5", "s3://bucket/x@y.h5"),
        ("a@b: no URL?k=v", "a@b: no URL?k=v"),
    ],
)
def test_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == without_secrets(shown) == shown
    error = CkptkitError("failed", path=text, found=text)
    assert error.path == shown
    assert str(error) == f"{shown}: failed: found {shown}"


MEMBERS = [
    ("keras3-mlp-checkpoint", "checkpoint"), ("keras3-mlp-checkpoint", "ckpt-1.index"),
    ("keras3-mlp-checkpoint", "ckpt-1.data-00000-of-00001"), ("keras3-cnn-sharded", "model_00001.weights.h5"),
    ("tf1-saved-model", "saved_model.pb"), ("tf1-saved-model", "variables/variables.index"),
    ("safetensors-sharded", "model-00001-of-00002.safetensors"), ("keras3-mlp-h5/model.h5", ""),
]  # fmt: skip


@pytest.mark.parametrize(("path", "member"), MEMBERS)
def test_a_version_changes_with_every_member(path: str, member: str, server: RangeServer) -> None:
    copy_fixture(path.split("/")[0], server.folder)
    if path == "safetensors-sharded":
        path = f"{path}/model.safetensors.index.json"
        member = f"../{member}"
    local = server.folder / path
    for name in (str(local), f"{server.url}/{path}"):
        before = version_of(name)
        assert before == version_of(name)
        changed = local / member if member else local
        changed = local.parent / member.removeprefix("../") if member.startswith("../") else changed
        data = changed.read_bytes()
        changed.with_name("new").write_bytes(data)
        changed.with_name("new").replace(changed)
        assert version_of(name) != before
        if local.is_dir():
            (local / "unrelated.txt").write_text(name)
            after = version_of(name)
            (local / "unrelated.txt").unlink()
            assert after == version_of(name)


def test_a_version_of_nothing() -> None:
    with pytest.raises(CkptkitError):
        version_of(str(FIXTURES / "nothing"))
