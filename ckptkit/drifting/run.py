"""Walking a run: two neighbouring checkpoints are open at a time and every tensor is streamed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.api.reopening import open_for
from ckptkit.drifting.result import Drift, VariableDrift
from ckptkit.drifting.series import find_series
from ckptkit.drifting.steps import Step, StepWork
from ckptkit.engines import Engine, open_engine
from ckptkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ckptkit.model import Checkpoint, Variable


def drift(
    paths: Sequence[str],
    *,
    engine: str | Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Drift:
    """How much each variable changes from one checkpoint of a run to the next.

    Args:
        paths: checkpoints, or one folder that holds them; numbered names are put in the order of their numbers.
        engine: who reads and compares (see `ckptkit.engines.open_engine`); threads of this process for None.
        progress: called with (bytes done, bytes in all, taking each checkpoint to be as large as the first).

    Raises:
        UsageError: fewer than two checkpoints.
        CkptkitError: one of them cannot be read.
    """
    series = find_series(paths)
    if len(series.paths) < 2:
        raise UsageError(
            "drift compares checkpoints of one run",
            path=paths[0] if paths else None,
            expected="two or more",
            found=len(series.paths),
        )
    tracks: dict[str, _Track] = {}
    done = total = 0
    with open_engine(engine) as workers, ExitStack() as held:
        before: Checkpoint | None = None
        for index, path in enumerate(series.paths):
            with ExitStack() as opened:
                now = opened.enter_context(open_for(workers, path))
                _follow(tracks, before, now, index, workers)
                held.close()
                held.push(opened.pop_all())
            before = now
            if progress is not None:
                done += sum(variable.nbytes for variable in now.spec.variables)
                total = max(done, total or done * len(series.paths))
                progress(done, total)
    found = tuple(track.result(len(series.paths)) for track in tracks.values())
    return Drift(series.paths, series.labels, found, series.notes)


@dataclass(slots=True)
class _Track:
    """A variable while the run is walked."""

    variable: Variable
    present: list[bool]
    changes: list[float | None]
    moved: bool = False
    initial: str | None = None
    problem: str | None = None

    def result(self, count: int) -> VariableDrift:
        variable = self.variable
        missing = count - len(self.present)
        constant = variable.kind != "weight" or not _is_float(variable.dtype) or variable.trainable is False
        return VariableDrift(
            name=variable.name,
            kind=variable.kind,
            shape=variable.shape,
            dtype=variable.dtype,
            present=(*self.present, *(False,) * missing),
            changes=(*self.changes, *(None,) * missing),
            verdict="moving" if self.moved else "frozen",
            constant=constant,
            initial=None if self.moved else self.initial,
            problem=self.problem,
        )


def _is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex"))


def _follow(tracks: dict[str, _Track], before: Checkpoint | None, now: Checkpoint, index: int, engine: Engine) -> None:
    """Add checkpoint number `index` to the tracks."""
    looked_at = [variable for variable in now.spec.variables if variable.kind in ("weight", "state")]
    earlier = {} if before is None else {variable.name: variable for variable in before.spec.variables}
    for variable in looked_at:
        track = tracks.get(variable.name)
        if track is None:
            track = tracks[variable.name] = _Track(variable, [False] * index, [None] * max(index - 1, 0))
        missing = index - len(track.present)
        track.present += [False] * missing
        track.changes += [None] * (index - 1 - len(track.changes))
        track.variable = variable
        track.present.append(variable.problem is None)
        track.problem = track.problem or variable.problem
    if before is None:
        return
    steps = [Step(variable, earlier.get(variable.name)) for variable in looked_at]
    results = engine.run(steps, StepWork(before, now), cost=lambda step: step.nbytes)
    for step, (change, moved, initial) in zip(steps, results, strict=True):
        track = tracks[step.new.name]
        track.changes.append(change)
        track.moved = track.moved or moved
        track.initial = initial
