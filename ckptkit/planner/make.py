"""Match and conventions -> plan: every pair becomes steps, everything else is refused or kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.conventions import by_id
from ckptkit.errors import RefusedError, UsageError
from ckptkit.model import CheckpointSpec, Form, TensorSpec, Variable
from ckptkit.planner.refusal import refuse_ambiguous, refuse_missing, refuse_unexpected
from ckptkit.planner.relayout import Relayout
from ckptkit.planner.sides import Side, side_of
from ckptkit.plans import (
    NO_SLOT,
    AddToBlock,
    Cast,
    Kept,
    Op,
    Plan,
    Read,
    Step,
    check_plan,
    infer_spec,
    is_lossless,
    operands,
    reads,
    replace_reads,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ckptkit.matching.result import Match, Pair


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one pair.

    Attributes:
        steps: for the target variables that get a value.
        unused: source variables of which the target has no part.
    """

    steps: tuple[Step, ...]
    unused: tuple[str, ...] = ()


def make_plan(
    match: Match,
    source: CheckpointSpec,
    target: CheckpointSpec,
    *,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    slots: bool = False,
    rearranged: Mapping[str, Op] | None = None,
) -> Plan:
    """The plan that gives `target` the values of `source`, proven on shapes.

    Args:
        match: of the two.
        source: where values come from.
        target: the template.
        allow_missing: weights that the source does not have keep the template's values.
        allow_unexpected: weights of the source that the target has no place for are left behind.
        slots: whether the match was asked to pair optimizer slots too.
        rearranged: target variable -> expression, where contents were found equal in another order.

    Raises:
        RefusedError: something is missing, unexpected or ambiguous, or two layers compute different maths; names
            what, with the nearest candidates and why they were turned down.
    """
    refuse_ambiguous(match.ambiguous, source, target)
    sources = {variable.name: variable for variable in source.variables}
    targets = {variable.name: variable for variable in target.variables}
    # Slots and state are moved where they can be, if asked for, and refuse nothing.
    others = {variable.name for variable in (*source.variables, *target.variables) if variable.kind != "weight"}
    missing = [item for item in match.missing if item.name not in others]
    unexpected = [item for item in match.unexpected if item.name not in others]
    if not allow_missing:
        refuse_missing(missing, unexpected, source, target)
    if not allow_unexpected:
        refuse_unexpected(unexpected, source, target)
    steps: dict[str, Step] = {}
    left_behind = [item.name for item in unexpected]
    used: set[str] = set()
    for pair in match.pairs:
        if rearranged and pair.target[0] in rearranged:
            outcome = _plan_rearranged(pair, targets, rearranged)
        else:
            outcome = _plan_pair(pair, sources, targets, allow_unexpected=allow_unexpected)
        steps.update((step.target.name, step) for step in outcome.steps)
        used.update(name for step in outcome.steps for op in (step.op, *step.copies) for name in reads(op))
        left_behind += outcome.unused
    kept = tuple(
        Kept(variable.name, variable.key, _why_kept(variable, slots=slots))
        for variable in target.variables
        if variable.name not in steps
    )
    plan = Plan(
        source=source.path,
        target=target.path,
        by=match.by,
        order_source=match.order_sources,
        steps=tuple(steps[variable.name] for variable in target.variables if variable.name in steps),
        kept=kept,
        missing=tuple(item.target for item in kept if targets[item.target].kind == "weight"),
        unexpected=tuple(name for name in dict.fromkeys(left_behind) if name not in used),
    )
    check_plan(plan, source, target)
    return plan


def _why_kept(variable: Variable, *, slots: bool) -> str:
    if variable.kind == "weight":
        return "the source has no weight for it"
    if variable.kind == "slot" and slots:
        return NO_SLOT
    return f"{variable.kind} of the template"


def _plan_pair(
    pair: Pair, sources: Mapping[str, Variable], targets: Mapping[str, Variable], *, allow_unexpected: bool
) -> _Outcome:
    if pair.forms is None:
        return _plan_alike(pair, sources, targets)
    source_form, target_form = pair.forms
    _need_same_maths(pair, source_form, target_form)
    source_row, target_row = by_id(source_form.row), by_id(target_form.row)
    if source_row.natives == target_row.natives and source_form.assumed == target_form.assumed:
        held, wanted = dict(source_form.natives), dict(target_form.natives)
        if held.keys() == wanted.keys():
            own = [(held[suffix], name) for suffix, name in wanted.items() if name in pair.target]
            return _plan_reads(pair, own, sources, targets)
    source = side_of(source_form, source_row, sources)
    target = side_of(target_form, target_row, targets)
    if not allow_unexpected:
        _need_a_place(pair, _unplaced(source, target), source)
    _need_room_for_forget_bias(pair, source, target)
    steps = []
    for name in pair.target:
        relayout = Relayout(source, target)
        op = relayout.op(name)
        doubts = [f"the source has no {role}: filled with its neutral value" for role in relayout.filled]
        doubts += [f"assumes {fact}" for fact in _assumed(source, target, op, targets[name])]
        steps.append(_step(op, targets[name], _evidence(pair, op), doubts, pair))
    used = {name for step in steps for name in reads(step.op)}
    unused = tuple(name for name in pair.source if name not in used)
    if not allow_unexpected:
        _need_a_place(pair, unused, source)
    return _Outcome(tuple(steps), unused)


