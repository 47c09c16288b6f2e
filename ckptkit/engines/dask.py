"""The processes and machines of a Dask cluster, by `distributed`'s own client."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import ckptkit
from ckptkit.engines.batches import Piece, cut_tasks, grain_for, pack
from ckptkit.engines.connection import connect
from ckptkit.engines.work import Part, Result, Task, Told, Work, unwatched
from ckptkit.engines.worker import Outcome, halt, run_batch
from ckptkit.errors import CkptkitError, MissingDependencyError

if TYPE_CHECKING:
    from distributed import Client, Future

    News = queue.SimpleQueue[Future | tuple[int, int]]
    """Batches that have ended, and (number of a batch, bytes it has done) of those that have not."""

_DESERTED_SECONDS = 60
"""How long a run waits for workers to come back once all are gone."""

_RESULT_SECONDS = 5
"""How long what a batch gave, a few kilobytes, may take to come; it is asked for again while there are workers."""

_RETRY_SECONDS = 0.1
"""Before a batch that has to be done again is looked at again."""

_HALT_SECONDS = 15
"""How long batches that are not wanted any more may take to end."""


@contextmanager
def open_dask(address: str | None) -> Iterator[DaskEngine]:
    """The workers of the scheduler at `address`, or a cluster of processes on this machine that ends with the block.

    Nothing is started or connected to before there is work.

    Raises:
        MissingDependencyError: Dask is not installed.
        CkptkitError: raised by the engine's methods when the scheduler is not reached.
    """
    try:
        import cloudpickle  # noqa: F401
        import distributed  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "--engine dask needs Dask", hint="pip install 'ckptkit[dask]'", found=str(error)
        ) from error
    engine = DaskEngine(lambda: connect(address))
    try:
        yield engine
    finally:
        engine.close()


class DaskEngine:
    """An `Engine` over a Dask cluster.

    Args:
        client: an open client, which stays its owner's to close.
        grain: bytes of a submission, and of the largest piece; chosen from the work where not given.
    """

    def __init__(self, client: Client | Callable[[], tuple[Client, ExitStack]], *, grain: int | None = None) -> None:
        self._make = client if callable(client) else (lambda: (client, ExitStack()))
        self._grain = grain
        self._client: Client | None = None
        self._held = ExitStack()

    @property
    def elsewhere(self) -> bool:
        """See `Engine`."""
        return True

    @property
    def workers(self) -> int:
        """See `Engine`: threads of all workers that are there now."""
        threads: int = sum(self._connected().nthreads().values())
        return max(threads, 1)

    def close(self) -> None:
        """End what was started for this engine; idempotent."""
        self._client = None
        self._held.close()

    def _connected(self) -> Client:
        if self._client is None:
            self._client, self._held = self._make()
        return self._client

    def run(
        self,
        tasks: Sequence[Task],
        work: Work[Task, Part, Result],
        *,
        cost: Callable[[Task], int],
        progress: Told = unwatched,
    ) -> list[Result]:
        """See `Engine.run`; tasks are cut, and pieces go out in submissions of about equal cost."""
        if not tasks:
            return []
        grain = self._grain or grain_for(sum(map(cost, tasks)), self.workers)
        pieces = cut_tasks(tasks, work, cost, grain)
        parts: list[list[Any]] = [[] for _ in tasks]
        for piece in pieces:
            parts[piece.task].append(None)
        for batch, outcome in self._outcomes(pack(pieces, grain), work, progress):
            for piece, part in zip(batch, outcome.parts, strict=True):
                parts[piece.task][piece.place] = part
        return [work.merge(task, found) for task, found in zip(tasks, parts, strict=True)]

    def _outcomes(
        self, batches: Sequence[list[Piece[Task]]], work: Work[Task, Part, Result], progress: Told
    ) -> Iterator[tuple[list[Piece[Task]], Outcome]]:
        """Each batch with what came of it, as they come; whatever ends this early ends the work."""
        import cloudpickle

        client = self._connected()
        run = secrets.token_hex(8)
        news: News = queue.SimpleQueue()
        pending: dict[Any, int] = {}
        futures = []
        bar = _Bar(progress)
        if progress is not unwatched:
            client.subscribe_topic(run, lambda event: news.put(event[1]))
        try:
            for number, batch in enumerate(batches):
                payload = cloudpickle.dumps((work, [piece.todo for piece in batch]))
                future = client.submit(run_batch, run, number, ckptkit.__version__, payload, pure=False)
                pending[future.key] = number
                futures.append(future)
                future.add_done_callback(news.put)
            while pending:
                future, outcome = _next(news, client, bar)
                number = pending.pop(future.key)
                bar.reached(number, outcome.told)
                yield batches[number], outcome
        finally:
            if pending:
                _abandon(client, futures, run)
            if progress is not unwatched:
                client.unsubscribe_topic(run)


class _Bar:
    """Passes on how far batches are, each byte once: a batch that is begun anew elsewhere catches up first."""

    def __init__(self, progress: Told) -> None:
        self._progress = progress
        self._reached: dict[int, int] = {}

    def reached(self, number: int, told: int) -> None:
        """Batch `number` has done `told` bytes."""
        before = self._reached.get(number, 0)
        if told > before:
            self._reached[number] = told
            self._progress(told - before)


class _Watch:
    """Ends a run that no worker is left for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._alive_at = time.monotonic()

    def check(self) -> None:
        """Raise when there has been no worker for too long."""
        now = time.monotonic()
        if self._client.status == "running" and _worker_count(self._client):
            self._alive_at = now
        if now - self._alive_at > _DESERTED_SECONDS:
            raise CkptkitError(
                "the Dask cluster has no workers any more", hint="Its own logs say why; nothing was written"
            )


