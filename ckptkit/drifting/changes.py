"""From one checkpoint of a run to the next: what became of each variable, wherever an engine finds out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ckptkit import dtypes
from ckptkit.engines import Told, Work
from ckptkit.model import Checkpoint, Variable

if TYPE_CHECKING:
    from ckptkit.compare import Examination, Range, RangeComparison, RangeExamination, Statistics, Tensor, Workspace


# Bits behind the point: a cast to these moves a number by half a unit in the last of them.
_MANTISSA = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7, "float8_e4m3fn": 3, "float8_e5m2": 2}


class Outcome(NamedTuple):
    """What became of a variable.

    Attributes:
        change: relative; None where there is nothing to compare.
        moved: whether any bit differs, other than by a cast to another dtype.
        initial: the initialiser that equal values seem to be of.
        uniform: whether all its elements are known to be equal, or nothing is known.
    """

    change: float | None
    moved: bool
    initial: str | None = None
    uniform: bool = True


@dataclass(frozen=True, slots=True)
class Change:
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
class ChangedRange:
    """What came of a range: the comparison, and what the values are where no bit differs."""

    compared: RangeComparison
    examined: RangeExamination | None


@dataclass(frozen=True)
class ChangeWork(Work[Change, Outcome | ChangedRange, Outcome]):
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

    def cut(self, task: Change, grain: int) -> Sequence[Change]:
        """See `Work.cut`."""
        from ckptkit.compare import cut

        sides = self._sides(task)
        if sides is None or sides[0].spec.shape != sides[1].spec.shape:
            return (task,)
        return [replace(task, part=part) for part in cut(sides, grain)] or (task,)

    def part(self, task: Change, bench: Workspace, told: Told) -> Outcome | ChangedRange:
        """See `Work.part`."""
        from ckptkit.compare import Tolerance, compare_range, compare_tensors, examine, examine_range

        sides = self._sides(task)
        if sides is None:
            return Outcome(None, False)
        if task.part is None:
            compared = compare_tensors(*sides[0], *sides[1], Tolerance(), bench, told)
            same = compared.status == "identical"
            return _outcome(task, compared.statistics, examine(*sides[0], work=bench) if same else None)
        found = compare_range(*sides, task.part, Tolerance(), bench, told)
        same = found.statistics.identical and sides[0].spec.dtype == sides[1].spec.dtype
        return ChangedRange(found, examine_range(sides[0], task.part, bench) if same else None)

    def merge(self, task: Change, parts: Sequence[Outcome | ChangedRange]) -> Outcome:
        """See `Work.merge`."""
        from ckptkit.compare import join_compared, join_examined

        ranges = []
        for part in parts:
            if not isinstance(part, ChangedRange):
                return part
            ranges.append(part)
        sides = self._sides(task)
        if sides is None:
            return Outcome(None, False)
        compared = join_compared(*sides, [found.compared for found in ranges])
        examined = [found.examined for found in ranges if found.examined is not None]
        same = compared.status == "identical"
        return _outcome(task, compared.statistics, join_examined(sides[0], examined) if same else None)

    def _sides(self, task: Change) -> tuple[Tensor, Tensor] | None:
        """The tensor now and before; None where there is nothing to compare."""
        from ckptkit.compare import Tensor

        if task.old is None or task.old.problem or task.new.problem:
            return None
        return Tensor(self.now.source, task.new.stored), Tensor(self.before.source, task.old.stored)


def _outcome(task: Change, statistics: Statistics | None, examined: Examination | None) -> Outcome:
    from ckptkit.doubts import initial_value

    if statistics is None:
        return Outcome(None, True)
    if examined is not None:
        values = examined.statistics
        if values is None:
            return Outcome(0.0, False)
        return Outcome(0.0, False, initial_value(task.new, values), values.all_equal)
    change = statistics.change
    return Outcome(1.0 if change is None else change, change is None or change > _rounding(task))


def _rounding(task: Change) -> float:
    """What a cast between the dtypes of both sides changes at most, relative; negative where there was none."""
    kinds = {task.new.dtype, task.old.dtype if task.old is not None else task.new.dtype}
    if len(kinds) < 2 or not kinds <= _MANTISSA.keys():
        return -1.0
    return float(2.0 ** -(1 + min(_MANTISSA[kind] for kind in kinds)))
