"""Work on several threads: results in order, the costliest first, errors raised."""

from __future__ import annotations

import threading

import pytest

from ckptkit.compare import Workspace, run_tasks


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_tasks(threads: int) -> None:
    tasks = list(range(100))
    assert run_tasks(tasks, lambda task, work: task * 2, cost=lambda task: task % 7, threads=threads) == [
        task * 2 for task in tasks
    ]
    assert run_tasks([], lambda task, work: task, cost=lambda task: task, threads=threads) == []


def test_the_costliest_comes_first() -> None:
    begun: list[int] = []
    run_tasks([3, 9, 1, 5], lambda task, work: begun.append(task), cost=lambda task: task, threads=1)
    assert begun == [9, 5, 3, 1]


def test_two_threads_work_at_once_with_buffers_of_their_own() -> None:
    both = threading.Barrier(2, timeout=10)
    used: set[int] = set()

    def work(task: int, buffers: Workspace) -> None:
        both.wait()
        used.add(id(buffers))

    run_tasks([1, 2], work, cost=lambda task: 1, threads=2)
    assert len(used) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_is_raised_and_what_has_not_begun_is_dropped(threads: int) -> None:
    begun: list[int] = []

    def work(task: int, buffers: Workspace) -> None:
        begun.append(task)
        if task == 1000:
            raise ValueError("no")
        threading.Event().wait(0.001)

    with pytest.raises(ValueError, match="no"):
        run_tasks(list(range(1001)), work, cost=lambda task: task, threads=threads)
    assert len(begun) < 500
