"""Reaching a Dask scheduler, or starting one with a process for each core."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_SECONDS = 20
"""How long a scheduler may take to answer, and then to have a worker."""


def connect(address: str | None) -> tuple[Client, ExitStack]:
    """A client of the scheduler at `address`, or of a cluster of its own, and what ends both.

    Raises:
        CkptkitError: there is no scheduler, or none with workers.
    """
    with ExitStack() as held:
        _quieten(held)
        client = local_client(held) if address is None else _client_of(address, held)
        return client, held.pop_all()


def _quieten(held: ExitStack) -> None:
    """Keep what Dask and what it stands on log about connections that come and go to themselves, to the very end."""
    for name in ("distributed", "tornado", "asyncio"):
        logger = logging.getLogger(name)
        held.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)


def _client_of(address: str, held: ExitStack) -> Client:
    from distributed import Client
    from distributed import TimeoutError as DaskTimeoutError

    try:
        client = held.enter_context(Client(address, timeout=_CONNECT_SECONDS, set_as_default=False))
    except (OSError, ValueError, TypeError, DaskTimeoutError) as error:
        raise CkptkitError(
            f"no Dask scheduler is reached ({str(error).splitlines()[0]})", key=address,
            hint="The address is the one that the scheduler prints, such as tcp://10.0.0.1:8786",
        ) from error  # fmt: skip
    try:
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except (TimeoutError, DaskTimeoutError) as error:
        raise CkptkitError(
            "the Dask scheduler has no worker", key=address, hint="Start some, then try again"
        ) from error
    return client


def local_client(held: ExitStack, workers: int | None = None) -> Client:
    """A cluster of processes on this machine that nobody else on it can give work to.

    Args:
        held: ends it.
        workers: how many processes; as many as this one may use cores when not given.
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Dask samples what its workers do a hundred times a second, for a page that is not shown here.
    held.enter_context(dask.config.set({"distributed.worker.profile.enabled": False}))
    cluster = held.enter_context(
        LocalCluster(
            n_workers=workers or cores,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address="127.0.0.1:0",  # no dashboard, but Dask has a page of its own health in any case
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            preload=["ckptkit.engines.preload"],
            silence_logs=logging.CRITICAL,
            memory_limit=None,  # memory is bounded here by what a piece takes; Dask would count the page cache too
        )
    )
    return held.enter_context(Client(cluster, set_as_default=False))
