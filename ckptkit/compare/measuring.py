"""Measuring the values of variables, wherever an engine does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ckptkit import dtypes
from ckptkit.compare.description import Examination, examine
from ckptkit.compare.ranges import Range, RangeExamination, cut, examine_range, join_examined
from ckptkit.compare.streaming import Tensor
from ckptkit.compare.workspace import Workspace
from ckptkit.engines import THREADS, Counter, Engine, Progress, Told, Work, silent
from ckptkit.errors import CkptkitError
from ckptkit.model import Checkpoint, Variable


@dataclass(frozen=True, slots=True)
class ToMeasure:
    """A variable, and the range of it that is meant; None for all."""

    variable: Variable
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        """Bytes to be read."""
        if self.part is None:
            return self.variable.nbytes
        return (self.part.stop - self.part.start) * dtypes.itemsize(self.variable.dtype)


@dataclass(frozen=True)
class MeasureWork(Work[ToMeasure, Examination | RangeExamination | CkptkitError, Examination | CkptkitError]):
    """Statistics and hashes of variables; an error in the place of one that cannot be read.

    Attributes:
        checkpoint: whose variables they are.
        stats: whether to measure the values.
        hashes: whether to take the SHA-256, which goes through a tensor in one go.
    """

    checkpoint: Checkpoint
    stats: bool
    hashes: bool

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def cut(self, task: ToMeasure, grain: int) -> Sequence[ToMeasure]:
        """See `Work.cut`."""
        if self.hashes:
            return (task,)
        return [replace(task, part=part) for part in cut([self._tensor(task)], grain)] or (task,)

    def part(self, task: ToMeasure, bench: Workspace, told: Told) -> Examination | RangeExamination | CkptkitError:
        """See `Work.part`."""
        tensor = self._tensor(task)
        try:
            if task.part is not None:
                return examine_range(tensor, task.part, bench, told)
            return examine(*tensor, statistics=self.stats, sha256=self.hashes, work=bench, progress=told)
        except CkptkitError as error:
            return error

    def merge(
        self, task: ToMeasure, parts: Sequence[Examination | RangeExamination | CkptkitError]
    ) -> Examination | CkptkitError:
        """See `Work.merge`."""
        ranges = []
        for part in parts:
            if not isinstance(part, RangeExamination):
                return part
            ranges.append(part)
        try:
            return join_examined(self._tensor(task), ranges)
        except CkptkitError as error:
            return error

    def _tensor(self, task: ToMeasure) -> Tensor:
        variable = task.variable
        return Tensor(self.checkpoint.source, variable.stored)


def measure(
    checkpoint: Checkpoint,
    variables: Sequence[Variable],
    *,
    stats: bool,
    hashes: bool,
    engine: Engine = THREADS,
    progress: Progress = silent,
) -> list[Examination | CkptkitError]:
    """One pass over each variable; an error in the place of what cannot be read."""
    counter = Counter(progress, sum(variable.nbytes for variable in variables))
    work = MeasureWork(checkpoint, stats, hashes)
    tasks = [ToMeasure(variable) for variable in variables]
    return engine.run(tasks, work, cost=lambda task: task.nbytes, progress=counter)
