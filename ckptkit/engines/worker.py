"""What runs in a worker: a batch of pieces, one after the other, until it is done, fails or is not wanted any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ckptkit
from ckptkit.errors import CkptkitError

# How long a worker that is told to stop may take to look up: reading one piece of a few megabytes.
_STOPPING_SECONDS = 10

# How often a batch that takes longer says how far it is.
_TELL_SECONDS = 0.5

_lock = threading.Lock()
_running: Counter[str] = Counter()
_halted: set[str] = set()
_kept = threading.local()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch.

    Attributes:
        parts: one for each piece.
        told: bytes done.
        error: what ended it early.
    """

    parts: Sequence[Any] = ()
    told: int = 0
    error: CkptkitError | None = None


class _Halted(Exception):  # noqa: N818 - nothing went wrong
    """The run has failed elsewhere or was interrupted."""


def run_batch(run: str, number: int, version: str, payload: bytes) -> Outcome:
    """Do a batch.

    Args:
        run: names the run, for `halt`, and the topic on which is told how far the batch is.
        number: of the batch in the run.
        version: of ckptkit where the work was planned; any other here is refused.
        payload: the work and its pieces, pickled: by the coordinator, and never read by anything in between.
    """
    if version != ckptkit.__version__:
        return Outcome(
            error=CkptkitError(
                "a worker runs another version of ckptkit", expected=version, found=ckptkit.__version__,
                hint="Install the same one on all machines",
            )
        )  # fmt: skip
    with _lock:
        _running[run] += 1
    try:
        return _do(run, number, payload)
    except CkptkitError as error:
        return Outcome(error=error)
    except _Halted:
        return Outcome()
    finally:
        with _lock:
            _running[run] -= 1


def _do(run: str, number: int, payload: bytes) -> Outcome:
    import cloudpickle
    from distributed import get_worker

    worker = get_worker()  # here: readers may tell from threads of their own
    told = 0
    next_message = time.monotonic() + _TELL_SECONDS

    def tell(nbytes: int) -> None:
        nonlocal told, next_message
        told += nbytes
        if run in _halted:
            raise _Halted
        if nbytes and time.monotonic() > next_message:
            next_message = time.monotonic() + _TELL_SECONDS
            worker.log_event(run, (number, told))

    work, pieces = cloudpickle.loads(payload)
    bench = _bench_of(work)
    parts = []
    for piece in pieces:
        tell(0)
        parts.append(work.part(piece, bench, tell))
    return Outcome(parts, told)


def _bench_of(work: Any) -> Any:
    """The calling thread's bench, kept for the next batch of this kind of work."""
    if getattr(_kept, "kind", None) is not type(work):
        _kept.kind, _kept.bench = type(work), work.bench()
    return _kept.bench


async def halt(run: str) -> None:
    """Have the batches of `run` stop, and wait a while until they have."""
    _halted.add(run)
    for _ in range(_STOPPING_SECONDS * 20):
        if not _running[run]:
            return
        await asyncio.sleep(0.05)
