"""Independent pieces of work on a few threads of this process: the engine that is always there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit.engines.work import Part, Result, Task, Told, Work, unwatched

# As many small tasks are done together.
_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class Threads:
    """The costliest task first, so that no thread is left with a big one at the end; no task is cut.

    Tasks that the work calls small come last and together: they hold the interpreter's lock all the time, so a second thread
    would only get in the way. The calling thread is one of the workers, so that an interrupt reaches the work itself.
    NumPy, `preadv` and crc32c let go of the interpreter's lock on anything large.
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
        costs = [cost(task) for task in tasks]
        small = [number for number, each in enumerate(costs) if each < work.small]
        waiting = deque(sorted((n for n, each in enumerate(costs) if each >= work.small), key=lambda n: -costs[n]))
        large = len(waiting)
        results: dict[int, Result] = {}
        failures: list[BaseException] = []

        def serve() -> Any:
            bench = work.bench() if tasks else None
            while True:
                try:
                    number = waiting.popleft()
                except IndexError:
                    return bench
                task = tasks[number]
                results[number] = work.merge(task, (work.part(task, bench, progress),))

        def serve_beside() -> None:
            try:
                serve()
            except BaseException as error:  # noqa: BLE001 - handed over to the calling thread, which raises it
                failures.append(error)
                waiting.clear()

        helpers = [threading.Thread(target=serve_beside, daemon=True) for _ in range(min(self.workers, large) - 1)]
        for helper in helpers:
            helper.start()
        try:
            bench = serve()
            for start in range(0, len(small), _TOGETHER):
                if failures:
                    break
                numbers = small[start : start + _TOGETHER]
                chosen = [tasks[number] for number in numbers]
                for number, task, part in zip(numbers, chosen, work.many(chosen, bench, progress), strict=True):
                    results[number] = work.merge(task, (part,))
        finally:
            waiting.clear()
            for helper in helpers:
                helper.join()
        if failures:
            raise failures[0]
        return [results[number] for number in range(len(tasks))]


THREADS = Threads()
"""What does the work where nothing else is said."""
