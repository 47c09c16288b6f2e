"""Walking a run: two neighbouring checkpoints are open at a time and every tensor is streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.drifting.changes import Change, ChangeWork
from ckptkit.drifting.result import VariableDrift, Verdict
from ckptkit.engines import Engine

if TYPE_CHECKING:
    from ckptkit.model import Checkpoint, Variable


@dataclass(slots=True)
class Track:
    """A variable while the run is walked."""

    variable: Variable
    present: list[bool]
    changes: list[float | None]
    moved: bool = False
    compared: bool = False
    uniform: bool = True
    initial: str | None = None
    problem: str | None = None

    def result(self, count: int) -> VariableDrift:
        """What became of it over `count` checkpoints."""
        variable = self.variable
        missing = count - len(self.present)
        fixed = (variable.kind != "weight" or variable.doubtful) and self.uniform
        constant = fixed or not _is_float(variable.dtype) or variable.trainable is False
        still: Verdict = "frozen" if self.compared or self.problem is None else "unreadable"
        return VariableDrift(
            name=variable.name,
            kind=variable.kind,
            shape=variable.shape,
            dtype=variable.dtype,
            present=(*self.present, *(False,) * missing),
            changes=(*self.changes, *(None,) * missing),
            verdict="moving" if self.moved else still,
            constant=constant,
            initial=None if self.moved else self.initial,
            problem=self.problem,
        )


def _is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex"))


def follow(tracks: dict[str, Track], before: Checkpoint | None, now: Checkpoint, index: int, engine: Engine) -> None:
    """Add checkpoint number `index` to the tracks."""
    looked_at = [variable for variable in now.spec.variables if variable.kind in ("weight", "state")]
    earlier = {} if before is None else {variable.name: variable for variable in before.spec.variables}
    for variable in looked_at:
        track = tracks.get(variable.name)
        if track is None:
            track = tracks[variable.name] = Track(variable, [False] * index, [None] * max(index - 1, 0))
        missing = index - len(track.present)
        track.present += [False] * missing
        track.changes += [None] * (index - 1 - len(track.changes))
        track.variable = variable
        track.present.append(variable.problem is None)
        track.problem = track.problem or variable.problem
    if before is None:
        return
    steps = [Change(variable, earlier.get(variable.name)) for variable in looked_at]
    results = engine.run(steps, ChangeWork(before, now), cost=lambda step: step.nbytes)
    for step, outcome in zip(steps, results, strict=True):
        track = tracks[step.new.name]
        track.changes.append(outcome.change)
        track.moved = track.moved or outcome.moved
        track.compared = track.compared or outcome.change is not None
        track.uniform = track.uniform and outcome.uniform
        track.initial = outcome.initial
