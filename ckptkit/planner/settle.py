"""A plan over slices of stored variables, as a plan over what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.errors import RefusedError
from ckptkit.model import TensorSpec
from ckptkit.plans import Choice, Concat, Kept, Op, Open, Plan, Read, Slice, Step, map_reads, reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ckptkit.conventions.fused import StoredSlice
    from ckptkit.model import CheckpointSpec, Variable

_ORDER = "query, key and value, in that order"


def settle(
    plan: Plan,
    source: CheckpointSpec,
    target: CheckpointSpec,
    parts: tuple[Mapping[str, StoredSlice], Mapping[str, StoredSlice]],
) -> Plan:
    """`plan`, made over expanded maps (see `conventions.fused`), over the stored variables.

    Args:
        plan: its names may be those of slices.
        source: the stored map.
        target: the stored map.
        parts: the slices of (source, target).

    Raises:
        RefusedError: only some slices of a target variable get a value.
    """
    read_parts, made_parts = parts
    if not read_parts and not made_parts:
        return plan
    stored = {variable.name: variable for variable in source.variables}

    def cut(read: Read) -> Op:
        part = read_parts.get(read.variable)
        if part is None:
            return read
        whole = stored[part.of]
        if part.whole:
            return Read(whole.name, whole.shape, whole.dtype)
        return Slice(Read(whole.name, whole.shape, whole.dtype), part.axis, part.start, part.stop)

    steps = {step.target.name: _cut_step(step, cut, read_parts) for step in plan.steps}
    whole: dict[str, list[tuple[StoredSlice, str]]] = {}
    for name, part in made_parts.items():
        whole.setdefault(part.of, []).append((part, name))
    made: list[Step] = []
    kept = {item.target: item for item in plan.kept}
    places = {place.target.name: place for place in plan.open}
    undecided: list[Open] = []
    for variable in target.variables:
        pieces = sorted(whole.get(variable.name, ()), key=lambda piece: piece[0].start)
        names = [name for _, name in pieces] or [variable.name]
        given = [steps[name] for name in names if name in steps]
        waiting = [places[name] for name in names if name in places]
        if waiting:
            undecided.append(_whole(waiting, variable, stored, read_parts))
        elif not given:
            kept[variable.name] = Kept(variable.name, variable.key, kept[names[0]].why)
        elif len(given) < len(names):
            lacking = next(name for name in names if name not in steps)
            raise RefusedError("only a part of it has a source", key=variable.name, expected=lacking)
        elif len(pieces) > 1:
            spec = TensorSpec(variable.name, variable.shape, variable.dtype)
            made.append(_joined(given, spec, variable.key, pieces[0][0].axis))
        else:
            spec = TensorSpec(variable.name, variable.shape, variable.dtype)
            made.append(replace(given[0], target=spec, key=variable.key))
    own = {step.target.name for step in made} | {place.target.name for place in undecided}
    return replace(
        plan,
        steps=tuple(made),
        kept=tuple(kept[variable.name] for variable in target.variables if variable.name not in own),
        missing=_stored(plan.missing, made_parts),
        unexpected=_stored(plan.unexpected, read_parts),
        ambiguous=_stored(plan.ambiguous, {**read_parts, **made_parts}),
        open=tuple(undecided),
    )


def _cut_step(step: Step, cut: Callable[[Read], Op], parts: Mapping[str, StoredSlice]) -> Step:
    """`step` with slices where it reads what is only a part."""
    if not any(name in parts for name in reads(step.op)):
        return step
    copies, op = tuple(map_reads(copy, cut) for copy in step.copies), map_reads(step.op, cut)
    sliced = dict.fromkeys(parts[name].of for name in reads(step.op) if name in parts and not parts[name].whole)
    doubts = (*step.doubts, *(f"assumes that {name} holds {_ORDER}" for name in sliced))
    return replace(step, op=op, copies=copies, doubts=doubts)


def _whole(
    waiting: Sequence[Open], variable: Variable, stored: Mapping[str, Variable], parts: Mapping[str, StoredSlice]
) -> Open:
    """The open place of a stored variable, of which these are slices or the whole."""
    choices: dict[str, Choice] = {}
    for choice in (choice for place in waiting for choice in place.candidates):
        part = parts.get(choice.source.name)
        of = choice.source if part is None else stored[part.of]
        choices.setdefault(of.name, replace(choice, source=TensorSpec(of.name, of.shape, of.dtype)))
    spec = TensorSpec(variable.name, variable.shape, variable.dtype)
    return Open(spec, variable.key, waiting[0].why, tuple(choices.values()))


def _joined(steps: list[Step], spec: TensorSpec, key: str, axis: int) -> Step:
    """One step for a variable that holds what several steps give."""
    if len({len(step.copies) for step in steps}) > 1:
        raise RefusedError("its parts have different numbers of copies", key=spec.name)
    evidence = tuple(dict.fromkeys(word for step in steps for word in step.evidence))
    doubts = tuple(dict.fromkeys(word for step in steps for word in step.doubts))
    copies = tuple(Concat(copy, axis) for copy in zip(*(step.copies for step in steps), strict=True))
    op = Concat(tuple(step.op for step in steps), axis)
    sure = [step.confidence for step in steps if step.confidence is not None]
    return Step(
        spec, key, op, evidence, (*doubts, f"assumes that {spec.name} holds {_ORDER}"), copies, min(sure, default=None)
    )


def _stored(names: Iterable[str], parts: Mapping[str, StoredSlice]) -> tuple[str, ...]:
    """The stored variables behind these names, each once."""
    return tuple(dict.fromkeys(parts[name].of if name in parts else name for name in names))
