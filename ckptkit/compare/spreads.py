"""How the values of two checkpoints are spread, pair by pair, for pictures of both in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ckptkit.compare.outline import Outline, outline, over_one_range
from ckptkit.compare.workspace import Workspace
from ckptkit.engines import THREADS, Counter, Progress, Told, Work, silent
from ckptkit.model import Checkpoint, Variable


@dataclass(frozen=True, slots=True)
class Spread:
    """The values of a pair, counted in the same bins as they lie in their files, before any change of layout.

    Attributes:
        a: elements of a's variables in each bin.
        b: those of b's.
        minimum: the smallest finite value of all.
        maximum: the largest.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    minimum: float
    maximum: float


class Sought(NamedTuple):
    """Variables of a and of b whose spread is sought; `equal`: their values are, so that only b's are read."""

    a: Sequence[Variable]
    b: Sequence[Variable]
    equal: bool


@dataclass(frozen=True, slots=True)
class _Task:
    """A variable of one of the sides."""

    side: Literal[0, 1]
    variable: Variable


@dataclass(frozen=True)
class _OutlineWork(Work[_Task, Outline | None, Outline | None]):
    """Outlines of variables, none for strings."""

    sides: tuple[Checkpoint, Checkpoint]

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def part(self, task: _Task, bench: Workspace, told: Told) -> Outline | None:
        """See `Work.part`."""
        variable = task.variable
        return outline(self.sides[task.side].source, variable.stored, bench, told)

    def merge(self, task: _Task, parts: Sequence[Outline | None]) -> Outline | None:  # noqa: ARG002
        """See `Work.merge`."""
        return parts[0]


def spreads(
    sides: tuple[Checkpoint, Checkpoint], pairs: Sequence[Sought], progress: Progress = silent
) -> Mapping[int, Spread]:
    """Place of a pair -> how its values are spread; strings, and what has no finite element, are left out.

    Args:
        sides: a and b.
        pairs: what of them.
        progress: called while tensors are read.

    Raises:
        CkptkitError: a file cannot be read.
    """
    tasks: list[_Task] = []
    places: list[list[int]] = []
    for pair in pairs:
        read = [_Task(1, variable) for variable in pair.b]
        if not pair.equal:
            read += [_Task(0, variable) for variable in pair.a]
        places.append(list(range(len(tasks), len(tasks) + len(read))))
        tasks += read
    counter = Counter(progress, sum(task.variable.nbytes for task in tasks))
    found = THREADS.run(tasks, _OutlineWork(sides), cost=lambda task: task.variable.nbytes, progress=counter)
    known: dict[int, Spread] = {}
    for number, mine in enumerate(places):
        outlines = [(tasks[place].side, each) for place in mine if (each := found[place]) is not None]
        spread = _together(outlines, both=pairs[number].equal)
        if spread is not None:
            known[number] = spread
    return known


def _together(outlines: Sequence[tuple[Literal[0, 1], Outline]], *, both: bool) -> Spread | None:
    """One spread of what belongs to a (0) and to b (1); `both`: what is b's is a's too."""
    finite = [each for _, each in outlines if each.minimum is not None and each.maximum is not None]
    if not finite:
        return None
    counts = over_one_range([each for _, each in outlines])
    sides = [
        tuple(
            sum(each)
            for each in zip(
                *(mine for (side, _), mine in zip(outlines, counts, strict=True) if side == wanted), strict=True
            )
        )
        for wanted in (0, 1)
    ]
    return Spread(
        sides[1] if both else sides[0],
        sides[1],
        min(each.minimum for each in finite if each.minimum is not None),
        max(each.maximum for each in finite if each.maximum is not None),
    )
