"""Comparing the variables of a match: what is to be compared with what, and the outcome of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

from ckptkit.compare import (
    Comparison,
    Range,
    RangeComparison,
    Tensor,
    Tolerance,
    Workspace,
    compare_many,
    compare_range,
    compare_tensors,
    cut,
    join_compared,
)
from ckptkit.differences.orders import explain
from ckptkit.differences.reading import readable
from ckptkit.differences.result import PairDiff
from ckptkit.differences.work import cost_of, tensor_of
from ckptkit.engines import Told, Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.matching.result import Match, Pair
    from ckptkit.model import Checkpoint, TensorSource, TensorSpec, Variable


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What a target variable is to be compared with where the layouts of the two sides differ.

    Attributes:
        spec: its key in `source`, its shape and its dtype, those of the target variable as a rule.
        source: gives the values of a in b's layout.
        names: canonical names of a's variables that it is made of.
        note: what was done to them, in words.
    """

    spec: TensorSpec
    source: TensorSource
    names: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Task:
    """One entry of the outcome, before anything is read."""

    source: tuple[Variable, ...]
    target: tuple[Variable, ...]
    evidence: tuple[str, ...]
    converted: Counterpart | None = None
    note: str | None = None
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of both sides together."""
        return cost_of(self.part, *self.source, *self.target)


def plan_tasks(a: Checkpoint, b: Checkpoint, match: Match, converted: Mapping[str, Counterpart]) -> list[Task]:
    """What is to be compared, pair by pair, in the order of the match.

    Raises:
        FormatError: the data of a variable concerned cannot be read.
    """
    return [task for pair in match.pairs for task in _tasks_of(a, b, pair, converted)]


def _tasks_of(a: Checkpoint, b: Checkpoint, pair: Pair, converted: Mapping[str, Counterpart]) -> Iterator[Task]:
    sources, targets = readable(a, pair.source), readable(b, pair.target)
    if len(sources) == len(targets) == 1 and not pair.copies and targets[0].name not in converted:
        yield Task((sources[0],), (targets[0],), pair.evidence)
        return
    used: set[str] = set()
    for variable in targets:
        if variable.name in converted:
            conversion = converted[variable.name]
            made_of = tuple(readable(a, conversion.names))
            used.update(conversion.names)
            yield Task(made_of, (variable,), pair.evidence, conversion, conversion.note)
    left_a = [variable for variable in sources if variable.name not in used]
    left_b = [variable for variable in targets if variable.name not in converted]
    for source, target in _as_they_lie(left_a, left_b, by_content=pair.evidence[:1] == ("value",)):
        yield Task(source, target, pair.evidence)
    for number, copy in enumerate(pair.copies, start=2):
        if len(copy) == len(targets):
            for one, other in zip(readable(a, copy), targets, strict=True):
                yield Task((one,), (other,), pair.evidence, note=f"copy {number} of the same weights in a")


def _as_they_lie(
    sources: list[Variable], targets: list[Variable], *, by_content: bool
) -> Iterator[tuple[tuple[Variable, ...], tuple[Variable, ...]]]:
    """Which of the variables of one pair stand against each other where nothing has to be converted."""
    if not targets:
        return
    roles_a, roles_b = ({variable.role: variable for variable in side} for side in (sources, targets))
    if by_content or len(sources) != len(targets):
        yield tuple(sources), tuple(targets)
    elif roles_a.keys() == roles_b.keys() and len(roles_a) == len(sources) == len(targets):
        yield from (((roles_a[variable.role],), (variable,)) for variable in targets)
    else:
        yield from (((one,), (other,)) for one, other in zip(sources, targets, strict=True))


@dataclass(frozen=True)
class PairWork(Work[Task, PairDiff | RangeComparison, PairDiff]):
    """Comparing what a match pairs.

    Attributes:
        a: one checkpoint.
        b: the reference.
        tolerance: what counts as equal enough.
        by_value: whether a rearrangement counts as equal, since how one side was made of the other is what was asked.
    """

    a: Checkpoint
    b: Checkpoint
    tolerance: Tolerance
    by_value: bool = False

    small: ClassVar[int] = 2048

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def cut(self, task: Task, grain: int) -> Sequence[Task]:
        """See `Work.cut`; what may have to be explained by its contents is compared in one go."""
        sides = sides_of(self.a, self.b, task)
        if sides is None or sides[0].spec.shape != sides[1].spec.shape or self.by_value:
            return (task,)
        return [replace(task, part=part) for part in cut(sides, grain)] or (task,)

    def part(self, task: Task, bench: Workspace, told: Told) -> PairDiff | RangeComparison:
        """See `Work.part`."""
        sides = sides_of(self.a, self.b, task)
        if sides is not None and task.part is not None:
            return compare_range(*sides, task.part, self.tolerance, bench, told)
        note = task.note
        found = Comparison("shape", None)
        if sides is not None:
            found = compare_tensors(*sides[0], *sides[1], self.tolerance, bench, told)
        if found.status in ("different", "shape") and self.by_value:
            note, explained = explain(*parts_of(self.a, self.b, task), self.tolerance, bench)
            found = explained or found
        return _outcome(task, found, note)

    def many(self, tasks: Sequence[Task], bench: Workspace, told: Told) -> list[PairDiff | RangeComparison]:
        """See `Work.many`."""
        alone = [task.part is not None or self.by_value for task in tasks]
        sides = [None if apart else sides_of(self.a, self.b, task) for task, apart in zip(tasks, alone, strict=True)]
        compared = iter(compare_many([each for each in sides if each is not None], self.tolerance, bench, told))
        return [
            self.part(task, bench, told) if each is None else _outcome(task, next(compared), task.note)
            for task, each in zip(tasks, sides, strict=True)
        ]

    def merge(self, task: Task, parts: Sequence[PairDiff | RangeComparison]) -> PairDiff:
        """See `Work.merge`."""
        whole = parts[0]
        if isinstance(whole, PairDiff):
            return whole
        one, other = cast("tuple[Tensor, Tensor]", sides_of(self.a, self.b, task))  # nothing else is cut
        ranges = [part for part in parts if isinstance(part, RangeComparison)]
        return _outcome(task, join_compared(one, other, ranges), task.note)


def sides_of(a: Checkpoint, b: Checkpoint, task: Task) -> tuple[Tensor, Tensor] | None:
    """The two tensors that are compared; None where several variables stand against each other."""
    if task.converted is not None:
        return Tensor(task.converted.source, task.converted.spec), tensor_of(b, task.target[0])
    if len(task.source) == len(task.target) == 1:
        return tensor_of(a, task.source[0]), tensor_of(b, task.target[0])
    return None


def parts_of(a: Checkpoint, b: Checkpoint, task: Task) -> tuple[list[Tensor], list[Tensor]]:
    """All tensors of a's side and of b's, a's in b's layout where the conventions of the two demand another."""
    sides = sides_of(a, b, task)
    if sides is not None:
        return [sides[0]], [sides[1]]
    return [tensor_of(a, each) for each in task.source], [tensor_of(b, each) for each in task.target]


def _outcome(task: Task, found: Comparison, note: str | None) -> PairDiff:
    return PairDiff(task.source, task.target, task.evidence, found.status, found.statistics, note)
