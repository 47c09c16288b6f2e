"""Workers that die, files that change, clusters that are not there: a right result or one line, and no output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.engines import Work, connection, dask, open_engine
from ckptkit.engines.dask import DaskEngine
from ckptkit.errors import CkptkitError, FormatError, MissingDependencyError
from tests.conftest import FIXTURES, ROOT
from tests.engine.conftest import write_npz


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pair that takes about a hundred submissions."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(8)
    arrays = {f"layer_{number}/kernel": rng.standard_normal((1500, 1000)).astype(np.float32) for number in range(16)}
    a = write_npz(folder / "a.npz", arrays)
    arrays["layer_7/kernel"][1499, 999] += 1
    return a, write_npz(folder / "b.npz", arrays)


def once(act: Callable[[], object]) -> Callable[[int, int], None]:
    """A progress that acts when it is called first: in the middle of the run."""
    acted: list[int] = []

    def progress(done: int, total: int) -> None:
        assert done < total or acted
        if not acted:
            acted.append(done)
            act()

    return progress


def kill_one(client: Any) -> None:
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


def test_a_diff_survives_a_worker_that_is_killed(large: tuple[Path, Path], client: Any, engine: DaskEngine) -> None:
    before = set(client.run(os.getpid).values())
    found = ckptkit.diff(*large, engine=engine, progress=once(lambda: kill_one(client)))
    assert found == ckptkit.diff(*large)
    client.wait_for_workers(2, timeout=180)
    assert set(client.run(os.getpid).values()) != before


def test_a_conversion_survives_a_worker_that_is_killed(
    large: tuple[Path, Path], tmp_path: Path, client: Any, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptkit.formats.parts.MOST_BYTES", 4 << 20)
    client.wait_for_workers(2, timeout=180)
    output = tmp_path / "ckpt"
    ckptkit.convert(large[0], output, to="tensor-bundle", engine=engine, progress=once(lambda: kill_one(client)))
    assert ckptkit.diff(large[0], output).verdict == "identical"
    shards = len(list(tmp_path.glob("ckpt.data-*")))
    assert shards > 10
    assert len(list(tmp_path.iterdir())) == shards + 1


def test_a_file_that_is_replaced_in_the_middle_is_noticed(
    large: tuple[Path, Path], tmp_path: Path, client: Any, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptkit.formats.parts.MOST_BYTES", 4 << 20)
    client.wait_for_workers(2, timeout=180)
    for act in (
        lambda **progress: ckptkit.diff(tmp_path / "a.npz", large[1], engine=engine, **progress),
        lambda **progress: ckptkit.convert(
            tmp_path / "a.npz", tmp_path / "out", to="tensor-bundle", engine=engine, **progress
        ),
    ):
        (tmp_path / "a.npz").write_bytes(large[0].read_bytes())
        (tmp_path / "new.npz").write_bytes(large[1].read_bytes())
        with pytest.raises(FormatError, match="was replaced or changed while it was being read"):
            act(progress=once(lambda: (tmp_path / "new.npz").replace(tmp_path / "a.npz")))
        assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_failed_conversion_leaves_nothing(large: tuple[Path, Path], tmp_path: Path, engine: DaskEngine) -> None:
    data = bytearray(large[0].read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(data)
    for name, to in (("x", "tensor-bundle"), ("x.weights.json", None), ("x.safetensors.index.json", None)):
        with pytest.raises(CkptkitError, match="does not match its checksum"):
            ckptkit.convert(tmp_path / "bad.npz", tmp_path / name, to=to, assume={"order": "sorted"}, engine=engine)
        assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


class Deadly(Work[int, int, int]):
    """Ends every process that does it."""

    def part(self, task: int, bench: None, told: Callable[[int], None]) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return task

    def merge(self, task: int, parts: Sequence[int]) -> int:
        return parts[0]


class Defective(Deadly):
    """Has a defect."""

    def part(self, task: int, bench: None, told: Callable[[int], None]) -> int:
        raise ZeroDivisionError(task)


def test_work_that_kills_every_worker_ends_in_one_line(client: Any, engine: DaskEngine) -> None:
    with pytest.raises(CkptkitError, match="workers died over the same piece of work again and again"):
        engine.run([1], Deadly(), cost=lambda task: task)
    client.wait_for_workers(2, timeout=180)


def test_a_defect_is_raised_as_it_is(engine: DaskEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        engine.run([1, 2], Defective(), cost=lambda task: task)


@contextmanager
def scheduler_with(
    workers: int, *options: str, **environment: str
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler in a process, as one on a cluster's head node, and workers that nobody starts again."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command = [*module, "--no-dashboard", "--no-show", "--dashboard-address", "127.0.0.1:0"]
    started = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)]
    try:
        assert started[0].stderr is not None
        lines = (line.decode() for line in started[0].stderr)
        address = next(line.split()[-1] for line in lines if "Scheduler at:" in line)
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
        command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", *options]
        for _ in range(workers):
            started.append(subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()
        if started[0].stderr is not None:
            started[0].stderr.close()


def test_when_all_workers_are_gone_it_ends_soon(
    large: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_DESERTED_SECONDS", 2)
    monkeypatch.setattr("ckptkit.formats.parts.MOST_BYTES", 4 << 20)
    with scheduler_with(2) as (address, workers), open_engine(f"dask:{address}") as engine:

        def kill_all() -> None:
            for worker in workers:
                worker.kill()

        begun = time.monotonic()
        with pytest.raises(CkptkitError, match="has no workers any more"):
            ckptkit.convert(large[0], tmp_path / "x", to="tensor-bundle", engine=engine, progress=once(kill_all))
        assert time.monotonic() - begun < 180
    assert list(tmp_path.iterdir()) == []


def test_workers_of_another_version_are_refused(tmp_path: Path) -> None:
    preload = tmp_path / "older.py"
    preload.write_text("import ckptkit\nckptkit.__version__ = '0.0.1'\n")
    path = FIXTURES / "single-h5" / "single.h5"
    with (
        scheduler_with(1, "--preload", str(preload)) as (address, _),
        pytest.raises(CkptkitError, match=r"another version of ckptkit: expected .*, found 0\.0\.1"),
    ):
        ckptkit.inspect(path, stats=True, engine=f"dask:{address}")


def test_a_scheduler_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 1)
    path = FIXTURES / "single-h5" / "single.h5"
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1:notaport"):
        with pytest.raises(CkptkitError, match="no Dask scheduler is reached") as caught:
            ckptkit.inspect(path, stats=True, engine=f"dask:{address}")
        assert "\n" not in str(caught.value)


def test_a_scheduler_without_workers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 2)
    with scheduler_with(0) as (address, _), pytest.raises(CkptkitError, match="has no worker"):
        ckptkit.inspect(FIXTURES / "single-h5" / "single.h5", stats=True, engine=f"dask:{address}")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ckptkit\[dask\]'"), open_engine("dask"):
        pass
