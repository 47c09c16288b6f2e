"""What `ckptkit diff` does: variables are paired, then what is paired is compared."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, get_args

from ckptkit.api.opening import Counter, Progress, refuse_damaged, select, silent
from ckptkit.api.pairing import pair_variables, restrict
from ckptkit.api.reopening import open_for
from ckptkit.engines import Engine, open_engine
from ckptkit.errors import FormatError, RefusedError, UsageError
from ckptkit.matching.result import Match
from ckptkit.model import CHUNK_BYTES, By, Checkpoint, CheckpointSpec, TensorSpec

if TYPE_CHECKING:
    import os

    from ckptkit.differences import Converted, Diff


def diff(
    a: str | os.PathLike[str] | Checkpoint,
    b: str | os.PathLike[str] | Checkpoint,
    *,
    by: By = "auto",
    atol: float = 0.0,
    rtol: float = 0.0,
    filter: str | None = None,  # noqa: A002
    slots: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Diff:
    """What differs between two checkpoints of any format, also when every name changed.

    Args:
        a: a path, or an open checkpoint.
        b: the reference.
        by: how variables are paired: `auto` (equal names first, then equal contents, then scopes and order), `name`,
            `order`, `scope` or `value`.
        atol: absolute tolerance; an element is within when |a - b| <= atol + rtol * |b|.
        rtol: relative tolerance.
        filter: a glob; only variables whose name, key or layer matches on either side are looked at.
        slots: whether optimizer slots and state count in the verdict. They are compared in any case.
        engine: who reads and compares (see `ckptkit.engines.open_engine`); threads of this process for None.
        progress: called while tensors are read.

    Raises:
        CkptkitError: a file cannot be read, or its data does not match its checksums.
    """
    check_method(by)
    with ExitStack() as stack:
        workers = stack.enter_context(open_engine(engine))
        opened = [
            each if isinstance(each, Checkpoint) else stack.enter_context(open_for(workers, each)) for each in (a, b)
        ]
        return _diff(opened[0], opened[1], by, atol, rtol, filter, slots, workers, progress)


def check_method(by: str) -> None:
    """Raise `UsageError` unless `by` is a way of matching."""
    if by not in get_args(By):
        raise UsageError("no such way of pairing", key=f"--by {by}", expected=", ".join(get_args(By)))


def _diff(
    a: Checkpoint,
    b: Checkpoint,
    by: By,
    atol: float,
    rtol: float,
    glob: str | None,
    slots: bool,
    engine: Engine,
    progress: Progress,
) -> Diff:
    from ckptkit.compare import Tolerance
    from ckptkit.differences import diff_checkpoints

    refuse_damaged(a.spec)
    refuse_damaged(b.spec)
    specs = a.spec, b.spec
    if glob is not None:
        specs = _filtered(a.spec, b.spec, glob)
    counter = Counter(progress, sum(variable.nbytes for spec in specs for variable in spec.variables))
    match, known = pair_variables(a, b, specs, by, engine, counter)
    _check_readable(a, (each.name for each in match.unexpected))
    _check_readable(b, (each.name for each in match.missing))
    return diff_checkpoints(
        a,
        b,
        match,
        tolerance=Tolerance(atol, rtol),
        converted=_converted(a, specs, match),
        known=known,
        slots=slots,
        engine=engine,
        progress=counter,
    )


def _check_readable(checkpoint: Checkpoint, names: Iterable[str]) -> None:
    """Read what is on one side only and does not count in the verdict: text, counters and other state.

    A file whose data is broken there is broken, and not the same as one that is whole. An unpaired weight is a
    difference as it is, and slots are as large as weights.

    Raises:
        CkptkitError: one cannot be read, or does not match its checksum.
    """
    buffer = memoryview(bytearray(CHUNK_BYTES))
    for variable in map(checkpoint.find, names):
        if variable.kind not in {"state", "metadata"}:
            continue
        if variable.problem:
            raise FormatError(variable.problem, path=checkpoint.path, key=variable.key)
        if variable.dtype == "string":
            checkpoint.source.read_strings(variable.key)
        else:
            for _ in checkpoint.source.stream(variable.key, buffer):
                pass


def _filtered(a: CheckpointSpec, b: CheckpointSpec, glob: str) -> tuple[CheckpointSpec, CheckpointSpec]:
    """Both specs with what the glob lets through; it may let nothing through on one side, not on both."""
    chosen = []
    problems = []
    for spec in (a, b):
        try:
            chosen.append(restrict(spec, {variable.name for variable in select(spec, glob)}))
        except UsageError as error:
            problems.append(error)
            chosen.append(restrict(spec, set()))
    if len(problems) == len(chosen):
        raise problems[0]
    return chosen[0], chosen[1]


def _converted(a: Checkpoint, specs: tuple[CheckpointSpec, CheckpointSpec], match: Match) -> dict[str, Converted]:
    """A's values in b's layout, for the pairs whose conventions differ."""
    from ckptkit.differences import Converted
    from ckptkit.execute import PlannedSource
    from ckptkit.planner import make_plan
    from ckptkit.plans import Read, reads

    converted: dict[str, Converted] = {}
    for pair in match.pairs:
        if pair.forms is None:
            continue
        # A row is read with all of its variables, also where this pair holds some of them only.
        layers = [
            restrict(spec, (name for _, name in form.natives)) for spec, form in zip(specs, pair.forms, strict=True)
        ]
        try:
            plan = make_plan(Match(match.by, (pair,)), layers[0], layers[1], allow_unexpected=True)
        except RefusedError:
            continue  # other maths: they are compared as they lie, and the shapes or values tell
        source = PlannedSource(plan, a)
        for step in plan.steps if any(not isinstance(step.op, Read) for step in plan.steps) else ():
            note = "; ".join((*step.evidence[len(pair.evidence) :], *step.doubts)) or "layout converted"
            spec = TensorSpec(step.key, step.target.shape, step.target.dtype)
            converted[step.target.name] = Converted(spec, source, reads(step.op), note)
    return converted
