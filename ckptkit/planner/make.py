"""Match and conventions -> plan: every pair becomes steps, everything else is refused or kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.errors import RefusedError
from ckptkit.model import CheckpointSpec, Variable
from ckptkit.planner.adapters import refuse_lost_adapters
from ckptkit.planner.flatten import Flattening
from ckptkit.planner.guessed import with_guesses
from ckptkit.planner.opened import open_places, refused_places
from ckptkit.planner.pairs import IDLE, plan_pair, plan_rearranged
from ckptkit.planner.refusal import Doubtful, refusal_of
from ckptkit.planner.second_copies import with_second_copies
from ckptkit.planner.settle import settle
from ckptkit.planner.tied import Ties, find_ties, sure_ties, with_twice
from ckptkit.plans import (
    NO_SLOT,
    OUTSIDE,
    Kept,
    Op,
    Plan,
    check_plan,
    reads,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ckptkit.conventions import Expanded
    from ckptkit.matching.result import Match, Unmatched


def make_plan(
    match: Match,
    source: CheckpointSpec,
    target: CheckpointSpec,
    *,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    slots: bool = False,
    rearranged: Mapping[str, Op] | None = None,
    expanded: tuple[Expanded, Expanded] | None = None,
    tied: bool = False,
    assume: Mapping[str, str] | None = None,
    whole: tuple[CheckpointSpec, CheckpointSpec] | None = None,
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
        expanded: (source, target) as they were matched, where a fused layer stood as three (`conventions.fused`);
            None where the match is of the two as they are stored.
        tied: whether a person said that an embedding and the kernel of the logits are one table, transposed. Where it is
            sure nobody has to, unless leftovers are allowed.
        assume: what a person says that the files do not tell; here, of flattened images.
        whole: (source, target) with all that they hold, where `source` and `target` are what lies below scopes of
            them: the rest of the source is left out, and the rest of the target keeps the template's values.

    Raises:
        RefusedError: something is missing, unexpected or ambiguous, or two layers compute different maths; names
            what, with the nearest candidates and why they were turned down. Its `plan` is the plan so far.
    """
    stored = source, target
    if expanded is not None:
        source, target = expanded[0].spec, expanded[1].spec
    sources = {variable.name: variable for variable in source.variables}
    targets = {variable.name: variable for variable in target.variables}
    # Slots and state are moved where they can be, if asked for, and refuse nothing.
    others = {variable.name for variable in (*source.variables, *target.variables) if variable.kind != "weight"}
    missing = [item for item in match.missing if item.name not in others]
    unexpected = [item for item in match.unexpected if item.name not in others]
    ties = _ties(match, missing, unexpected, sources, targets, said=tied)
    if not tied and (allow_missing or allow_unexpected):
        ties = Ties()
    made = {step.target.name for step in ties.steps}
    given = {name for step in ties.steps for name in reads(step.op)}
    missing = [item for item in missing if item.name not in made]
    unexpected = [item for item in unexpected if item.name not in ties.settled | given]
    doubtful = Doubtful(
        match,
        () if allow_missing else _sure(missing, target),
        () if allow_unexpected else _sure(unexpected, source),
        missing,
        unexpected,
        source,
        target,
    )
    places = {place.target.name: place for place in open_places(doubtful)}
    steps = {step.target.name: step for step in ties.steps}
    left_behind = [item.name for item in unexpected]
    idle: set[str] = set()
    used: set[str] = set()
    refused: list[RefusedError] = []
    flattening = Flattening(source, target, assume or {})
    for pair in match.pairs:
        try:
            if rearranged and pair.target[0] in rearranged:
                outcome = plan_rearranged(pair, targets, rearranged)
            else:
                outcome = plan_pair(pair, sources, targets, flattening, allow_unexpected=allow_unexpected)
        except RefusedError as error:
            refused.append(error)
            places.update((place.target.name, place) for place in refused_places(pair, error, sources, targets))
            continue
        steps.update((step.target.name, with_twice(step, ties)) for step in outcome.steps)
        used.update(name for step in outcome.steps for op in (step.op, *step.copies) for name in reads(op))
        left_behind += outcome.unused
        idle.update(outcome.idle)
    if match.by != "value":
        refuse_lost_adapters([name for name in left_behind if name not in used], used, sources)
    kept = tuple(
        Kept(variable.name, variable.key, IDLE if variable.name in idle else _why_kept(variable, slots=slots))
        for variable in target.variables
        if variable.name not in steps and variable.name not in places
    )
    plan = Plan(
        source=source.path,
        target=target.path,
        by=match.by,
        order_source=match.order_sources,
        steps=tuple(steps[variable.name] for variable in target.variables if variable.name in steps),
        kept=kept,
        missing=tuple(
            item.target for item in kept if targets[item.target].kind == "weight" and item.target not in idle
        ),
        unexpected=tuple(name for name in dict.fromkeys(left_behind) if name not in used),
        ambiguous=tuple(name for group in match.ambiguous for name in (*group.source, *group.target)),
        open=tuple(places[variable.name] for variable in target.variables if variable.name in places),
    )
    if expanded is not None:
        plan = settle(plan, *stored, (expanded[0].parts, expanded[1].parts))
    plan = with_guesses(with_second_copies(plan, *stored), *stored)
    if whole is not None:
        plan = _with_rest(plan, stored, whole)
    check_plan(plan, *(whole or stored))
    refusal = refusal_of(doubtful) or next(iter(refused), None)
    if refusal is not None:
        refusal.plan = plan
        raise refusal
    return plan