def _plan_rearranged(pair: Pair, targets: Mapping[str, Variable], rearranged: Mapping[str, Op]) -> _Outcome:
    """Variables that hold the elements of the source's in another order or in other pieces."""
    evidence = (*pair.evidence, "rearranged")
    return _Outcome(tuple(_step(rearranged[name], targets[name], evidence, (), pair) for name in pair.target))


def _unplaced(source: Side, target: Side) -> tuple[str, ...]:
    """Source variables that hold only what the target's row does not know."""
    known = {role for native in target.row.natives for spelled in native.roles for role in spelled.split("+")}
    placed = {slab.variable.name for slab in source.slabs if known & set(slab.role.split("+"))}
    return tuple(dict.fromkeys(slab.variable.name for slab in source.slabs if slab.variable.name not in placed))


def _need_a_place(pair: Pair, unused: Sequence[str], source: Side) -> None:
    """Raise unless every source variable goes somewhere."""
    if unused:
        lost = f" ({source.row.lost})" if source.row.lost else ""
        raise RefusedError(
            f"{', '.join(unused)} would be lost{lost}: {', '.join(pair.target)} has no place for it",
            hint="Leave it behind with --allow-unexpected.",
        )


def _plan_alike(pair: Pair, sources: Mapping[str, Variable], targets: Mapping[str, Variable]) -> _Outcome:
    """Variables without a convention, one for one."""
    if len(pair.source) != len(pair.target):
        raise RefusedError(
            f"{len(pair.source)} variables for {len(pair.target)} and no convention that joins them",
            key=", ".join(pair.target),
            found=", ".join(pair.source),
        )
    return _plan_reads(pair, list(zip(pair.source, pair.target, strict=True)), sources, targets)


def _plan_reads(
    pair: Pair, names: Iterable[tuple[str, str]], sources: Mapping[str, Variable], targets: Mapping[str, Variable]
) -> _Outcome:
    """(source, target) variables that are taken as they lie."""
    steps = []
    for source_name, target_name in names:
        source, target = sources[source_name], targets[target_name]
        if source.shape != target.shape:
            raise RefusedError(
                f"{source_name} has another shape",
                key=target_name,
                expected=list(target.shape),
                found=list(source.shape),
            )
        steps.append(_step(Read(source.name, source.shape, source.dtype), target, pair.evidence, (), pair))
    return _Outcome(tuple(steps))


def _need_same_maths(pair: Pair, source: Form, target: Form) -> None:
    """Raise unless the options that both readings know agree."""
    ours = dict(option.split("=", 1) for option in source.options)
    theirs = dict(option.split("=", 1) for option in target.options)
    for key in ours.keys() & theirs.keys():
        if ours[key] != theirs[key]:
            raise RefusedError(
                f"different maths: the source computes {key}={ours[key]}, the target {key}={theirs[key]}",
                key=", ".join(pair.target),
                found=", ".join(pair.source),
                hint="No weights make one compute what the other does.",
            )
    if source.kind != target.kind:
        raise RefusedError(
            "layers of different kinds", key=", ".join(pair.target), expected=target.kind, found=source.kind
        )


def _need_room_for_forget_bias(pair: Pair, source: Side, target: Side) -> None:
    """Raise where the frameworks add different forget biases and the target has no variable to settle it in."""
    added = Relayout(source, target).added("bias", "f")
    if added and not target.holders("bias", "f"):
        raise RefusedError(
            f"the source adds {added:+g} to the forget gate when it runs and the target has no bias to hold it",
            key=", ".join(pair.target),
        )


def _assumed(source: Side, target: Side, op: Op, variable: Variable) -> Iterator[str]:
    """What the two readings take for granted and `op` rests on: a forget bias, or how a kernel lies."""
    settled = source.forget_bias != target.forget_bias and _adds(op)
    lies = source.row is not target.row and len(variable.shape) > 1
    for fact in dict.fromkeys((*source.form.assumed, *target.form.assumed)):
        if settled if fact.startswith("forget_bias=") else lies:
            yield fact


def _evidence(pair: Pair, op: Op) -> tuple[str, ...]:
    """What the pair rests on, and by which rows it is converted where it is."""
    if isinstance(op, Read) or pair.forms is None or pair.forms[0].row == pair.forms[1].row:
        return pair.evidence
    return (*pair.evidence, f"{pair.forms[0].row} → {pair.forms[1].row}")


def _adds(op: Op) -> bool:
    return isinstance(op, AddToBlock) or any(_adds(part) for part in operands(op))


def _step(op: Op, target: Variable, evidence: Sequence[str], doubts: Iterable[str], pair: Pair) -> Step:
    """The step for `target`, cast to its dtype, with the same expression over every copy."""
    found = _infer(op, target)
    notes = list(doubts)
    if found.dtype != target.dtype:
        op = Cast(op, target.dtype)
        if not is_lossless(found.dtype, target.dtype):
            notes.append(f"cast from {found.dtype} to {target.dtype}, which rounds")
    if pair.copies and not set(reads(op)) <= set(pair.source):
        raise RefusedError(f"no way to check that {len(pair.copies) + 1} sources of it are equal", key=target.name)
    copies = tuple(replace_reads(op, dict(zip(pair.source, copy, strict=True))) for copy in pair.copies)
    spec = TensorSpec(target.name, target.shape, target.dtype)
    return Step(spec, target.key, op, tuple(evidence), tuple(notes), tuple(dict.fromkeys(copies)))


def _infer(op: Op, target: Variable) -> TensorSpec:
    try:
        return replace(infer_spec(op), name=target.name)
    except UsageError as error:
        raise RefusedError(f"{error.key}: {error.problem}", key=target.name) from error
