"""`--engine`: a word for who does the work."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from ckptkit.engines.threads import THREADS
from ckptkit.engines.work import Engine
from ckptkit.errors import UsageError

NAMES = ("threads", "dask")


@contextmanager
def open_engine(engine: str | Engine | None) -> Iterator[Engine]:
    """The engine that is meant, for as long as the block lasts.

    Args:
        engine: `threads` or None for threads of this process, `dask` for a Dask cluster of processes on this machine that
            ends with the block, `dask:ADDRESS` for the workers of a scheduler that is there; or an engine, which stays
            its owner's to close.

    Raises:
        UsageError: no such engine.
        CkptkitError: the cluster cannot be started or reached.
    """
    if engine is not None and not isinstance(engine, str):
        yield engine
        return
    name, colon, address = (engine or "threads").partition(":")
    if name not in NAMES or (colon and (name != "dask" or not address)):
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
        raise UsageError(
            "no such engine",
            key=f"--engine {engine}",
            expected="dask, or dask:SCHEDULER-ADDRESS such as dask:tcp://10.0.0.1:8786",
            hint=f"Did you mean {near[0]}?" if near else None,
        )
    if name == "threads":
        yield THREADS
        return
    from ckptkit.engines.dask import open_dask

    with open_dask(address or None) as opened:
        yield opened
