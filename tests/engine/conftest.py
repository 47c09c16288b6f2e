"""A Dask cluster of two processes, shared by the tests of a session, and checkpoints to give it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ckptkit.engines import dask
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """Two worker processes of one thread each; killed ones are started again."""
    distributed = pytest.importorskip("distributed")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",  # a port of its own: other sessions run beside this one
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL,
        memory_limit=None,
    ) as started:
        yield started


@pytest.fixture
def client(cluster: object) -> Iterator[object]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as opened:
        opened.wait_for_workers(2, timeout=180)
        yield opened


@pytest.fixture
def engine(client: object) -> dask.DaskEngine:
    """Cuts anything beyond two megabytes."""
    return dask.DaskEngine(client, grain=2 << 20)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path
