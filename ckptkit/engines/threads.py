"""Independent pieces of work on a few threads of this process: the engine that is always there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckptkit.engines.work import Part, Result, Task, Told, Work, unwatched


@dataclass(frozen=True, slots=True)
class Threads:
    """The costliest task first, so that no thread is left with a big one at the end; no task is cut.

    The calling thread is one of the workers, so that an interrupt reaches the work itself. NumPy, `preadv` and crc32c
    let go of the interpreter's lock on anything large.
    """

    workers: int = 2

    @property
    def elsewhere(self) -> bool:
        """See `Engine`."""
        return False

    def run(
        self,
        tasks: Sequence[Task],
        work: Work[Task, Part, Result],
        *,
        cost: Callable[[Task], int],
        progress: Told = unwatched,
    ) -> list[Result]:
        """See `Engine.run`."""
        waiting = deque(sorted(range(len(tasks)), key=lambda number: -cost(tasks[number])))
        results: dict[int, Result] = {}
        failures: list[BaseException] = []

        def serve() -> None:
            bench = work.bench() if waiting else None
            while True:
                try:
                    number = waiting.popleft()
                except IndexError:
                    return
                task = tasks[number]
                results[number] = work.merge(task, (work.part(task, bench, progress),))

        def serve_beside() -> None:
            try:
                serve()
            except BaseException as error:  # noqa: BLE001 - handed over to the calling thread, which raises it
                failures.append(error)
                waiting.clear()

        helpers = [threading.Thread(target=serve_beside, daemon=True) for _ in range(min(self.workers, len(tasks)) - 1)]
        for helper in helpers:
            helper.start()
        try:
            serve()
        finally:
            waiting.clear()
            for helper in helpers:
                helper.join()
        if failures:
            raise failures[0]
        return [results[number] for number in range(len(tasks))]


THREADS = Threads()
"""What does the work where nothing else is said."""
