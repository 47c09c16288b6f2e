"""What counts as a URL, its parts, and what of it may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptkit.errors import CkptkitError, without_secrets
from ckptkit.formats.locate import locate
from ckptkit.formats.tensorflow import names
from ckptkit.storage.address import address
from tests.conftest import FIXTURES
from tests.remote.conftest import copy_fixture
from tests.remote.server import RangeServer


@pytest.mark.parametrize(
    "path", ["s3://b/k", "https://h/a", "memory://x", "zip://a::s3://b/k.zip", "simplecache::gs://b/k"]
)
def test_urls(path: str) -> None:
    assert address(path).store.distant


@pytest.mark.parametrize(
    "path", ["a/b", "c:/a", "c://a", "C:\\a", "file:///a", "a b://c", "://x", "1s://x", "s3:/b", "", "a:b"]
)
def test_local_paths(path: str) -> None:
    assert not address(path).store.distant


def test_a_file_here_that_is_called_like_a_url_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    assert not address("s3://bucket/x").store.distant
    assert address("gs://bucket/x").store.distant


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
    assert (address(url).folder.text, address(url).base) == (folder, name)
    if name and " " not in name and url != "s3://b":
        assert address(folder).join(name).text == url


def test_members() -> None:
    assert names.bundle_prefix(address("https://h/a.index?q=1")) == address("https://h/a?q=1")
    assert names.shard_address(address("https://h/a?q=1"), 0, 1).text == "https://h/a.data-00000-of-00001?q=1"
    assert names.shard_address(address("s3://b/a?q=1"), 0, 1).text == "s3://b/a?q=1.data-00000-of-00001"
    assert address("https://h/a?q=1").join("x#y?z%.h5").text == "https://h/a/x%23y%3Fz%25.h5?q=1"
    assert address("s3://b/a/x").beside("y").text == "s3://b/a/y"


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
        before = locate(name).version()
        assert before == locate(name).version()
        changed = local / member if member else local
        changed = local.parent / member.removeprefix("../") if member.startswith("../") else changed
        data = changed.read_bytes()
        changed.with_name("new").write_bytes(data)
        changed.with_name("new").replace(changed)
        assert locate(name).version() != before
        if local.is_dir():
            (local / "unrelated.txt").write_text(name)
            after = locate(name).version()
            (local / "unrelated.txt").unlink()
            assert after == locate(name).version()


def test_a_version_of_nothing() -> None:
    with pytest.raises(CkptkitError):
        locate(str(FIXTURES / "nothing")).version()
