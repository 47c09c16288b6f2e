"""Orbax folders that were made to mislead: each ends in one line, or in damage that is named."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import cramjam
import numpy as np
import pytest

from ckptkit.errors import ChecksumError, CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats import open_contents
from tests.conftest import FIXTURES
from tests.formats.conformance import check_message, whole
from tests.formats.ocdbt_files import (
    NODE_MAGIC,
    Child,
    Ref,
    array,
    inner,
    item,
    leaf,
    manifest,
    sealed,
    tree,
    varint,
    varints,
)

VALUE = np.arange(6, dtype="f4").reshape(2, 3)
GOOD = {"w/.zarray": array((2, 3), (2, 3)), "w/0.0": VALUE.tobytes()}


def read(folder: Path, key: str = "w") -> bytes:
    contents, source = open_contents(folder)
    try:
        assert key in {tensor.key for tensor in contents.tensors}
        return whole(source, key)
    finally:
        source.close()


def refused(folder: Path, kind: type[CkptkitError] = CkptkitError, match: str = ".") -> None:
    with pytest.raises(kind, match=match) as error:
        read(folder)
    check_message(error.value)


def test_what_is_well_formed_is_read(tmp_path: Path) -> None:
    assert read(item(tmp_path / "a", "w", nodes=leaf(GOOD))) == VALUE.tobytes()
    children = {"": Child(Ref("d/0", 200, len(leaf(GOOD))))}
    top = inner(1, children, [("", "d/0")])
    assert len(top) < 200
    assert read(item(tmp_path / "b", "w", nodes=top.ljust(200, b"\0") + leaf(GOOD), height=1)) == VALUE.tobytes()
    (tmp_path / "a" / "manifest.ocdbt").write_bytes(manifest(None))
    refused(tmp_path / "a", FormatError, "not in the store")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "d/../../secret", "d//0", "./0", "c:/x", "d\\0", ""])
def test_no_path_of_an_index_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 100)
    values = {"w/.zarray": array((2, 3), (2, 3)), "w/0.0": Ref(path, 0, 24)}
    refused(item(tmp_path / "a", "w", nodes=leaf(values, [("", path)])), FormatError)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "_METADATA").write_text(tree("w"))
    (tmp_path / "b" / "manifest.ocdbt").write_bytes(manifest(Ref(path, 0, 50)))
    refused(tmp_path / "b", CkptkitError)


@pytest.mark.parametrize("kind", ["file", "folder", "metadata", "manifest", "item", "texts"])
def test_no_link_leads_out_of_the_folder(tmp_path: Path, kind: str) -> None:
    values = {"w/.zarray": array((2, 3), (2, 3)), "w/0.0": Ref("d/1", 0, 24)}
    folder = item(tmp_path / "a", "w", nodes=leaf(values, [("", "d/1")]))
    (folder / "d" / "1").write_bytes(VALUE.tobytes())
    assert read(folder) == VALUE.tobytes()
    moved = {"file": "d/1", "folder": "d", "metadata": "_METADATA", "manifest": "manifest.ocdbt"}.get(kind)
    if kind == "texts":
        (tmp_path / "out").write_text('{"note": "x"}')
        (folder / "_strings.json").symlink_to(tmp_path / "out")
    elif moved is None:
        step = tmp_path / "step"
        step.mkdir()
        (step / "pytree").symlink_to(folder)
        folder = step
    else:
        (folder / moved).rename(tmp_path / "out")
        (folder / moved).symlink_to(tmp_path / "out")
    refused(folder, CkptkitError, "link|leads out")


def test_a_link_inside_of_the_folder_is_followed(tmp_path: Path) -> None:
    values = {"w/.zarray": array((2, 3), (2, 3)), "w/0.0": Ref("d/1", 0, 24)}
    folder = item(tmp_path / "a", "w", nodes=leaf(values, [("", "d/1")]))
    (folder / "blob").write_bytes(VALUE.tobytes())
    (folder / "d" / "1").symlink_to("../blob")
    assert read(folder) == VALUE.tobytes()


def test_links_of_plain_arrays(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "orbax-plain" / "state", tmp_path / "a")
    chunk = next(file for file in (tmp_path / "a" / "scalar").rglob("c") if file.is_file())
    chunk.rename(tmp_path / "out")
    chunk.symlink_to(tmp_path / "out")
    contents, source = open_contents(tmp_path / "a")
    assert any("link" in damage for damage in contents.damage)
    with pytest.raises(CkptkitError):
        whole(source, "scalar")
    source.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("name", ["d/0", "manifest.ocdbt", "_METADATA", "_strings.json", "checkpoint"])
def test_a_fifo_is_refused_at_once(tmp_path: Path, name: str) -> None:
    folder = item(tmp_path / "a", "w", nodes=leaf(GOOD))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    started = time.monotonic()
    try:
        read(folder)
    except CkptkitError as error:
        check_message(error)
    assert time.monotonic() - started < 120


def test_a_node_that_names_itself_is_no_loop(tmp_path: Path) -> None:
    for height in (1, 5, 255):
        node = inner(height, {"": Child(Ref("d/0", 0, 0))}, [("", "d/0")])
        node = inner(height, {"": Child(Ref("d/0", 0, len(node)))}, [("", "d/0")])
        refused(item(tmp_path / str(height), "w", nodes=node, height=height), FormatError, "height|cut short")


def test_nodes_that_many_paths_lead_to_are_counted_each_time(tmp_path: Path) -> None:
    """Thirty levels of two children that are the same node would be a thousand million leaves."""
    data = leaf(GOOD)
    at, length = 0, len(data)
    for height in range(1, 30):
        children = {"a": Child(Ref("d/0", at, length)), "b": Child(Ref("d/0", at, length))}
        node = inner(height, children, [("", "d/0")])
        at, length = len(data), len(node)
        data += node
    folder = item(tmp_path / "a", "w", nodes=data, height=29)
    (folder / "manifest.ocdbt").write_bytes(manifest(Ref("d/0", at, length), 29))
    started = time.monotonic()
    refused(folder, CkptkitError, "twice|too many")
    assert time.monotonic() - started < 120


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    data = leaf(GOOD)
    top = inner(1, {"a": Child(Ref("d/0", 300, len(data))), "b": Child(Ref("d/0", 300, len(data)))}, [("", "d/0")])
    refused(item(tmp_path / "a", "w", nodes=top.ljust(300, b"\0") + data, height=1), FormatError, "twice")


def test_unordered_keys(tmp_path: Path) -> None:
    body = bytes([0]) + varint(0) + varint(2) + varints(0, 1, 1) + b"ba" + varints(0, 0) + bytes(2)
    refused(item(tmp_path / "a", "w", nodes=sealed(NODE_MAGIC, body)), FormatError, "broken")


@pytest.mark.parametrize(
    "body",
    [
        b"", bytes([0]), bytes([0]) + varint(1 << 40), bytes([0]) + varint(0) + varint(1 << 60),
        bytes([0]) + varint(0) + varint(1) + varint(1 << 50), b"\0" + b"\xff" * 12,
        bytes([0]) + varint(0) + varint(1) + varints(1) + b"k" + varints(1 << 63) + b"\0",
        bytes([0]) + varint(0) + varint(1) + varints(1) + b"k" + varints(3) + b"\1" + varints(7, 0),
        bytes([0]) + varint(0) + varint(0),
    ],
)  # fmt: skip
def test_counts_and_lengths_that_nothing_backs(tmp_path: Path, body: bytes) -> None:
    refused(item(tmp_path / "a", "w", nodes=sealed(NODE_MAGIC, body)), FormatError)


def test_an_index_that_unpacks_to_very_much(tmp_path: Path) -> None:
    bomb = bytes(cramjam.zstd.compress(bytes(300 << 20)))
    refused(item(tmp_path / "a", "w", nodes=sealed(NODE_MAGIC, bomb, compression=1)), FormatError, "unpack")


@pytest.mark.parametrize("change", ["magic", "length", "checksum", "version", "compression", "numbered"])
def test_headers_of_a_manifest(tmp_path: Path, change: str) -> None:
    folder = item(tmp_path / "a", "w", nodes=leaf(GOOD))
    data = bytearray((folder / "manifest.ocdbt").read_bytes())
    kinds: dict[str, Any] = {
        "magic": (0, FormatError), "length": (5, FormatError), "checksum": (len(data) - 1, ChecksumError),
        "version": (12, ChecksumError), "compression": (13, ChecksumError),
    }  # fmt: skip
    if change == "numbered":
        (folder / "manifest.ocdbt").write_bytes(manifest(Ref("d/0", 0, 10), kind=1))
        refused(folder, UnsupportedError, "numbered")
        return
    at, kind = kinds[change]
    data[at] ^= 1
    (folder / "manifest.ocdbt").write_bytes(data)
    refused(folder, kind)


# --------------------------------------------------------------------------------------------------------------- arrays


def arrays(tmp_path: Path, metadata: bytes, chunk: bytes = b"", **more: Any) -> Path:
    return item(tmp_path / "a", "w", nodes=leaf({"w/.zarray": metadata, "w/0": chunk}), **more)


@pytest.mark.parametrize(
    ("shape", "chunks", "match"),
    [
        ((1 << 40,), (1 << 40,), "declare|size"), ((1 << 61, 8), (1 << 61, 8), "declare"), ((1 << 30,), (1,), "missing"),
        ((5,), (1 << 50,), "declare"), ((5,), (0,), "none"), ((5, 5), (5,), "none"), ((5,), (-5,), "none"),
        ((-1,), (1,), "no shape"), (tuple([1] * 65), tuple([1] * 65), "no shape"), ((1.5,), (1,), "no shape"),
        ((True,), (1,), "no shape"),
    ],
)  # fmt: skip
def test_declared_sizes_are_judged_first(tmp_path: Path, shape: Any, chunks: Any, match: str) -> None:
    refused(arrays(tmp_path, array(shape, chunks), bytes(20)), CkptkitError, match)


def test_absent_chunks_of_an_early_version_are_bounded_too(tmp_path: Path) -> None:
    for number, (size, step) in enumerate([(1 << 40, 1 << 40), (1 << 28, 1)]):
        folder = arrays(tmp_path / str(number), array((size,), (step,)), store_array_data_equal_to_fill_value=False)
        refused(folder, CkptkitError, "declare|chunks|size")


@pytest.mark.parametrize(
    ("compressor", "pack"),
    [
        ({"id": "zstd", "level": 1}, lambda data: bytes(cramjam.zstd.compress(data))),
        ({"id": "gzip", "level": 1}, lambda data: gzip.compress(data, mtime=0)),
        (None, lambda data: data),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [300, 400_000])
def test_chunks_that_are_not_what_they_should_be(tmp_path: Path, compressor: Any, pack: Any, size: int) -> None:
    value = np.random.default_rng(1).normal(size=size).astype("f4").tobytes()
    metadata = array((size,), (size,), compressor=compressor)
    assert read(arrays(tmp_path / "whole", metadata, pack(value))) == value
    packed = pack(value)
    wrong = [
        b"",
        packed[:-1],
        packed[: len(packed) // 2],
        packed + b"\0",
        pack(value[:-4]),
        pack(value + bytes(4)),
        b"x" * 50,
    ]
    for number, data in enumerate(wrong):
        refused(arrays(tmp_path / str(number), metadata, data), FormatError)


def test_a_chunk_that_unpacks_to_very_much(tmp_path: Path) -> None:
    bomb = bytes(cramjam.zstd.compress(bytes(1 << 30)))
    refused(arrays(tmp_path, array((300_000,), (300_000,), compressor={"id": "zstd"}), bomb), FormatError, "size")


@pytest.mark.parametrize(
    "more",
    [
        {"compressor": {"id": "lzma"}}, {"compressor": "zstd"}, {"filters": [{"id": "delta"}]}, {"dtype": "|O"},
        {"dtype": [["a", "<f4"]]}, {"dtype": "<M8[s]"}, {"zarr_format": 4},
        {"kvstore": {"driver": "http", "base_url": "http://127.0.0.1:9"}, "driver": "n5", "dtype": "<U4"},
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(tmp_path: Path, more: Any) -> None:
    refused(arrays(tmp_path, array((6,), (6,), **more), VALUE.tobytes()), CkptkitError)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"null", b"[" * 100_000, b'{"zarr_format": 2, "zarr_format": 2}', b"\xff"]
)
def test_metadata_that_is_none(tmp_path: Path, text: bytes) -> None:
    refused(arrays(tmp_path, text, VALUE.tobytes()), CkptkitError)
    folder = item(tmp_path / "b", "w", nodes=leaf(GOOD))
    (folder / "_METADATA").write_bytes(text)
    with pytest.raises(CkptkitError) as error:
        open_contents(folder)
    check_message(error.value)


def test_trees_that_are_deep_or_large(tmp_path: Path) -> None:
    keys = [{"key": "k", "key_type": 2}]
    for number, value in enumerate(
        [
            {"tree_metadata": {"x": {"key_metadata": keys * 200, "value_metadata": {}}}},
            {"tree_metadata": {"x": {"key_metadata": keys}, "y": {"key_metadata": keys}}},
            {"tree_metadata": {"x": {"key_metadata": [{"key": None}]}}}, {"tree_metadata": []}, {},
        ]
    ):  # fmt: skip
        folder = item(tmp_path / str(number), "w", nodes=leaf(GOOD))
        (folder / "_METADATA").write_text(json.dumps(value))
        with pytest.raises((FormatError, LimitError)) as error:
            open_contents(folder)
        check_message(error.value)


def test_a_name_with_escapes_is_shown_escaped(tmp_path: Path) -> None:
    values = {"\x1b[2Jw/.zarray": array((2, 3), (2, 3)), "\x1b[2Jw/0.0": b""}
    with pytest.raises(CkptkitError) as error:
        read(item(tmp_path / "a", "\x1b[2Jw", nodes=leaf(values)), "\x1b[2Jw")
    assert "\x1b" not in str(error.value)
