"""What `ckptkit diff` does: pairing on all evidence, the cheapest first, then comparing what is paired."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from ckptkit.api.opening import Progress, open, refuse_damaged, select, silent  # noqa: A004
from ckptkit.errors import FormatError, RefusedError, UsageError
from ckptkit.matching.result import Match, Pair, Unmatched
from ckptkit.model import CHUNK_BYTES, By, Checkpoint, CheckpointSpec, TensorSpec

if TYPE_CHECKING:
    import os

    from ckptkit.compare import Comparison
    from ckptkit.differences import Contents, Converted, Diff


def diff(
    a: str | os.PathLike[str] | Checkpoint,
    b: str | os.PathLike[str] | Checkpoint,
    *,
    by: By = "auto",
    atol: float = 0.0,
    rtol: float = 0.0,
    filter: str | None = None,  # noqa: A002
    slots: bool = False,
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
        progress: called while tensors are read.

    Raises:
        CkptkitError: a file cannot be read, or its data does not match its checksums.
    """
    check_method(by)
    if isinstance(a, Checkpoint) and isinstance(b, Checkpoint):
        return _diff(a, b, by, atol, rtol, filter, slots, progress)
    if isinstance(a, Checkpoint):
        with open(b) as opened:  # type: ignore[arg-type]  # not a Checkpoint: see above
            return _diff(a, opened, by, atol, rtol, filter, slots, progress)
    with open(a) as opened:
        return diff(opened, b, by=by, atol=atol, rtol=rtol, filter=filter, slots=slots, progress=progress)


def check_method(by: str) -> None:
    """Raise `UsageError` unless `by` is a way of matching."""
    if by not in get_args(By):
        raise UsageError("no such way of pairing", key=f"--by {by}", expected=", ".join(get_args(By)))


def _diff(
    a: Checkpoint, b: Checkpoint, by: By, atol: float, rtol: float, glob: str | None, slots: bool, progress: Progress
) -> Diff:
    from ckptkit.compare import Tolerance
    from ckptkit.differences import diff_checkpoints

    refuse_damaged(a.spec)
    refuse_damaged(b.spec)
    specs = a.spec, b.spec
    if glob is not None:
        specs = _filtered(a.spec, b.spec, glob)
    counter = _Counter(progress, sum(variable.nbytes for spec in specs for variable in spec.variables))
    match, known = _match(a, b, specs, by, counter)
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


