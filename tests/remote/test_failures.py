"""What goes wrong on the way: it is tried again within bounds, or ends as one line, and never as a wrong result."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, NotFoundError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.storage.address import address
from ckptkit.storage.bytes import read
from ckptkit.storage.remote.client import ChangedError
from ckptkit.storage.remote.traffic import traffic
from tests.formats.reading import read_all
from tests.remote.conftest import copy_fixture
from tests.remote.server import RangeServer

pytestmark = pytest.mark.usefixtures("hurried")

MIB = 1 << 20


@pytest.fixture
def large(server: RangeServer) -> bytes:
    """`large.bin`, of 24 MiB and a bit, behind the server."""
    data = np.random.default_rng(0).integers(0, 256, 24 * MIB + 77, np.uint8).tobytes()
    (server.folder / "large.bin").write_bytes(data)
    return data


def streamed(url: str, piece: int = 4 * MIB) -> bytes:
    storage = address(url).open()
    try:
        return b"".join(bytes(each) for each in storage.stream(0, storage.size, memoryview(bytearray(piece))))
    finally:
        storage.close()


@pytest.mark.parametrize("piece", [4 * MIB, 256 << 10, 3 * MIB + 5, 64 * MIB])
def test_a_stream_is_the_object_whatever_the_pieces(server: RangeServer, large: bytes, piece: int) -> None:
    assert streamed(f"{server.url}/large.bin", piece) == large
    assert server.seen.sent <= len(large) + (64 << 10)


def test_scattered_and_overlapping_reads_are_the_object(server: RangeServer, large: bytes) -> None:
    storage = address(f"{server.url}/large.bin").open()
    generator = np.random.default_rng(1)
    for length in (1, 8, 100, 8192, 70_000, MIB, 9 * MIB):
        for offset in generator.integers(0, len(large) - length, 5).tolist():
            assert read(storage, offset, length) == large[offset : offset + length]
    assert read(storage, len(large) - 3, 3) == large[-3:]
    storage.expect(generator.integers(0, 2 * len(large), 50).tolist())
    storage.close()


@pytest.mark.parametrize("knobs", [{"drops": 3}, {"truncations": 3}, {"errors": 2}, {"errors": 2, "status": 429}])
def test_what_passes_is_tried_again(server: RangeServer, large: bytes, knobs: dict[str, int]) -> None:
    storage = address(f"{server.url}/large.bin").open()
    for name, value in knobs.items():
        setattr(server.knobs, name, value)
    before = traffic.requests
    pieces = storage.stream(0, storage.size, memoryview(bytearray(4 * MIB)))
    assert b"".join(map(bytes, pieces)) == large
    assert traffic.requests - before > 4
    storage.close()


def test_a_cut_connection_goes_on_where_it_was_cut(server: RangeServer, large: bytes) -> None:
    storage = address(f"{server.url}/large.bin").open()
    server.knobs.truncations = 1
    assert read(storage, 5, 4 * MIB) == large[5 : 5 + 4 * MIB]
    first, second = (headers["Range"] for headers in server.seen.headers[1:])
    assert first.startswith("bytes=5-")
    assert int(second[len("bytes=") :].split("-")[0]) > MIB


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"errors": -1}, "HTTP status 503"),
        ({"errors": -1, "status": 403}, "access denied"),
        ({"errors": -1, "status": 410}, "HTTP status 410"),
        ({"drops": 10_000}, "5 attempts"),
        ({"truncations": 10_000}, "5 attempts"),
        ({"silent": 10_000, "truncations": 10_000, "seconds": 2.0}, "in time"),
        ({"wrong_range": True}, "another range"),
        ({"compressed": True}, "compresses"),
    ],
)
def test_what_does_not_pass_is_one_line_in_bounded_time(
    server: RangeServer, large: bytes, knobs: dict[str, Any], said: str
) -> None:
    for name, value in knobs.items():
        setattr(server.knobs, name, value)
    begun = time.monotonic()
    with pytest.raises(CkptkitError) as caught:
        streamed(f"{server.url}/large.bin")
    assert time.monotonic() - begun < 150
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{server.url}/large.bin: ")
    assert "\n" not in str(caught.value)


def test_no_server() -> None:
    with pytest.raises(CkptkitError, match=r"cannot be read from its store \(5 attempts\)"):
        open_contents("http://127.0.0.1:9/x.h5")


def test_a_server_without_ranges(server: RangeServer, large: bytes) -> None:
    path = copy_fixture("keras3-mlp-h5", server.folder) / "model.h5"
    server.knobs.ranges = False
    contents, _ = read_all(f"{server.url}/keras3-mlp-h5/model.h5")  # small: put up with
    assert contents == read_all(path)[0]
    server.seen.sent = 0
    with pytest.raises(UnsupportedError, match="gives no ranges"):
        open_contents(f"{server.url}/large.bin")
    assert server.seen.sent < 8 * MIB  # what the kernel buffers had room for


def test_a_size_that_is_not_true(server: RangeServer) -> None:
    (server.folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    server.knobs.announced = 1 << 60
    with pytest.raises(CkptkitError):
        open_contents(f"{server.url}/model.safetensors")
    server.knobs.ranges = False
    with pytest.raises(UnsupportedError, match="gives no ranges"):
        open_contents(f"{server.url}/model.safetensors")


def test_an_endless_page(server: RangeServer) -> None:
    server.knobs.page = lambda: b"<a href='x.index'>" * (1 << 19)
    with pytest.raises(CkptkitError, match="more came"):
        open_contents(f"{server.url}/")


def test_names_that_lead_out_of_a_page_are_not_followed(server: RangeServer) -> None:
    copy_fixture("keras3-mlp-checkpoint", server.folder)
    (server.folder / "keras3-mlp-checkpoint" / "checkpoint").unlink()
    server.knobs.links = (
        "../evil.index", "%2e%2e/evil.index", "/evil.index", "http://127.0.0.1:9/evil.index", "a/b.index", "..%2fevil.index",
        "..%5Cevil.index", "//127.0.0.1:9/evil.index", "evil.index?x=1", "file:///etc/evil.index",
    )  # fmt: skip
    contents, source = open_contents(f"{server.url}/keras3-mlp-checkpoint")
    source.close()
    assert contents.format == "tensor-bundle"
    assert not [path for path in server.seen.paths if "evil" in path]


def test_names_that_lead_out_of_a_prefix_are_not_followed(s3: Any, s3_folder: str) -> None:
    folder = s3_folder.removeprefix("s3://")
    for name in ("x/../evil.index", "x//evil.index", "x/a\\evil.index", "x/.."):
        s3.pipe_file(f"{folder}/{name}", b"evil")
    with pytest.raises(CkptkitError, match="holds no checkpoint"):
        open_contents(f"{s3_folder}/x")


def test_shards_that_lead_out_of_the_folder(memory: Any) -> None:
    memory.pipe_file("/run/m.safetensors.index.json", b'{"weight_map": {"w": "../m.safetensors"}}')
    with pytest.raises(CkptkitError, match="not that of a file beside the index"):
        open_contents("memory://run/m.safetensors.index.json")
    memory.pipe_file("/run/checkpoint", b'model_checkpoint_path: "s3://other/ckpt"')
    with pytest.raises(NotFoundError, match="in the folder"):
        open_contents("memory://run/checkpoint")


@pytest.mark.parametrize("weak", [False, True])
def test_an_object_replaced_in_the_middle(server: RangeServer, large: bytes, weak: bool) -> None:
    server.knobs.weak = weak
    storage = address(f"{server.url}/large.bin").open()
    pieces = storage.stream(0, storage.size, memoryview(bytearray(MIB)))
    next(pieces)
    (server.folder / "new").write_bytes(large[::-1])
    (server.folder / "new").replace(server.folder / "large.bin")
    with pytest.raises(ChangedError, match=r"large\.bin: changed while it was read"):
        for _ in pieces:
            pass
    storage.close()


def test_an_object_that_grew_on_a_server_without_tags(server: RangeServer, large: bytes) -> None:
    server.knobs.untagged = True
    storage = address(f"{server.url}/large.bin").open()
    (server.folder / "large.bin").write_bytes(large + b"1")
    with pytest.raises(ChangedError):
        read(storage, MIB, 5 * MIB)


def test_a_checkpoint_replaced_after_it_was_read(memory: Any) -> None:
    data = Path(copy_source("keras3-mlp-h5/model.h5")).read_bytes()
    memory.pipe_file("/model.h5", data)
    checkpoint = ckptkit.open("memory://model.h5")
    memory.pipe_file("/model.h5", data)
    with pytest.raises(ChangedError, match=r"memory://model\.h5: changed"):
        checkpoint.close()
    checkpoint.close()


def test_a_shard_replaced_before_it_was_opened(server: RangeServer) -> None:
    folder = copy_fixture("keras3-mlp-checkpoint", server.folder)
    shard = folder / "ckpt-1.data-00000-of-00001"

    def read_all_of_it() -> None:
        with ckptkit.open(f"{server.url}/keras3-mlp-checkpoint/ckpt-1") as checkpoint:
            shard.write_bytes(bytes(len(shard.read_bytes())))
            for variable in checkpoint.values():
                np.asarray(variable)

    with pytest.raises(ChangedError):  # and not that a checksum is wrong
        read_all_of_it()


def test_an_s3_object_replaced_in_the_middle(s3: Any, s3_folder: str, large: bytes) -> None:
    path = f"{s3_folder}/large.bin"
    s3.pipe_file(path, large)
    storage = address(path).open()
    assert read(storage, 0, MIB) == large[:MIB]
    s3.pipe_file(path, large[::-1])
    with pytest.raises(ChangedError):
        read(storage, MIB, MIB)


def test_a_missing_s3_bucket_and_object(s3: Any, s3_folder: str) -> None:
    for url in ("s3://no-such-bucket/x.h5", f"{s3_folder}/x.h5"):
        with pytest.raises(NotFoundError):
            open_contents(url)


def copy_source(path: str) -> str:
    from tests.conftest import FIXTURES

    return os.fspath(FIXTURES / path)
