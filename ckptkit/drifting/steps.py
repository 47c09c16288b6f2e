"""From one checkpoint of a run to the next: what became of each variable, wherever an engine finds out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.engines import Told, Work
from ckptkit.model import Checkpoint, TensorSpec, Variable

if TYPE_CHECKING:
    from ckptkit.compare import Compared, Examination, Examined, Range, Statistics, Tensor, Workspace

Outcome = tuple[float | None, bool, str | None]
"""Relative change, whether any bit differs, the initialiser that equal values seem to be of."""


@dataclass(frozen=True, slots=True)
class Step:
    """A variable, what it was before, and the range of it that is meant; None for all."""

    new: Variable
    old: Variable | None
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the newer one, or of the range of it."""
        if self.part is None:
            return self.new.nbytes
        return (self.part.stop - self.part.start) * dtypes.itemsize(self.new.dtype)


@dataclass(frozen=True, slots=True)
class Stepped:
    """What came of a range: the comparison, and what the values are where no bit differs."""

    compared: Compared
    examined: Examined | None


@dataclass(frozen=True)
class StepWork(Work[Step, "Outcome | Stepped", Outcome]):
    """Comparing each variable with what it was.

    Attributes:
        before: the earlier checkpoint, the reference.
        now: the later one.
    """

    before: Checkpoint
    now: Checkpoint

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        from ckptkit.compare import Workspace

        return Workspace()

    def cut(self, task: Step, grain: int) -> Sequence[Step]:
        """See `Work.cut`."""
        from ckptkit.compare import cut

        sides = self._sides(task)
        if sides is None or sides[0].spec.shape != sides[1].spec.shape:
            return (task,)
        return [replace(task, part=part) for part in cut(sides, grain)] or (task,)

    def part(self, task: Step, bench: Workspace, told: Told) -> Outcome | Stepped:
        """See `Work.part`."""
        from ckptkit.compare import Tolerance, compare_range, compare_tensors, examine, examine_range

        sides = self._sides(task)
        if sides is None:
            return None, False, None
        if task.part is None:
            compared = compare_tensors(*sides[0], *sides[1], Tolerance(), bench, told)
            same = compared.status == "identical"
            return _outcome(task, compared.statistics, examine(*sides[0], work=bench) if same else None)
        found = compare_range(*sides, task.part, Tolerance(), bench, told)
        same = found.statistics.identical and sides[0].spec.dtype == sides[1].spec.dtype
        return Stepped(found, examine_range(sides[0], task.part, bench) if same else None)

    def merge(self, task: Step, parts: Sequence[Outcome | Stepped]) -> Outcome:
        """See `Work.merge`."""
        from ckptkit.compare import join_compared, join_examined

        ranges = []
        for part in parts:
            if not isinstance(part, Stepped):
                return part
            ranges.append(part)
        sides = self._sides(task)
        if sides is None:
            return None, False, None
        compared = join_compared(*sides, [found.compared for found in ranges])
        examined = [found.examined for found in ranges if found.examined is not None]
        same = compared.status == "identical"
        return _outcome(task, compared.statistics, join_examined(sides[0], examined) if same else None)

    def _sides(self, task: Step) -> tuple[Tensor, Tensor] | None:
        """The tensor now and before; None where there is nothing to compare."""
        from ckptkit.compare import Tensor

        if task.old is None or task.old.problem or task.new.problem:
            return None
        return Tensor(self.now.source, _spec(task.new)), Tensor(self.before.source, _spec(task.old))


def _outcome(task: Step, statistics: Statistics | None, examined: Examination | None) -> Outcome:
    from ckptkit.doubts import initial_value

    if statistics is None:
        return None, True, None
    if examined is not None:
        values = examined.statistics
        return 0.0, False, None if values is None else initial_value(task.new, values)
    change = statistics.change
    return (1.0 if change is None else change), True, None


def _spec(variable: Variable) -> TensorSpec:
    return TensorSpec(variable.key, variable.shape, variable.dtype)
