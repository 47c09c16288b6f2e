"""How much work goes out at a time: pieces of tasks, packed into submissions of about equal cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from ckptkit.engines.work import Part, Result, Task, Work

# Bytes of a submission. Less, and a scheduler's time for each (about a millisecond) shows; more, and what a dead worker
# had in hand, and the wait for the last one, do.
LEAST_BYTES = 8 << 20
MOST_BYTES = 256 << 20

# Submissions a worker gets over the run, where their size permits: enough that the last ones end at about one time.
ROUNDS = 16

# What a task costs however little it reads: opening, results, merging; in bytes that are compared in the same time.
_TASK_BYTES = 64 << 10

# The part of a submission that may come on top of it.
_SLACK = 8

# Most tasks of a submission, so that its message stays below a megabyte.
_MOST_TASKS = 1024


@dataclass(frozen=True, slots=True)
class Piece(Generic[Task]):
    """One piece of a task: the task's number, the piece's number in it, and what is to be done."""

    task: int
    place: int
    todo: Task
    cost: int


def grain_for(total: int, workers: int) -> int:
    """Bytes of a submission, and of the largest piece, for `total` bytes on `workers` workers."""
    return min(max(total // (max(workers, 1) * ROUNDS), LEAST_BYTES), MOST_BYTES)


def cut_tasks(
    tasks: Sequence[Task], work: Work[Task, Part, Result], cost: Callable[[Task], int], grain: int
) -> list[Piece[Task]]:
    """All pieces of all tasks, in order; a task that costs no more than `grain` is one."""
    pieces = []
    for number, task in enumerate(tasks):
        whole = cost(task)
        parts = work.cut(task, grain) if whole > grain else (task,)
        pieces += [
            Piece(number, place, todo, cost(todo) if len(parts) > 1 else whole) for place, todo in enumerate(parts)
        ]
    return pieces


def pack(pieces: Sequence[Piece[Task]], grain: int) -> list[list[Piece[Task]]]:
    """Submissions of about `grain` bytes, the costliest first.

    Neighbours stay together: what lies side by side in a file is read by one worker. A little more than `grain` is let
    in, so that a bias goes with the kernel beside it rather than alone.
    """
    most = grain + grain // _SLACK
    batches: list[tuple[int, list[Piece[Task]]]] = []
    held, batch = 0, list[Piece[Task]]()
    for piece in pieces:
        cost = piece.cost + _TASK_BYTES
        if batch and (held + cost > most or len(batch) == _MOST_TASKS):
            batches.append((held, batch))
            held, batch = 0, []
        held += cost
        batch.append(piece)
    if batch:
        batches.append((held, batch))
    return [batch for _, batch in sorted(batches, key=lambda item: -item[0])]
