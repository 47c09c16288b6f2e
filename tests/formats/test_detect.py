"""Whatever path a person types: files by content, members by the name of their bundle, folders by what is in them."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.errors import CkptkitError, FormatError, NotFoundError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.tensorflow.names import bundle_prefix, split_v1_shard
from ckptkit.formats.tensorflow.state_file import parse_state
from ckptkit.model import Contents, StoredTensor
from ckptkit.storage.address import address
from tests.conftest import FIXTURES
from tests.formats.writing import write_new

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIAS = np.array([0.5, -1.5, 2.5], "<f4")


class Values:
    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        yield memoryview(BIAS.tobytes())


def write(prefix: Path | str, key: str = "bias") -> None:
    tensors = (StoredTensor(key, (3,), "float32", 12),)
    write_new("tensor-bundle", str(prefix), Contents("tensor-bundle", None, tensors), Values())


def opened(path: Path | str) -> Contents:
    contents, source = open_contents(str(path))
    source.close()
    return contents


def only_key(path: Path | str) -> str:
    (tensor,) = opened(path).tensors
    return tensor.key


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, bias=BIAS)
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return stream.getvalue()


def hdf5(user_block: int = 0) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=user_block) as file:
        file["bias"] = BIAS
    return stream.getvalue()


SAFETENSORS_HEADER = b'{"bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'
SAFETENSORS = struct.pack("<Q", len(SAFETENSORS_HEADER)) + SAFETENSORS_HEADER + BIAS.tobytes()


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001", ".data-00004-of-00007", ".meta"])
@pytest.mark.parametrize("name", ["x", "model.h5", "model.ckpt-100", "a b", "x.index"])
def test_any_member_opens_the_bundle(tmp_path: Path, name: str, suffix: str) -> None:
    write(tmp_path / name)
    assert only_key(tmp_path / (name + suffix)) == "bias"


def test_empty_prefix_opens(tmp_path: Path) -> None:
    write(f"{tmp_path}/")
    assert (tmp_path / ".index").exists()
    for path in (f"{tmp_path}/", tmp_path, tmp_path / ".index"):
        assert only_key(path) == "bias"


def test_relative_paths_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    for path in ("x", "x.index", "./x", "."):
        assert only_key(path) == "bias"


@pytest.mark.parametrize("name", ["model.keras", "model", "model.ckpt", "x.npz", "x.index"])
@pytest.mark.parametrize(
    ("content", "format_"),
    [(npz(), "npz"), (hdf5(), "hdf5"), (hdf5(512), "hdf5"), (hdf5(4096), "hdf5"), (SAFETENSORS, "safetensors")],
    ids=["npz", "hdf5", "user block 512", "user block 4096", "safetensors"],
)
def test_content_decides_and_not_the_extension(tmp_path: Path, name: str, content: bytes, format_: str) -> None:
    (tmp_path / name).write_bytes(content)
    contents = opened(tmp_path / name)
    assert contents.format == format_
    assert [tensor.key for tensor in contents.tensors] == ["bias"]


def test_file_wins_over_a_bundle_of_its_name_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(hdf5())
    write(tmp_path / "model.h5", "other")
    contents = opened(tmp_path / "model.h5")
    assert contents.format == "hdf5"
    assert "a tensor bundle of the same name" in contents.notes[0]
    (tmp_path / "model.h5").write_bytes(b"what is this")
    assert only_key(tmp_path / "model.h5") == "other"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x80\x05\x95", "pickle"),
        (zipped("model/saved_model.pb"), "TensorFlow"),
        (zipped("readme.txt"), "something else"),
        (b"\x93NUMPY\x01\x00", "single NumPy array"),
        (b"\x1c\0\0\0TFL3", "Lite"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"<!DOCTYPE html>", "web page"),
        (b'{"a": 1}', "JSON"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(UnsupportedError, match=words) as raised:
        open_contents(str(tmp_path / "model.ckpt"))
    assert raised.value.hint
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.h5", b"", "empty"),
        ("x.h5", b"some text", "not a checkpoint of a kind that is known"),
        ("x.pb", b"some text", "frozen graph"),
        ("x.onnx", b"some text", "ONNX"),
        ("x.meta", b"some text", "graph without weights"),
        ("x.data-00000-of-00001", b"some text", "index is missing"),
    ],
)
def test_what_is_unknown_is_said(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CkptkitError, match=words):
        open_contents(str(tmp_path / name))


def test_bundle_index_under_another_name_is_told(tmp_path: Path) -> None:
    write(tmp_path / "x")
    (tmp_path / "x.index").rename(tmp_path / "renamed")
    with pytest.raises(FormatError, match="index of a bundle under another name"):
        open_contents(str(tmp_path / "renamed"))


def test_missing_path_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "model.weights.h5").write_bytes(hdf5())
    with pytest.raises(NotFoundError, match=r"no such file. Did you mean model.weights.h5\?"):
        open_contents(str(tmp_path / "model.weight.h5"))


@pytest.mark.parametrize("path", ["", "a\0b", "no/such/folder/x"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(NotFoundError):
        open_contents(path)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("pipe.h5", "zero", "gone"):
        with pytest.raises(CkptkitError):
            open_contents(str(tmp_path / name))


# folders


def test_folder_with_one_bundle(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no checkpoint"):
        open_contents(str(tmp_path))
    write(tmp_path / "x", "one")
    assert only_key(tmp_path) == "one"
    write(tmp_path / "y", "two")
    with pytest.raises(FormatError, match="several checkpoints: found x, y"):
        open_contents(str(tmp_path))


def state(folder: Path, *entries: str) -> None:
    lines = [
        f'model_checkpoint_path: "{entries[0]}"',
        *(f'all_model_checkpoint_paths: "{each}"' for each in entries[::-1]),
    ]
    (folder / "checkpoint").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("latest", ["m-2", "/somewhere/else/m-2", "data/m-2"])
def test_latest_of_a_folder_is_taken_and_said(tmp_path: Path, latest: str) -> None:
    write(tmp_path / "m-1", "one")
    write(tmp_path / "m-2", "two")
    state(tmp_path, latest, "m-1")
    for path in (tmp_path, tmp_path / "checkpoint"):
        contents = opened(path)
        assert contents.tensors[0].key == "two"
        assert "latest of 2" in contents.notes[0]
        assert ("named there as" in contents.notes[0]) == (latest != "m-2")


def test_latest_that_is_there_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "m-1", "one")
    state(tmp_path, "m-3", "m-2", "../m-0", "m-1")
    contents = opened(tmp_path)
    assert contents.tensors[0].key == "one"
    assert "latest that is there of 4" in contents.notes[0]


@pytest.mark.parametrize("entry", ["../secret/m", "a/../../secret/m", "..\\\\secret\\\\m"])
def test_state_file_leads_nowhere_else(tmp_path: Path, entry: str) -> None:
    folder = tmp_path / "run"
    (tmp_path / "secret").mkdir()
    folder.mkdir()
    write(tmp_path / "secret" / "m", "secret")
    write(folder / "m", "mine")
    state(folder, entry)
    with pytest.raises(FormatError, match="outside its folder"):
        open_contents(str(folder))


def test_absolute_entry_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (tmp_path / "secret").mkdir()
    folder.mkdir()
    write(tmp_path / "secret" / "m", "secret")
    state(folder, str(tmp_path / "secret" / "m"))
    with pytest.raises(NotFoundError, match="none of the checkpoints"):
        open_contents(str(folder))


def test_state_file_that_names_itself_ends(tmp_path: Path) -> None:
    state(tmp_path, "checkpoint")
    with pytest.raises(CkptkitError):
        open_contents(str(tmp_path))


def test_state_files_parse() -> None:
    text = (
        b'model_checkpoint_path: "a\\"\\303\\251"\nall_model_checkpoint_paths: \'b\'\nlast_preserved_timestamp: 1.5\n'
    )
    assert parse_state(text, "s") == ('a"é', "b")
    with pytest.raises(FormatError):
        parse_state(b"something else", "s")


@given(st.binary(max_size=200))
def test_any_text_is_a_state_or_an_error(text: bytes) -> None:
    try:
        assert parse_state(b'model_checkpoint_path: "a"\n' + text, "s")
    except FormatError:
        pytest.fail("the first line is sound")


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{", b"{"])
)
@settings(max_examples=100, deadline=None)
def test_any_file_opens_or_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(head + data)
    try:
        opened(path)
    except CkptkitError as error:
        shown = str(error)
    else:
        return
    assert "\n" not in shown


def test_names_of_members() -> None:
    assert bundle_prefix(address("a/x.data-00000-of-00002")) == address("a/x")
    assert bundle_prefix(address("a/.index")) == address("a/")
    assert bundle_prefix(address("a/x.data-0-of-2")) is None
    assert split_v1_shard("x-00000-of-00002") == ("x", 2)
    assert split_v1_shard("x-?????-of-00002") == ("x", 2)
    assert split_v1_shard("x-00000-of-00000") is None


@pytest.mark.parametrize("first", [0x280, 0x380, 0x480, 0x580, 0x7B])
def test_a_safetensors_header_of_any_length_is_no_pickle_and_no_json(tmp_path: Path, first: int) -> None:
    """The length comes first: 0x280 begins as a pickle does, 0x7B as JSON."""
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(first)
    path = tmp_path / "model"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    contents, source = open_contents(str(path))
    source.close()
    assert (contents.format, [tensor.key for tensor in contents.tensors]) == ("safetensors", ["a"])


@pytest.mark.parametrize("place", [512, 1024, 2048])
def test_weights_that_begin_where_a_user_block_may_end(tmp_path: Path, place: int) -> None:
    """A file of HDF5 inside of an archive is not the file."""
    whole = (FIXTURES / "keras3-mlp-archive" / "model.keras").read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    inner = parts.pop("model.weights.h5")
    for fill in range(place):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
            new.writestr("assets/x", b" " * fill)
            new.writestr("model.weights.h5", inner)
            for name, data in parts.items():
                new.writestr(name, data)
        if (tmp_path / "m.keras").read_bytes().find(b"\x89HDF\r\n\x1a\n") == place:
            break
    contents, source = open_contents(tmp_path / "m.keras")
    source.close()
    assert contents.format == "keras"
