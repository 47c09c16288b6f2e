"""Independent pieces of work on a few threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from ckptkit.compare.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    tasks: Sequence[Task], work: Callable[[Task, Workspace], Result], *, cost: Callable[[Task], int], threads: int = 2
) -> list[Result]:
    """`work` on every task, the costliest first, so that no thread is left with a big one at the end.

    The calling thread is one of the workers, so that an interrupt reaches the work itself. NumPy, `preadv` and crc32c
    let go of the interpreter's lock on anything large.

    Args:
        tasks: independent of each other.
        work: called with a task and the thread's own buffers.
        cost: an estimate, such as bytes to be read.
        threads: how many in all, at least 1.

    Returns:
        Results in the order of `tasks`.

    Raises:
        whatever `work` raised first; work that has not begun is dropped.
    """
    waiting = deque(sorted(range(len(tasks)), key=lambda number: -cost(tasks[number])))
    results: dict[int, Result] = {}
    failures: list[BaseException] = []

    def serve() -> None:
        buffers = Workspace()
        while True:
            try:
                number = waiting.popleft()
            except IndexError:
                return
            results[number] = work(tasks[number], buffers)

    def serve_beside() -> None:
        try:
            serve()
        except BaseException as error:  # noqa: BLE001 - handed over to the calling thread, which raises it
            failures.append(error)
            waiting.clear()

    helpers = [threading.Thread(target=serve_beside, daemon=True) for _ in range(min(threads, len(tasks)) - 1)]
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
