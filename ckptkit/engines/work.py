"""What an engine is given to do, and what an engine is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

Task = TypeVar("Task")
Part = TypeVar("Part")
Result = TypeVar("Result")

Told = Callable[[int], None]
"""Called with bytes that have just been done, from any thread."""


def unwatched(_nbytes: int) -> None:
    """The progress nobody watches."""


class Work(ABC, Generic[Task, Part, Result]):
    """One kind of work on tasks that do not depend on each other.

    An engine may carry an instance and its tasks to other processes, so both pickle, and both are small.
    """

    small: ClassVar[int] = 0
    """What a task costs at most that is better done with others (`many`) than handed to a thread of its own."""

    def cut(self, task: Task, grain: int) -> Sequence[Task]:  # noqa: ARG002
        """`task` in pieces of about `grain` bytes, in order; itself alone where it is done in one go."""
        return (task,)

    def bench(self) -> Any:
        """What one thread needs over and over again: its buffers."""
        return None

    @abstractmethod
    def part(self, task: Task, bench: Any, told: Told) -> Part:
        """Do one piece. Runs anywhere."""

    def many(self, tasks: Sequence[Task], bench: Any, told: Told) -> list[Part]:
        """Do tasks of a few bytes each, which may cost less together; what comes of each is what `part` gives."""
        return [self.part(task, bench, told) for task in tasks]

    @abstractmethod
    def merge(self, task: Task, parts: Sequence[Part]) -> Result:
        """The outcome of `task` from those of its pieces, in order, whatever the cut. Runs where the engine was called."""


class Engine(Protocol):
    """Whoever does work.

    Attributes:
        workers: how many tasks are under way at a time.
        elsewhere: whether that is in other processes, so that work, tasks and results are pickled.
    """

    @property
    def workers(self) -> int:
        """See the class."""

    @property
    def elsewhere(self) -> bool:
        """See the class."""

    def run(
        self,
        tasks: Sequence[Task],
        work: Work[Task, Part, Result],
        *,
        cost: Callable[[Task], int],
        progress: Told = unwatched,
    ) -> list[Result]:
        """`work` on every task.

        Args:
            tasks: independent of each other.
            work: what is done with each.
            cost: an estimate for a task or a piece of one, such as bytes to be read.
            progress: told what has been done.

        Returns:
            Results in the order of `tasks`.

        Raises:
            whatever `work` raised first; what has not begun is dropped.
        """
