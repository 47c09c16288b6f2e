"""Work on several threads: results in order, the costliest first, errors raised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ckptkit.engines import Threads, Work


class Calling(Work[int, Any, Any]):
    """Calls a function on each task, with a bench that is each thread's own."""

    def __init__(self, function: Callable[[int, object], Any]) -> None:
        self.function = function

    def bench(self) -> object:
        return object()

    def part(self, task: int, bench: object, told: Callable[[int], None]) -> Any:
        told(task)
        return self.function(task, bench)

    def merge(self, task: int, parts: Sequence[Any]) -> Any:
        (found,) = parts
        return found


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_tasks(threads: int) -> None:
    tasks = list(range(100))
    done: list[int] = []
    found = Threads(threads).run(
        tasks, Calling(lambda task, _: task * 2), cost=lambda task: task % 7, progress=done.append
    )
    assert found == [task * 2 for task in tasks]
    assert sorted(done) == tasks
    assert Threads(threads).run([], Calling(lambda task, _: task), cost=lambda task: task) == []


def test_the_costliest_comes_first() -> None:
    begun: list[int] = []
    Threads(1).run([3, 9, 1, 5], Calling(lambda task, _: begun.append(task)), cost=lambda task: task)
    assert begun == [9, 5, 3, 1]


def test_two_threads_work_at_once_with_buffers_of_their_own() -> None:
    both = threading.Barrier(2, timeout=120)
    used: set[int] = set()

    def work(task: int, bench: object) -> None:
        both.wait()
        used.add(id(bench))

    Threads(2).run([1, 2], Calling(work), cost=lambda task: 1)
    assert len(used) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_is_raised_and_what_has_not_begun_is_dropped(threads: int) -> None:
    begun: list[int] = []

    def work(task: int, bench: object) -> None:
        begun.append(task)
        if task == 1000:
            raise ValueError("no")
        threading.Event().wait(0.001)

    with pytest.raises(ValueError, match="no"):
        Threads(threads).run(list(range(1001)), Calling(work), cost=lambda task: task)
    assert len(begun) < 500