class _Counter:
    """Adds up bytes reported from several threads, and passes the sum on."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, nbytes: int) -> None:
        with self._lock:
            self._done += nbytes
            self._progress(min(self._done, self._total), self._total)


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


def restrict(spec: CheckpointSpec, names: Iterable[str]) -> CheckpointSpec:
    """`spec` with only the variables called `names`, and the layers that still have some."""
    kept = set(names)
    layers = (replace(layer, variables=tuple(n for n in layer.variables if n in kept)) for layer in spec.layers)
    return replace(
        spec,
        layers=tuple(layer for layer in layers if layer.variables),
        variables=tuple(variable for variable in spec.variables if variable.name in kept),
    )


Known = Mapping[tuple[str, str], "Comparison"]


def _match(
    a: Checkpoint, b: Checkpoint, specs: tuple[CheckpointSpec, CheckpointSpec], by: By, counter: _Counter
) -> tuple[Match, Known]:
    from ckptkit import matching
    from ckptkit.conventions import read_forms

    if by == "value":
        return _match_by_value(a, b, specs, counter)
    if by != "auto":
        return _joined(by, [matching.match(read_forms(specs[0]), read_forms(specs[1]), by=by, slots=True)]), {}
    named = _same_name_and_shape(specs)
    rest = _rest(specs, named)
    if not all(spec.variables for spec in rest):
        return _joined("auto", [named, matching.match(*rest, by="auto", slots=True)]), {}
    contents = _contents(a, b, rest, counter)
    valued = _one_to_one(_by_value(rest, contents))
    rest = _rest(rest, valued)
    found = matching.match(read_forms(rest[0]), read_forms(rest[1]), by="auto", slots=True)
    rest = _unpaired(rest, found)
    joined = _pairs_only(_by_value(rest, contents))
    same_name = _same_name(_rest(rest, joined))
    found = _without(_without(found, joined), same_name)
    return _joined("auto", [named, valued, found, joined, same_name]), contents.proven


def _same_name_and_shape(specs: tuple[CheckpointSpec, CheckpointSpec]) -> Match:
    theirs = {variable.name: variable for variable in specs[1].variables}
    pairs = tuple(
        Pair((variable.name,), (variable.name,), ("name",))
        for variable in specs[0].variables
        if variable.name in theirs and theirs[variable.name].shape == variable.shape
    )
    return Match("auto", pairs)


def _same_name(specs: tuple[CheckpointSpec, CheckpointSpec]) -> Match:
    """Equal names among what nothing else could pair: their shapes differ, which a person wants to see as such."""
    theirs = {variable.name for variable in specs[1].variables}
    return Match(
        "auto",
        tuple(Pair((v.name,), (v.name,), ("name",)) for v in specs[0].variables if v.name in theirs),
    )


def _pairs_only(match: Match) -> Match:
    """The pairs of `match`; what it leaves is for the next stage to say."""
    return Match(match.by, match.pairs)


def _one_to_one(match: Match) -> Match:
    """Its pairs of single variables.

    That several together hold the elements of others says less than conventions do, which also know in which order.
    """
    return Match(match.by, tuple(pair for pair in match.pairs if len(pair.source) == len(pair.target) == 1))


def _unpaired(specs: tuple[CheckpointSpec, ...], match: Match) -> tuple[CheckpointSpec, CheckpointSpec]:
    """What `match` says only one side has."""
    return (
        restrict(specs[0], (each.name for each in match.unexpected)),
        restrict(specs[1], (each.name for each in match.missing)),
    )


def _without(match: Match, other: Match) -> Match:
    """`match` without the leftovers that `other` pairs."""
    sources = {name for pair in other.pairs for name in pair.source}
    targets = {name for pair in other.pairs for name in pair.target}
    return replace(
        match,
        missing=tuple(each for each in match.missing if each.name not in targets),
        unexpected=tuple(each for each in match.unexpected if each.name not in sources),
    )


def _rest(specs: tuple[CheckpointSpec, CheckpointSpec], match: Match) -> tuple[CheckpointSpec, CheckpointSpec]:
    """What `match` has not paired."""
    sources = {name for pair in match.pairs for name in pair.source}
    targets = {name for pair in match.pairs for name in pair.target}
    return (
        restrict(specs[0], (v.name for v in specs[0].variables if v.name not in sources)),
        restrict(specs[1], (v.name for v in specs[1].variables if v.name not in targets)),
    )


def _joined(by: By, matches: Iterable[Match]) -> Match:
    """One match of several stages; what has a neutral value for its partner (a scale of one) is on one side only."""
    stages = list(matches)
    pairs = [pair for stage in stages for pair in stage.pairs]
    return Match(
        by,
        tuple(pair for pair in pairs if pair.source and pair.target),
        (
            *(each for stage in stages for each in stage.missing),
            *(Unmatched(name) for pair in pairs if not pair.source for name in pair.target),
        ),
        (
            *(each for stage in stages for each in stage.unexpected),
            *(Unmatched(name) for pair in pairs if not pair.target for name in pair.source),
        ),
        tuple(each for stage in stages for each in stage.ambiguous),
        next((stage.order_sources for stage in stages if stage.order_sources), None),
    )


def _match_by_value(
    a: Checkpoint, b: Checkpoint, specs: tuple[CheckpointSpec, CheckpointSpec], counter: _Counter
) -> tuple[Match, Known]:
    contents = _contents(a, b, specs, counter)
    return _by_value(specs, contents), contents.proven


def _contents(
    a: Checkpoint, b: Checkpoint, specs: tuple[CheckpointSpec, CheckpointSpec], counter: _Counter
) -> Contents:
    from ckptkit.differences import search_contents

    names = [[variable.name for variable in spec.variables] for spec in specs]
    return search_contents(a, b, names[0], names[1], progress=counter)


def _by_value(specs: tuple[CheckpointSpec, CheckpointSpec], contents: Contents) -> Match:
    """Match `specs`, which may be less than what `contents` knows of."""
    from ckptkit.matching.value import match_by_value

    names = [{variable.name for variable in spec.variables} for spec in specs]
    prints = [
        {name: found for name, found in known.items() if name in wanted}
        for known, wanted in zip((contents.prints_a, contents.prints_b), names, strict=True)
    ]
    proven = [pair for pair in contents.proven if pair[0] in names[0] and pair[1] in names[1]]
    return match_by_value(specs[0], specs[1], prints[0], prints[1], proven=proven)


def match_contents(a: Checkpoint, b: Checkpoint, *, slots: bool) -> Match:
    """Match by value alone; both files are read once."""
    specs = [
        spec if slots else restrict(spec, (v.name for v in spec.variables if v.kind == "weight"))
        for spec in (a.spec, b.spec)
    ]
    return _match_by_value(a, b, (specs[0], specs[1]), _Counter(silent, 0))[0]


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