def _next(news: News, client: Client, bar: _Bar) -> tuple[Future, Outcome]:
    """The next future that has ended, and what came of it.

    What Dask's own thread hears is passed on by this one, so that whoever watches cannot hold that thread up.
    """
    watch = _Watch(client)
    while True:
        try:
            heard = news.get(timeout=1)
        except queue.Empty:
            watch.check()
            continue
        if isinstance(heard, tuple):
            bar.reached(*heard)
            continue
        outcome = _outcome_of(heard)
        if outcome is not None:
            return heard, outcome
        watch.check()
        time.sleep(_RETRY_SECONDS)
        heard.add_done_callback(news.put)


def _worker_count(client: Client) -> int:
    """Workers that the scheduler knows; 0 when it does not answer."""
    try:
        return len(client.nthreads())
    except (OSError, TimeoutError, ValueError, RuntimeError):  # whatever a closing connection gives
        return 0


def _outcome_of(future: Future) -> Outcome | None:
    """What came of a batch; None when it is not to be had (any more)."""
    from distributed import KilledWorker
    from distributed import TimeoutError as DaskTimeoutError

    if future.status in ("pending", "lost"):  # with the worker that held it: the scheduler has it done again
        return None
    if future.status == "finished":
        try:
            outcome: Outcome = future.result(timeout=_RESULT_SECONDS)
        except (TimeoutError, DaskTimeoutError):
            return None
        if outcome.error is not None:
            raise outcome.error
        return outcome
    if future.status != "error":  # someone cancelled it
        raise CkptkitError(f"the Dask cluster dropped the work ({future.status})", hint="Its own logs say why")
    problem = future.exception()
    if isinstance(problem, KilledWorker):
        raise CkptkitError(
            "workers died over the same piece of work again and again", hint="Is there memory enough on each?"
        ) from problem
    if isinstance(problem, ImportError):
        raise CkptkitError(
            "a worker cannot import what it needs", found=str(problem), hint="Install ckptkit on all machines"
        ) from problem
    raise problem


def _abandon(client: Client, futures: list[Future], run: str) -> None:
    """Drop what has not begun, and have what runs stop before anything is cleared away that it writes to."""

    def stop() -> None:
        with suppress(Exception):  # the failure that led here is the one to be told
            client.cancel(futures, force=True)
            client.run(halt, run, on_error="ignore")

    beside = threading.Thread(target=stop, daemon=True)
    beside.start()
    beside.join(_HALT_SECONDS)
