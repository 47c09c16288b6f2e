"""One pair -> steps: what each variable of a target layer is made of, and what has no place there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.conventions import LORA_SCALE, by_id
from ckptkit.errors import RefusedError, UsageError
from ckptkit.model import Form, TensorSpec, Variable
from ckptkit.planner.flatten import Flattening
from ckptkit.planner.relayout import Relayout
from ckptkit.planner.sides import LayerSide, side_of
from ckptkit.plans import (
    AddLowRank,
    AddToBlock,
    Cast,
    Fill,
    Op,
    Read,
    Reshape,
    Step,
    infer_spec,
    is_lossless,
    operands,
    reads,
    replace_reads,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ckptkit.matching.result import Pair


# Why the first factor of an adapter keeps the template's value while the second is zero.
IDLE = "an adapter that adds nothing"


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """What became of one pair.

    Attributes:
        steps: for the target variables that get a value.
        unused: source variables of which the target has no part.
        idle: target variables whose value does not matter to what the layer computes, and which keep the template's.
    """

    steps: tuple[Step, ...]
    unused: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def plan_pair(
    pair: Pair,
    sources: Mapping[str, Variable],
    targets: Mapping[str, Variable],
    flattening: Flattening,
    *,
    allow_unexpected: bool,
) -> PlannedPair:
    """The steps of one pair.

    Args:
        pair: of a match.
        sources: canonical name -> variable, of the source.
        targets: likewise, of the target.
        flattening: what is known of layers before or behind a flattened image.
        allow_unexpected: whether parts of the source's layer may stay behind.

    Raises:
        RefusedError: the two compute something else, or a part of the source has no place in the target.
    """
    if pair.forms is None:
        return _plan_alike(pair, sources, targets)
    source_form, target_form = pair.forms
    _need_same_maths(pair, source_form, target_form)
    reordered = flattening.applied(
        pair,
        (by_id(source_form.row), by_id(target_form.row)),
        (source_form, target_form),
        # A pair may lack a side's variables, where one is made of what another pair has; a reading never does.
        (sources[source_form.natives[0][1]], targets[target_form.natives[0][1]]),
    )
    (source_row, target_row), (source_form, target_form) = reordered.rows, reordered.forms
    alike = source_row.natives == target_row.natives and source_form.assumed == target_form.assumed
    if alike and not source_row.adapters:
        held, wanted = dict(source_form.natives), dict(target_form.natives)
        if held.keys() == wanted.keys():
            own = [(held[suffix], name) for suffix, name in wanted.items() if name in pair.target]
            return _plan_reads(pair, own, sources, targets)
    source = side_of(source_form, source_row, sources)
    target = side_of(target_form, target_row, targets)
    gates = _unplaced_gates(source, target)
    if not allow_unexpected:
        _need_a_place(pair, _unplaced(source, target) or gates, source)
    _need_room_for_forget_bias(pair, source, target)
    steps: list[Step] = []
    # The first factor keeps the template's values, as in a new adapter, and the product is zero with the second.
    first, second = ({pair[place].name for pair in target.adapters.values()} for place in (0, 1))
    for name in pair.target:
        if name in first:
            continue
        if name in second:
            nothing = Fill(0.0, targets[name].shape, targets[name].dtype)
            steps.append(_step(nothing, targets[name], pair.evidence, (f"{IDLE}: its second factor is zero",), pair))
            continue
        relayout = Relayout(source, target)
        op = relayout.op(name)
        doubts = [f"the source has no {role}: filled with its neutral value" for role in relayout.filled]
        doubts += [f"the source has one table for both ways: {fact}" for fact in relayout.tied]
        doubts += [f"the adapter of {merged} is merged into it" for merged in relayout.merged]
        doubts += reordered.says if _reshapes(op) else ()
        doubts += [f"{gate} is left behind" for gate in gates]
        doubts += [f"assumes {fact}" for fact in _assumed(source, target, op, targets[name])]
        steps.append(_step(op, targets[name], _evidence(pair, op), doubts, pair))
    used = {name for step in steps for name in reads(step.op)}
    unused = tuple(name for name in pair.source if name not in used)
    if not allow_unexpected:
        _need_a_place(pair, unused, source)
    return PlannedPair(tuple(steps), unused, tuple(name for name in pair.target if name in first))


def plan_rearranged(pair: Pair, targets: Mapping[str, Variable], rearranged: Mapping[str, Op]) -> PlannedPair:
    """Variables that hold the elements of the source's in another order or in other pieces."""
    evidence = (*pair.evidence, "rearranged")
    return PlannedPair(tuple(_step(rearranged[name], targets[name], evidence, (), pair) for name in pair.target))