def _sure(items: Iterable[Unmatched], spec: CheckpointSpec) -> list[Unmatched]:
    """Those of one side that are weights beyond doubt: the others are named and refuse nothing."""
    doubtful = {variable.name for variable in spec.variables if variable.doubtful}
    return [item for item in items if item.name not in doubtful]


def _with_rest(
    plan: Plan, below: tuple[CheckpointSpec, CheckpointSpec], whole: tuple[CheckpointSpec, CheckpointSpec]
) -> Plan:
    """`plan` with what lies outside the scopes: left out of the source, kept in the target."""
    ours, theirs = ({variable.name for variable in spec.variables} for spec in below)
    kept = {item.target: item for item in plan.kept}
    for variable in whole[1].variables:
        if variable.name not in theirs:
            kept[variable.name] = Kept(variable.name, variable.key, OUTSIDE)
    return replace(
        plan,
        kept=tuple(kept[variable.name] for variable in whole[1].variables if variable.name in kept),
        left_out=tuple(v.name for v in whole[0].variables if v.kind == "weight" and v.name not in ours),
    )


def _ties(
    match: Match,
    missing: Iterable[Unmatched],
    unexpected: Iterable[Unmatched],
    sources: Mapping[str, Variable],
    targets: Mapping[str, Variable],
    *,
    said: bool,
) -> Ties:
    """What a table that is stored once on one side and twice on the other settles; what is sure, where nobody said it."""
    taken = {
        pair.source[0]: pair.target[0] for pair in match.pairs if len(pair.source) == len(pair.target) == 1
    }  # fmt: skip
    weights = [variable for variable in sources.values() if variable.kind == "weight"]
    wanted = [targets[item.name] for item in missing if item.name in targets]
    loose = [sources[item.name] for item in unexpected if item.name in sources]
    ties = find_ties(wanted, loose, weights, taken)
    if said:
        return ties
    return sure_ties(ties, wanted, loose, ((targets[name], source) for source, name in taken.items()))


def _why_kept(variable: Variable, *, slots: bool) -> str:
    if variable.kind == "weight":
        return "the source has no weight for it"
    if variable.kind == "slot" and slots:
        return NO_SLOT
    return f"{variable.kind} of the template"
