"""Rows that a vocabulary names: warned of where they move under another one, or moved by token.

Matching looks at shapes, and vocabularies differ in length. So what is to follow its tokens is matched as if it had the
target's rows already, and the plan then says which row goes where.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.assets import Vocabulary, compare_assets, vocabularies
from ckptkit.errors import RefusedError
from ckptkit.plans import Cast, GatherRows, Op, Open, Plan, Read, Step, Template, map_reads, reads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.model import Checkpoint, CheckpointSpec, Variable

# Tokens named in a note; the rest are counted.
_SHOWN = 3

Rows = dict[str, tuple[Vocabulary, Vocabulary]]
"""Variable of the source -> its vocabulary and that of the target's variable that takes its rows."""


def pair_vocabularies(a: Checkpoint, b: Checkpoint) -> Rows:
    """Which rows of `a` are to follow their tokens into which variable of `b`.

    Raises:
        RefusedError: one side has no vocabulary that names rows, or they cannot be paired.
        CkptkitError: a vocabulary cannot be read.
    """
    ours, theirs = vocabularies(a), vocabularies(b)
    for checkpoint, found in ((a, ours), (b, theirs)):
        if not found:
            raise RefusedError(
                "no vocabulary is known that names rows of a weight", path=checkpoint.path, key="--by-token",
                hint="`ckptkit inspect` lists the vocabularies that a file holds; weights alone hold none.",
            )  # fmt: skip
    by_asset = {
        each.b.name: each.a.name for each in compare_assets(a, b, {}) if each.a is not None and each.b is not None
    }
    pairs: Rows = {}
    for name, target in theirs.items():
        wanted = b.find(name)
        fits = [
            vocabulary
            for variable, vocabulary in ours.items()
            if a.find(variable).shape[1:] == wanted.shape[1:] and a.find(variable).role == wanted.role
        ]
        named = [vocabulary for vocabulary in fits if vocabulary.name == by_asset.get(target.name)]
        same = [vocabulary for vocabulary in named or fits if vocabulary.variable == name]
        chosen = same or named or fits
        if len(chosen) != 1 or chosen[0].variable in pairs:
            raise RefusedError(
                "not clear which rows follow this vocabulary", path=b.path, key=name,
                found=", ".join(vocabulary.variable for vocabulary in fits) or "none of that width",
            )  # fmt: skip
        pairs[chosen[0].variable] = chosen[0], target
    return pairs


def resized(spec: CheckpointSpec, target: CheckpointSpec, rows: Rows) -> CheckpointSpec:
    """`spec` as it is matched: what follows its tokens has the rows of its target already."""
    if not rows:
        return spec
    sizes = {variable.name: variable.shape[0] for variable in target.variables if variable.shape}
    return replace(
        spec,
        variables=tuple(
            _with_rows(variable, sizes[rows[variable.name][1].variable]) if variable.name in rows else variable
            for variable in spec.variables
        ),
    )


def _with_rows(variable: Variable, count: int) -> Variable:
    shape = (count, *variable.shape[1:])
    return replace(variable, shape=shape, nbytes=math.prod(shape) * dtypes.itemsize(variable.dtype))


def follow(plan: Plan, source: CheckpointSpec, target: CheckpointSpec, rows: Rows) -> Plan:
    """`plan`, made over a resized source, over what is stored: rows go where their tokens are.

    Args:
        plan: its reads have the shapes of `resized`.
        source: the stored map.
        target: the stored map.
        rows: see `pair_vocabularies`.
    """
    sources = {variable.name: variable for variable in source.variables}
    targets = {variable.name: variable for variable in target.variables}

    def gathered(read: Read) -> Op:
        if read.variable not in rows:
            return read
        ours, theirs = rows[read.variable]
        stored, wanted = sources[read.variable], targets[theirs.variable]
        base: Op = Template(wanted.name, wanted.shape, wanted.dtype)
        base = base if wanted.dtype == stored.dtype else Cast(base, stored.dtype)
        places = ours.followed(theirs, stored.shape[0], wanted.shape[0])
        return GatherRows(Read(stored.name, stored.shape, stored.dtype), base, places)

    steps = []
    for step in plan.steps:
        moved = [name for name in reads(step.op) if name in rows]
        notes = tuple(_counted(*rows[name], sources, targets) for name in moved)
        op = _cast_before(step, gathered) or map_reads(step.op, gathered)
        copies = tuple(map_reads(copy, gathered) for copy in step.copies)
        evidence = (*step.evidence, "token") if moved else step.evidence
        steps.append(replace(step, op=op, copies=copies, evidence=evidence, doubts=(*step.doubts, *notes)))
    return replace(plan, steps=tuple(steps), open=tuple(_as_stored(place, sources) for place in plan.open))


