"""Two Dask worker processes against one: a full-statistics diff of a pair of 2.5 GiB bundles in memory-backed storage.

pytest tests/benchmarks/test_engine.py -m benchmark -s
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import ckptkit
from ckptkit.engines.connection import local_client
from ckptkit.engines.dask import DaskEngine
from tests.benchmarks import data
from tests.conftest import ROOT

pytestmark = pytest.mark.benchmark

_MEMORY = Path("/dev/shm")
_ROUNDS = 5

# The tensors of the usual pair, so many times: what Dask is for takes longer than a second.
_COPIES = 2


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Path, Path]]:
    """Bundles of equal shapes that differ everywhere."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < 12 << 30:
        pytest.skip("there is no room in /dev/shm")
    folder = _MEMORY / f"ckptkit-engine-{os.getpid()}"
    folder.mkdir()
    try:
        yield _written(folder / "one", 1), _written(folder / "other", 2)
    finally:
        shutil.rmtree(folder)


def _written(prefix: Path, seed: int) -> Path:
    import h5py

    source = prefix.with_suffix(".weights.h5")
    with h5py.File(source, "w") as file:
        for key, value in data.values(seed):
            for copy in range(_COPIES):
                file.create_dataset(key.replace("layers/", f"layers/copy_{copy}_"), data=value)
    ckptkit.convert(source, prefix, to="tensor-bundle")
    source.unlink()
    return prefix


@dataclass(frozen=True, order=True)
class Round:
    """Wall time, CPU time of the coordinator and of the busiest worker, and the report."""

    seconds: float
    own: float
    busiest: float
    report: str


def measured(pair: tuple[Path, Path], engine: DaskEngine | None, busy: Callable[[], list[float]] = list) -> Round:
    """The best round, after one that warms up."""
    found = []
    for _ in range(_ROUNDS + 1):
        before, begun, worked = busy(), time.perf_counter(), time.process_time()
        report = json.dumps(ckptkit.diff(*pair, engine=engine).to_json())
        seconds, own = time.perf_counter() - begun, time.process_time() - worked
        busiest = max((after - at for at, after in zip(before, busy(), strict=True)), default=own)
        found.append(Round(seconds, own, busiest, report))
    assert len({each.report for each in found}) == 1
    return min(found[1:])


def test_two_workers_against_one(pair: tuple[Path, Path]) -> None:
    os.environ["PYTHONPATH"] = str(ROOT)
    here = measured(pair, None)
    print(f"\ndiff, two threads of this process    {here.seconds:6.2f} s   load {os.getloadavg()[0]:.1f}")
    rounds: dict[int, Round] = {}
    for workers in (1, 2):
        with ExitStack() as held:
            client = local_client(held, workers)
            found = measured(pair, DaskEngine(client), lambda c=client: list(c.run(time.process_time).values()))
        rounds[workers] = found
        assert found.report == here.report
        print(
            f"diff, {workers} Dask worker{'s' * (workers > 1)} of one thread  {found.seconds:6.2f} s   "
            f"{rounds[1].seconds / found.seconds:.2f} ×   CPU: busiest worker {found.busiest:.2f} s, "
            f"scheduler and coordinator {found.own:.2f} s"
        )
    assert rounds[1].seconds / rounds[2].seconds >= 1.6
