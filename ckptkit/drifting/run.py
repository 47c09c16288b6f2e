"""Walking a run: two neighbouring checkpoints are open at a time and every tensor is streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.drifting.result import Drift, VariableDrift
from ckptkit.drifting.series import find_series
from ckptkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ckptkit.compare import Workspace
    from ckptkit.model import Checkpoint, TensorSpec, Variable


def drift(paths: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> Drift:
    """How much each variable changes from one checkpoint of a run to the next.

    Args:
        paths: checkpoints, or one folder that holds them; numbered names are put in the order of their numbers.
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
    before: Checkpoint | None = None
    done = total = 0
    try:
        for index, path in enumerate(series.paths):
            now = _open(path)
            try:
                _follow(tracks, before, now, index)
            finally:
                if before is not None:
                    before.close()
                before = now
            if progress is not None:
                done += sum(variable.nbytes for variable in now.spec.variables)
                total = max(done, total or done * len(series.paths))
                progress(done, total)
    finally:
        if before is not None:
            before.close()
    found = tuple(track.result(len(series.paths)) for track in tracks.values())
    return Drift(series.paths, series.labels, found, series.notes)


def _open(path: str) -> Checkpoint:
    from ckptkit import canonical, formats
    from ckptkit.model import Checkpoint

    contents, source = formats.open_contents(path)
    try:
        return Checkpoint(canonical.build(contents, path), source)
    except BaseException:
        source.close()
        raise


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


def _follow(tracks: dict[str, _Track], before: Checkpoint | None, now: Checkpoint, index: int) -> None:
    """Add checkpoint number `index` to the tracks."""
    from ckptkit.compare import run_tasks

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
    pairs = [(variable, earlier.get(variable.name)) for variable in looked_at]

    def step(pair: tuple[Variable, Variable | None], work: Workspace) -> tuple[float | None, bool, str | None]:
        return _step(before, pair[1], now, pair[0], work)

    results = run_tasks(pairs, step, cost=lambda pair: pair[0].nbytes)
    for (variable, _), (change, moved, initial) in zip(pairs, results, strict=True):
        track = tracks[variable.name]
        if index:
            track.changes.append(change)
        track.moved = track.moved or moved
        track.initial = initial


def _step(
    before: Checkpoint | None, old: Variable | None, now: Checkpoint, new: Variable, work: Workspace
) -> tuple[float | None, bool, str | None]:
    """(relative change, whether any bit differs, initialiser that equal values seem to be of)."""
    from ckptkit.compare import Tolerance, compare_tensors, examine
    from ckptkit.doubts import initial_value

    if before is None or old is None or old.problem or new.problem:
        return None, False, None
    compared = compare_tensors(now.source, _spec(new), before.source, _spec(old), Tolerance(), work)
    statistics = compared.statistics
    if statistics is None:
        return None, True, None
    if statistics.identical and compared.status == "identical":
        found = examine(now.source, _spec(new), work=work).statistics
        return 0.0, False, None if found is None else initial_value(new, found)
    change = statistics.change
    return (1.0 if change is None else change), True, None


def _spec(variable: Variable) -> TensorSpec:
    from ckptkit.model import TensorSpec

    return TensorSpec(variable.key, variable.shape, variable.dtype)