def _as_stored(place: Open, sources: Mapping[str, Variable]) -> Open:
    """An open place whose candidates have the shapes that are stored."""
    candidates = [
        replace(choice, source=replace(choice.source, shape=sources[choice.source.name].shape))
        if choice.source.name in sources
        else choice
        for choice in place.candidates
    ]
    return replace(place, candidates=tuple(candidates))


def _cast_before(step: Step, gathered: object) -> Op | None:
    """A read that is cast: only the rows that move are, and those of the template stay as they are."""
    if not (isinstance(step.op, Cast) and isinstance(step.op.of, Read) and callable(gathered)):
        return None
    made = gathered(step.op.of)
    if not isinstance(made, GatherRows) or not isinstance(made.base, Cast):
        return None
    return GatherRows(Cast(made.of, step.op.dtype), made.base.of, made.rows)


def _counted(
    ours: Vocabulary, theirs: Vocabulary, sources: Mapping[str, Variable], targets: Mapping[str, Variable]
) -> str:
    """`rows by token: 3 of 5 moved, 2 keep the template's values ('x', 'y'), 1 of the source is left behind ('z')`."""
    before, after = sources[ours.variable].shape[0], targets[theirs.variable].shape[0]
    places = ours.followed(theirs, before, after)
    taken = {row for row in places if row is not None}
    kept = [_token(theirs, place) for place, row in enumerate(places) if row is None]
    left = [_token(ours, row) for row in range(before) if row not in taken]
    said = [f"{after - len(kept):,} of {after:,} moved"]
    if kept:
        said.append(f"{len(kept):,} {'keeps' if len(kept) == 1 else 'keep'} the template's values{_listed(kept)}")
    if left:
        said.append(f"{len(left):,} of the source {'is' if len(left) == 1 else 'are'} left behind{_listed(left)}")
    return f"rows by token: {', '.join(said)}"


def _token(vocabulary: Vocabulary, row: int) -> str | None:
    token = vocabulary.tokens[row] if row < len(vocabulary.tokens) else None
    return None if token is None else repr(token.decode(errors="backslashreplace"))


def _listed(tokens: list[str | None]) -> str:
    named = [token for token in tokens if token is not None]
    if not named:
        return " (no token)"
    more = len(tokens) - min(len(named), _SHOWN)
    return f" ({', '.join(named[:_SHOWN])}{f' and {more:,} more' if more else ''})"


def warn(plan: Plan, a: Checkpoint, b: Checkpoint) -> Plan:
    """`plan` with a note on every step whose rows come under another vocabulary, or other settings, than they had."""
    if not a.spec.assets or not b.spec.assets:
        return plan
    notes: dict[str, list[str]] = {}
    ours, theirs = vocabularies(a), vocabularies(b)
    layers = {variable.name: variable.layer for variable in b.spec.variables}
    of = {step.target.name: reads(step.op) for step in plan.steps}
    for name, vocabulary in theirs.items():
        for read in of.get(name, ()):
            if read in ours and (said := _apart(ours[read], vocabulary)):
                notes.setdefault(name, []).append(
                    f"another vocabulary than it was trained with: {said}; --by-token moves rows by token"
                )
    for each in compare_assets(a, b, {}):
        if each.status != "different" or each.b is None or each.b.kind != "settings":
            continue
        for name in of:
            if layers[name] in each.b.rows_of:
                notes.setdefault(name, []).append(
                    f"the layer before it, {each.layer}, was told otherwise: {each.first}"
                )
    if not notes:
        return plan
    return replace(
        plan,
        steps=tuple(replace(step, doubts=(*step.doubts, *notes.get(step.target.name, ()))) for step in plan.steps),
    )


def _apart(ours: Vocabulary, theirs: Vocabulary) -> str:
    """The first row that means another token on either side; "" where all that both name are equal."""
    begin = 0 if ours.listed and theirs.listed else max(ours.first, theirs.first)
    for row in range(begin, max(len(ours.tokens), len(theirs.tokens))):
        one, other = _token(ours, row), _token(theirs, row)
        if one != other:
            return f"row {row} is {one or 'no token'} in the source, {other or 'no token'} in the target"
    return ""
