"""A cluster of processes with stores on both sides: inputs by URL, and shards that each worker uploads itself."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.api.open import kept as kept_open
from ckptkit.api.open import reopen
from ckptkit.engines.dask import DaskEngine
from ckptkit.errors import CkptkitError, UsageError, WriteError
from ckptkit.formats.locate import locate
from ckptkit.output import in_store
from ckptkit.output.in_store import InStore
from ckptkit.storage.address import address
from ckptkit.storage.remote.traffic import traffic
from ckptkit.storage.remote.upload import put_shared
from tests.engine.conftest import write_npz
from tests.engine.test_failures import kill_one, once
from tests.remote.server import RangeServer

OUTPUTS = [("x", "tensor-bundle"), ("x.weights.json", None), ("x.safetensors.index.json", None)]
INDEXES = {"x": "x.index"}


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckptkit.formats.parts.MOST_BYTES", 1 << 20)
    monkeypatch.setattr("ckptkit.formats.keras.writer.MOST_BYTES", 1 << 20)


@pytest.fixture
def _known_to_workers(s3: Any, client: Any) -> Iterator[None]:
    """The workers find the store too, also those that are started again."""
    import fsspec
    from distributed import WorkerPlugin

    found = dict(fsspec.config.conf["s3"])

    class Settings(WorkerPlugin):
        name = "s3-settings"

        def setup(self, worker: Any) -> None:
            import fsspec

            fsspec.config.conf["s3"] = found

    client.register_plugin(Settings())
    yield
    client.unregister_worker_plugin("s3-settings")


@pytest.fixture
def far(s3_folder: str, _known_to_workers: None) -> str:
    """An empty folder of a store that the workers know."""
    return s3_folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten megabytes in ten tensors, and a small one."""
    rng = np.random.default_rng(10)
    arrays = {f"dense_{n}/kernel": rng.standard_normal((250 + n, 1000)).astype(np.float32) for n in range(10)}
    return write_npz(tmp_path_factory.mktemp("source") / "s.npz", arrays | {"dense_3/bias": np.arange(7)})


def names(folder: str) -> list[str]:
    try:
        return address(folder).names()
    except CkptkitError:
        return []


def objects(files: Any, folder: str) -> dict[str, bytes]:
    return {name: files.cat_file(f"{folder}/{name}") for name in names(folder)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("name", "to"), OUTPUTS)
def test_outputs_are_those_of_a_folder(
    source: Path, s3: Any, far: str, engine: DaskEngine, tmp_path: Path, name: str, to: str | None
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "like").mkdir()
    sent, received = traffic.sent, traffic.received
    ckptkit.convert(source, f"{far}/new/{name}", to=to, engine=engine)
    assert traffic.sent - sent == s3.info(f"{far}/new/{INDEXES.get(name, name)}")["size"]
    assert traffic.received - received < source.stat().st_size / 5  # headers, to see that they are there
    ckptkit.convert(source, tmp_path / "new" / name, to=to, engine=engine)
    assert objects(s3, f"{far}/new") == contents(tmp_path / "new")
    assert len(names(f"{far}/new")) > 5
    ckptkit.remap(tmp_path / "new" / name, f"{far}/new/{name}", f"{far}/like/{name}", engine=engine)
    ckptkit.remap(tmp_path / "new" / name, tmp_path / "new" / name, tmp_path / "like" / name, engine=engine)
    assert objects(s3, f"{far}/like") == contents(tmp_path / "like")


@pytest.mark.parametrize(("name", "to"), OUTPUTS)
def test_an_existing_output(
    source: Path, s3: Any, far: str, engine: DaskEngine, tmp_path: Path, name: str, to: str | None
) -> None:
    url = f"{far}/{name}"
    ckptkit.convert(source, url, to=to, engine=engine)
    before = objects(s3, far)
    with pytest.raises(UsageError, match="exists already"):
        ckptkit.convert(source, url, to=to, engine=engine)
    if name == "x.weights.json":
        with pytest.raises(UsageError, match="so that the old or the new is whole"):
            ckptkit.convert(source, url, to=to, engine=engine, force=True)
        assert objects(s3, far) == before
        return
    other = write_npz(tmp_path / "o.npz", {"other/kernel": np.arange(3_000_000, dtype=np.float32)})
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(data)
    with pytest.raises(CkptkitError, match="does not match its checksum"):
        ckptkit.convert(tmp_path / "bad.npz", url, to=to, engine=engine, force=True)
    assert objects(s3, far) == before
    ckptkit.convert(other, url, to=to, engine=engine, force=True)
    assert ckptkit.diff(other, url).verdict == "identical"
    assert set(names(far)) & set(before) == {INDEXES.get(name, name)}


def test_a_worker_that_is_killed(source: Path, far: str, client: Any, engine: DaskEngine) -> None:
    client.wait_for_workers(2, timeout=180)
    options = {"to": "tensor-bundle", "engine": engine}
    ckptkit.convert(source, f"{far}/x", progress=once(lambda: kill_one(client)), **options)
    assert ckptkit.diff(source, f"{far}/x").verdict == "identical"
    assert len(names(far)) == len([name for name in names(far) if "data" in name]) + 1
    client.wait_for_workers(2, timeout=180)


def after_a_shard(far: str, act: Callable[[], object]) -> Callable[[int, int], None]:
    """A progress that acts once a shard has been uploaded."""
    acting = once(act)

    def progress(done: int, total: int) -> None:
        if names(far):
            acting(done, total)

    return progress