def _unplaced(source: LayerSide, target: LayerSide) -> tuple[str, ...]:
    """Source variables that hold only what the target's row does not know."""
    known = {role for native in target.row.natives for spelled in native.roles for role in spelled.split("+")}
    placed = {slab.variable.name for slab in source.slabs if known & set(slab.role.split("+"))}
    return tuple(dict.fromkeys(slab.variable.name for slab in source.slabs if slab.variable.name not in placed))


def _unplaced_gates(source: LayerSide, target: LayerSide) -> tuple[str, ...]:
    """Gates of the source's parts that the target's row has no place for, although it has one for the part's others.

    Flax's GRUs add the recurrent bias of a new state only, or none at all.
    """
    known: dict[str, set[str]] = {}
    for role, letter in target.row_gates():
        known.setdefault(role, set()).add(letter)
    return tuple(
        f"the {role.replace('_', ' ')} of gate {gate.letter} in {slab.variable.name}"
        for slab in source.slabs
        for role in [slab.role.partition("+")[0]]
        for gate in slab.gates
        if role in known and gate.letter not in known[role]
    )


def _need_a_place(pair: Pair, unused: Sequence[str], source: LayerSide) -> None:
    """Raise unless every source variable goes somewhere."""
    if unused:
        lost = f" ({source.row.lost})" if source.row.lost else ""
        raise RefusedError(
            f"{', '.join(unused)} would be lost{lost}: {', '.join(pair.target)} has no place for it",
            hint="Leave it behind with --allow-unexpected.",
        )


def _plan_alike(pair: Pair, sources: Mapping[str, Variable], targets: Mapping[str, Variable]) -> PlannedPair:
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
) -> PlannedPair:
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
    return PlannedPair(tuple(steps))


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


def _need_room_for_forget_bias(pair: Pair, source: LayerSide, target: LayerSide) -> None:
    """Raise where the frameworks add different forget biases and the target has no variable to settle it in."""
    added = Relayout(source, target).added("bias", "f")
    if added and not target.holders("bias", "f"):
        raise RefusedError(
            f"the source adds {added:+g} to the forget gate when it runs and the target has no bias to hold it",
            key=", ".join(pair.target),
        )


def _assumed(source: LayerSide, target: LayerSide, op: Op, variable: Variable) -> Iterator[str]:
    """What the two readings take for granted and `op` rests on: a forget bias, or how a kernel lies."""
    settled = source.forget_bias != target.forget_bias and _adds(op)
    lies = source.row is not target.row and len(variable.shape) > 1
    for fact in dict.fromkeys((*source.form.assumed, *target.form.assumed)):
        if fact.startswith(f"{LORA_SCALE}="):
            if fact in source.form.assumed and _merges(op):
                yield fact
        elif settled if fact.startswith("forget_bias=") else lies:
            yield fact


def _evidence(pair: Pair, op: Op) -> tuple[str, ...]:
    """What the pair rests on, and by which rows it is converted where it is."""
    if isinstance(op, Read) or pair.forms is None or pair.forms[0].row == pair.forms[1].row:
        return pair.evidence
    return (*pair.evidence, f"{pair.forms[0].row} → {pair.forms[1].row}")


def _reshapes(op: Op) -> bool:
    return isinstance(op, Reshape) or any(_reshapes(part) for part in operands(op))


def _adds(op: Op) -> bool:
    return isinstance(op, AddToBlock) or any(_adds(part) for part in operands(op))


def _merges(op: Op) -> bool:
    return isinstance(op, AddLowRank) or any(_merges(part) for part in operands(op))


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
    return Step(spec, target.key, op, tuple(evidence), tuple(notes), tuple(dict.fromkeys(copies)), pair.confidence)


def _infer(op: Op, target: Variable) -> TensorSpec:
    try:
        found = infer_spec(op)
    except UsageError as error:
        raise RefusedError(f"{error.key}: {error.problem}", key=target.name) from error
    return TensorSpec(target.name, found.shape, found.dtype)
