"""Outputs to stores: complete under their names or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import ckptkit
from ckptkit.errors import CkptkitError, UnsupportedError, UsageError, WriteError
from ckptkit.output import in_store, writing
from ckptkit.output.placing import staged
from ckptkit.storage.address import address
from ckptkit.storage.remote import upload
from ckptkit.storage.remote.client import ChangedError
from tests.conftest import FIXTURES
from tests.formats.reading import assert_same, read_all

SOURCE = os.fspath(FIXTURES / "keras3-mlp-h5" / "model.h5")
LIKE = os.fspath(FIXTURES / "keras3-mlp-weights" / "model.weights.h5")


@pytest.fixture(params=["memory", "s3"])
def folder(request: pytest.FixtureRequest) -> str:
    """A folder in a store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return str(request.getfixturevalue("s3_folder"))
    request.getfixturevalue("memory")
    return "memory://out"


def names(folder: str) -> list[str]:
    try:
        return address(folder).names()
    except CkptkitError:
        return []


def assert_same_checkpoint(url: str, path: str) -> None:
    (theirs, written), (ours, values) = read_all(url), read_all(path)
    assert theirs == ours
    for key, value in values.items():
        assert_same(written[key], value)


@pytest.mark.parametrize("name", ["a.safetensors", "a.npz", "a.h5", "a.weights.h5", "a.weights.json", "a.ckpt"])
def test_convert(folder: str, name: str, tmp_path: Path) -> None:
    url = f"{folder}/{name}"
    to = "tensor-bundle" if name == "a.ckpt" else None
    result = ckptkit.convert(SOURCE, url, to=to)
    assert result.output == url
    ckptkit.convert(SOURCE, tmp_path / name, to=to)
    assert_same_checkpoint(url, os.fspath(tmp_path / name))
    with pytest.raises(UsageError, match="exists already"):
        ckptkit.convert(SOURCE, url, to=to)
    before = names(folder)
    if name != "a.weights.json":
        ckptkit.convert(SOURCE, url, to=to, force=True)
        assert_same_checkpoint(url, os.fspath(tmp_path / name))
        kept = {"a.ckpt.index"} if to else {name}  # shards of another number take the place of the old ones
        assert set(before) & set(names(folder)) == kept


def test_remap_from_and_to_a_store(folder: str) -> None:
    ckptkit.convert(SOURCE, f"{folder}/a.safetensors")
    result = ckptkit.remap(f"{folder}/a.safetensors", LIKE, f"{folder}/b.weights.h5")
    assert result.moved == 4
    assert ckptkit.diff(SOURCE, f"{folder}/b.weights.h5").verdict == "identical"
    with pytest.raises(UsageError, match="also an input"):
        ckptkit.remap(f"{folder}/a.safetensors", LIKE, f"{folder}/a.safetensors", force=True)


def test_a_saved_model_is_a_new_folder(folder: str) -> None:
    model = os.fspath(FIXTURES / "tf1-saved-model")
    ckptkit.remap(model, model, f"{folder}/model")
    assert_same_checkpoint(f"{folder}/model", model)
    with pytest.raises(UsageError, match="cannot be replaced so that"):
        ckptkit.remap(model, model, f"{folder}/model", force=True)


def test_several_parts(s3: Any, s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_PART_BYTES", 5 << 20)
    data = os.urandom(12 << 20)
    with staged(address(f"{s3_folder}/x.bin"), force=False, inputs=()) as path, open(path, "wb") as file:
        file.write(data)
    assert s3.cat_file(f"{s3_folder}/x.bin") == data
    assert s3.info(f"{s3_folder}/x.bin")["ETag"].strip('"').endswith("-3")


def test_a_failed_upload_leaves_nothing(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(local: str, url: str, *, new: bool) -> None:
        if url.endswith(".index"):
            raise WriteError("the disk is full", path=url)
        upload.put(local, url, new=new)

    monkeypatch.setattr(in_store, "put", failing)
    with pytest.raises(WriteError):
        ckptkit.convert(SOURCE, f"{folder}/a.ckpt", to="tensor-bundle")
    assert names(folder) == []


def test_an_interrupted_upload_leaves_no_parts(s3: Any, s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_PART_BYTES", 5 << 20)
    sent = []

    def interrupted(self: Any, *args: object, **kwargs: object) -> None:
        if sent:
            raise KeyboardInterrupt
        sent.append(original(self, *args, **kwargs))

    from s3fs.core import S3File

    original = S3File._upload_chunk
    monkeypatch.setattr(S3File, "_upload_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with staged(address(f"{s3_folder}/x.bin"), force=False, inputs=()) as path, open(path, "wb") as file:
            file.write(bytes(12 << 20))
    assert sent
    # A worker that another test killed can leave parts behind; of this upload there are none.
    mine = s3_folder.removeprefix("s3://bucket/")
    assert not [one for one in s3.list_multipart_uploads("bucket") if one["Key"].startswith(f"{mine}/")]
    assert names(s3_folder) == []


def test_what_came_meanwhile_stays(folder: str) -> None:
    import fsspec

    url = f"{folder}/x.txt"

    def write() -> None:
        with staged(address(url), force=False, inputs=()) as path, open(path, "w") as file:
            file.write("mine")
            with fsspec.open(url, "wb") as other:
                other.write(b"theirs")

    with pytest.raises(UsageError, match="exists by now"):
        write()
    with fsspec.open(url, "rb") as found:
        assert found.read() == b"theirs"


def test_the_store_itself_refuses_what_came_meanwhile(s3: Any, s3_folder: str, tmp_path: Any) -> None:
    url = f"{s3_folder}/x.txt"
    s3.pipe_file(url, b"theirs")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError):
        upload._send(s3, str(tmp_path / "mine"), url.removeprefix("s3://"), new=True)


def test_an_upload_cut_short_is_noticed_and_removed(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_send", lambda fs, local, path, **_: fs.pipe_file(path, b"half"))
    with pytest.raises(WriteError, match="not there as it was sent"):
        ckptkit.convert(SOURCE, "memory://out/a.npz")
    assert names("memory://out") == []


def test_an_input_that_changes_leaves_no_output(memory: Any, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(SOURCE, "rb") as file:
        memory.pipe_file("/in/model.h5", file.read())
    original = writing.verify_written

    def replaced(*arguments: Any) -> None:
        original(*arguments)
        memory.pipe_file("/in/model.h5", memory.cat_file("/in/model.h5"))

    monkeypatch.setattr(writing, "verify_written", replaced)
    with pytest.raises(ChangedError):
        ckptkit.convert("memory://in/model.h5", f"{folder}/a.npz")
    assert names(folder) == []


def test_http_is_refused_before_any_work() -> None:
    with pytest.raises(UnsupportedError, match="read, not written to"):
        ckptkit.convert(SOURCE, "http://127.0.0.1:9/a.npz")


def test_a_folder_is_no_output(memory: Any) -> None:
    memory.pipe_file("/out/a.npz/x", b"1")
    for url in ("memory://out/a.npz", "memory://out/"):
        with pytest.raises(UsageError):
            ckptkit.convert(SOURCE, url, to="npz", force=True)
