"""What `ckptkit diff` does: variables are paired, then what is paired is compared."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.api.open import open_for
from ckptkit.canonical import Maps
from ckptkit.engines import Counter, Engine, Progress, open_engine, silent
from ckptkit.errors import RefusedError, UsageError
from ckptkit.matching.options import check_method
from ckptkit.matching.pairing import Specs, pair_variables
from ckptkit.matching.result import Match
from ckptkit.matching.within import restrict
from ckptkit.model import By, Checkpoint, CheckpointSpec, TensorSpec
from ckptkit.model.selection import matches, refuse_unfit, select

if TYPE_CHECKING:
    import os

    from ckptkit.compare import Comparison
    from ckptkit.differences import Counterpart, Diff, FoundContents


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
        maps = Maps()
        opened = [
            each if isinstance(each, Checkpoint) else stack.enter_context(open_for(workers, each, maps))
            for each in (a, b)
        ]
        del maps  # it holds what one file told
        return _diff(opened[0], opened[1], by, atol, rtol, filter, slots, workers, progress)


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
    from ckptkit.differences import check_readable, diff_checkpoints, search_contents
    from ckptkit.planner.fusing import match_stored
    from ckptkit.planner.tying import pair_tied

    refuse_unfit(a.spec)
    refuse_unfit(b.spec)
    specs = a.spec, b.spec
    assets = None
    if glob is not None:
        assets = {asset.name for spec in specs for asset in spec.assets if matches(glob, asset)}
        specs = _filtered(*specs, glob)
    specs, unread = _without_opaque(specs)
    counter = Counter(progress, sum(variable.nbytes for spec in specs for variable in spec.variables))
    known: dict[tuple[str, str], Comparison] = {}
    converted: dict[str, Counterpart] = {}

    def matched(each: Specs, by: By) -> Match:
        found, made = match_stored(a, _read(each), by)
        converted.update(made)
        return found

    def search(rest: Specs) -> FoundContents:
        names = [[variable.name for variable in spec.variables] for spec in rest]
        contents = search_contents(a, b, *names, engine=engine, progress=counter)
        known.update(contents.proven)
        return contents

    match = pair_variables(specs, by, matched=matched, search=search)
    tolerance = Tolerance(atol, rtol)
    if by != "name":
        match, turned = pair_tied(a, b, match, tolerance)
        known.update(turned)
    check_readable(a, (each.name for each in match.unexpected))
    check_readable(b, (each.name for each in match.missing))
    found = diff_checkpoints(
        a,
        b,
        match,
        tolerance=tolerance,
        converted={**_converted(a, specs, match), **converted},
        known=known,
        slots=slots,
        assets=assets,
        engine=engine,
        progress=counter,
    )
    return replace(found, unread=unread)


def _without_opaque(specs: Specs) -> tuple[Specs, tuple[str, ...]]:
    """Both specs without what has no data to be compared, and the names of that."""
    opaque = [variable.name for spec in specs for variable in spec.variables if variable.opaque]
    if not opaque:
        return specs, ()
    kept = [restrict(spec, (each.name for each in spec.variables if not each.opaque)) for spec in specs]
    return (kept[0], kept[1]), tuple(dict.fromkeys(opaque))


def _read(specs: Specs) -> Specs:
    """Both with the graph of each side, and how its layers can be read."""
    from ckptkit.conventions import read_forms

    return read_forms(specs[0].with_flow()), read_forms(specs[1].with_flow())


def _filtered(a: CheckpointSpec, b: CheckpointSpec, glob: str) -> Specs:
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


def _converted(a: Checkpoint, specs: Specs, match: Match) -> dict[str, Counterpart]:
    """A's values in b's layout, for the pairs whose conventions differ."""
    from ckptkit.differences import Counterpart
    from ckptkit.execute import PlannedSource
    from ckptkit.planner import make_plan
    from ckptkit.plans import Read, reads

    converted: dict[str, Counterpart] = {}
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
            converted[step.target.name] = Counterpart(spec, source, reads(step.op), note)
    return converted