@pytest.mark.parametrize(("name", "to"), OUTPUTS)
def test_an_input_that_is_replaced_leaves_nothing(
    source: Path, s3: Any, far: str, engine: DaskEngine, name: str, to: str | None
) -> None:
    s3.put_file(str(source), f"{far}-in/s.npz")
    other = source.read_bytes()[:-1] + b"x"
    with pytest.raises(CkptkitError, match="changed while it was"):
        ckptkit.convert(
            f"{far}-in/s.npz", f"{far}/{name}", to=to, engine=engine,
            progress=after_a_shard(far, lambda: s3.pipe_file(f"{far}-in/s.npz", other)),
        )  # fmt: skip
    assert names(far) == []


def test_an_output_that_came_meanwhile_stays_whole(source: Path, s3: Any, far: str, engine: DaskEngine) -> None:
    theirs = {}

    def write() -> None:
        ckptkit.convert(source, f"{far}-other/x", to="tensor-bundle")
        for name, data in objects(s3, f"{far}-other").items():
            s3.pipe_file(f"{far}/{name}", data)
            theirs[name] = data

    with pytest.raises(UsageError, match="exists by now"):
        ckptkit.convert(source, f"{far}/x", to="tensor-bundle", engine=engine, progress=after_a_shard(far, write))
    assert objects(s3, far) == theirs


@pytest.mark.parametrize(("name", "to"), OUTPUTS)
def test_a_shard_that_is_gone_at_the_end(
    source: Path, s3: Any, far: str, engine: DaskEngine, name: str, to: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = InStore.whole

    def lose(self: InStore, shards: set[str]) -> Any:
        s3.pipe_file(f"{far}/{min(shards)}", b"")
        return whole(self, shards)

    monkeypatch.setattr(InStore, "whole", lose)
    with pytest.raises(CkptkitError, match="cannot be read back|cut short"):
        ckptkit.convert(source, f"{far}/{name}", to=to, engine=engine)
    assert names(far) == []


def test_an_index_that_cannot_be_written_leaves_nothing(
    source: Path, far: str, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(local: str, url: str, *, new: bool) -> None:
        assert [path.name for path in Path(local).parent.iterdir()] == ["x.index"]  # no data here
        raise WriteError("the store is full", path=url)

    monkeypatch.setattr(in_store, "put", full)
    with pytest.raises(WriteError, match="the store is full"):
        ckptkit.convert(source, f"{far}/x", to="tensor-bundle", engine=engine)
    assert names(far) == []


def test_a_shard_that_is_uploaded_twice(s3: Any, s3_folder: str, tmp_path: Path) -> None:
    url, told = f"{s3_folder}/shard", list[int]()
    local = tmp_path / "shard"
    local.write_bytes(b"0123456789")
    for there in (None, b"0123456789", b"0123"):  # the last one: of a process that died, where that can be seen
        if there is not None:
            s3.pipe_file(url, there)
        put_shared(str(local), url, told.append)
        assert s3.cat_file(url) == b"0123456789"
    assert told
    for there in (b"012X", b"0123456789A"):
        s3.pipe_file(url, there)
        with pytest.raises(UsageError, match="exists by now"):
            put_shared(str(local), url, told.append)
        assert s3.cat_file(url) == there


@pytest.fixture(params=["s3", "http"])
def behind_a_url(request: pytest.FixtureRequest, server: RangeServer, tmp_path: Path) -> Callable[..., str]:
    """Puts a file behind a URL, in the place of what was there, and gives the URL."""

    def put(path: Path, name: str | None = None) -> str:
        name = name or path.name
        if request.param == "http":
            shutil.copy(path, tmp_path / "moved")
            (tmp_path / "moved").replace(server.folder / name)
            return f"{server.url}/{name}"
        url = f"{request.getfixturevalue('far')}/{name}"
        request.getfixturevalue("s3").put_file(str(path), url)
        return url

    return put


@pytest.fixture(scope="module")
def pair(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """As safetensors, which are read by ranges; one value is another."""
    folder = tmp_path_factory.mktemp("pair")
    with np.load(source) as loaded:
        arrays = dict(loaded)
    ckptkit.convert(source, folder / "a.safetensors")
    arrays["dense_7/kernel"][200, 30] += 1
    ckptkit.convert(write_npz(folder / "b.npz", arrays), folder / "b.safetensors")
    return folder / "a.safetensors", folder / "b.safetensors"


def test_inputs_by_url_give_the_same_json(
    pair: tuple[Path, Path], behind_a_url: Callable[..., str], engine: DaskEngine
) -> None:
    a, b = map(behind_a_url, pair)
    there, here = (json.dumps(ckptkit.diff(a, b, engine=chosen).to_json()) for chosen in (engine, None))
    assert there == here
    assert json.loads(there)["verdict"] == "different"
    there, here = (
        json.dumps(ckptkit.inspect(b, stats=True, hashes=True, engine=chosen).to_json()) for chosen in (engine, None)
    )
    assert there == here


def test_an_object_that_is_replaced_in_the_middle(
    pair: tuple[Path, Path], behind_a_url: Callable[..., str], engine: DaskEngine
) -> None:
    a, b = map(behind_a_url, pair)
    with pytest.raises(CkptkitError, match="changed while it was") as caught:
        ckptkit.diff(a, b, engine=engine, progress=once(lambda: behind_a_url(pair[1], pair[0].name)))
    assert caught.value.path == a
    assert "\n" not in str(caught.value)


def test_what_is_let_go_waits_for_no_store(pair: tuple[Path, Path], s3: Any, s3_folder: str) -> None:
    """Garbage is collected on any thread, also on the one that would have to fetch the answer."""
    url = f"{s3_folder}/a.safetensors"
    s3.put_file(str(pair[0]), url)
    kept = weakref.ref(reopen(url, locate(url).version()))
    before = traffic.requests
    kept_open.clear()
    gc.collect()
    assert kept() is None
    assert traffic.requests == before
