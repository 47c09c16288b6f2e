"""Comparing the variables of a match: what is to be compared with what, and the outcome of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.compare import Comparison, Tolerance, Workspace, compare_tensors
from ckptkit.differences.orders import explain
from ckptkit.differences.reading import compare_variables, readable, spec_of
from ckptkit.differences.result import PairDiff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ckptkit.matching.result import Match, Pair
    from ckptkit.model import Checkpoint, TensorSource, TensorSpec, Variable


@dataclass(frozen=True, slots=True)
class Converted:
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
    converted: Converted | None = None
    note: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of both sides together."""
        return sum(variable.nbytes for variable in (*self.source, *self.target))


def plan_tasks(a: Checkpoint, b: Checkpoint, match: Match, converted: Mapping[str, Converted]) -> list[Task]:
    """What is to be compared, pair by pair, in the order of the match.

    Raises:
        FormatError: the data of a variable concerned cannot be read.
    """
    return [task for pair in match.pairs for task in _tasks_of(a, b, pair, converted)]


def _tasks_of(a: Checkpoint, b: Checkpoint, pair: Pair, converted: Mapping[str, Converted]) -> Iterator[Task]:
    sources, targets = readable(a, pair.source), readable(b, pair.target)
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


def compare_task(
    a: Checkpoint,
    b: Checkpoint,
    task: Task,
    tolerance: Tolerance,
    work: Workspace,
    progress: Callable[[int], None] | None,
) -> PairDiff:
    """The outcome of one task.

    Raises:
        CkptkitError: bytes are missing, cut short or do not match their checksum.
    """
    note = task.note
    if task.converted is not None:
        converted = task.converted
        reference = spec_of(task.target[0])
        found = compare_tensors(converted.source, converted.spec, b.source, reference, tolerance, work, progress)
    elif len(task.source) == len(task.target) == 1:
        found = compare_variables(a, task.source[0], b, task.target[0], tolerance, work, progress)
    else:
        found = Comparison("shape", None)
    if found.status in ("different", "shape") and task.evidence[:1] == ("value",):
        note, explained = explain(a, b, task.source, task.target, tolerance, work)
        found = explained or found
    return PairDiff(task.source, task.target, task.evidence, found.status, found.statistics, note)
