"""How the values of what a diff paired are spread: a second pass over both files, for a report with pictures."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ckptkit.api.opening import Counter, Progress, open, silent  # noqa: A004
from ckptkit.compare import Workspace
from ckptkit.compare.outline import Outline, outline, over_one_range
from ckptkit.engines import THREADS, Told, Work
from ckptkit.model import Checkpoint, TensorSpec, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.differences import Diff, PairDiff


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


@dataclass(frozen=True, slots=True)
class Outlined:
    """What a report with pictures wants to know of the two files of a diff.

    Attributes:
        spreads: place of a pair -> how its values are spread; strings, and what has no finite element, are left out.
        layers: canonical name of a variable -> its layer, "" for none, in the order of the file, of a and of b.
    """

    spreads: Mapping[int, Spread]
    layers: tuple[Mapping[str, str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Read:
    """A variable of one of the sides."""

    side: Literal[0, 1]
    variable: Variable


@dataclass(frozen=True)
class _OutlineWork(Work[_Read, Outline | None, Outline | None]):
    """Outlines of variables, none for strings."""

    sides: tuple[Checkpoint, Checkpoint]

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def part(self, task: _Read, bench: Workspace, told: Told) -> Outline | None:
        """See `Work.part`."""
        variable = task.variable
        spec = TensorSpec(variable.key, variable.shape, variable.dtype)
        return outline(self.sides[task.side].source, spec, bench, told)

    def merge(self, task: _Read, parts: Sequence[Outline | None]) -> Outline | None:  # noqa: ARG002
        """See `Work.merge`."""
        return parts[0]


def outline_diff(diff: Diff, pairs: Sequence[PairDiff], *, progress: Progress = silent) -> Outlined:
    """How the values of some pairs of a diff are spread, and where they stand; of identical pairs only b's are read.

    Args:
        diff: of two files that are still there.
        pairs: some of its pairs.
        progress: called while tensors are read.

    Raises:
        CkptkitError: a file cannot be read any more.
    """
    tasks: list[_Read] = []
    places: list[list[int]] = []
    for pair in pairs:
        read = [_Read(1, variable) for variable in pair.target]
        if pair.status != "identical":
            read += [_Read(0, variable) for variable in pair.source]
        places.append(list(range(len(tasks), len(tasks) + len(read))))
        tasks += read
    with ExitStack() as stack:
        sides = stack.enter_context(open(diff.a)), stack.enter_context(open(diff.b))
        counter = Counter(progress, sum(task.variable.nbytes for task in tasks))
        found = THREADS.run(tasks, _OutlineWork(sides), cost=lambda task: task.variable.nbytes, progress=counter)
        layers = _layers(sides[0]), _layers(sides[1])
    known: dict[int, Spread] = {}
    for number, mine in enumerate(places):
        outlines = [(tasks[place].side, each) for place in mine if (each := found[place]) is not None]
        spread = _together(outlines, both=pairs[number].status == "identical")
        if spread is not None:
            known[number] = spread
    return Outlined(known, layers)


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


def layers_of(path: str) -> Mapping[str, str]:
    """Canonical name of each variable -> name of its layer, "" for none, in the order of the file.

    Raises:
        CkptkitError: the path cannot be read.
    """
    with open(path) as checkpoint:
        return _layers(checkpoint)


def _layers(checkpoint: Checkpoint) -> dict[str, str]:
    return {variable.name: variable.layer for variable in checkpoint.spec.variables}
