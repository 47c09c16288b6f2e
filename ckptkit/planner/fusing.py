"""A diff where one side has query, key and value in one layer: they are compared as one is made of the other."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ckptkit.conventions import Expanded, expand
from ckptkit.errors import RefusedError
from ckptkit.matching.result import Match, Pair, Unmatched
from ckptkit.matching.within import restrict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ckptkit.conventions.fused import StoredSlice
    from ckptkit.differences import Counterpart
    from ckptkit.model import By, Checkpoint, CheckpointSpec

Specs = tuple["CheckpointSpec", "CheckpointSpec"]


def match_stored(a: Checkpoint, read: Specs, by: By) -> tuple[Match, dict[str, Counterpart]]:
    """Match two maps; a fused layer stands as three while it is matched, and as what is stored in the result.

    Args:
        a: the checkpoint of the first.
        read: both maps, read by `read_forms`.
        by: how.

    Returns:
        The match, and for target variables that are joined or cut the values of a that they are to be compared with.
        Where not every slice finds a partner the match is that of the maps as they are.
    """
    from ckptkit import matching

    expanded = expand(*read), expand(read[1], read[0])
    if expanded[0].parts or expanded[1].parts:
        found = matching.match(expanded[0].spec, expanded[1].spec, by=by, slots=True)
        joined = _join(a, found, read, expanded)
        if joined is not None:
            return joined
    return matching.match(*read, by=by, slots=True), {}


def _join(
    a: Checkpoint, match: Match, read: Specs, expanded: tuple[Expanded, Expanded]
) -> tuple[Match, dict[str, Counterpart]] | None:
    """`match` over what is stored; None where a slice is without a partner, or no plan makes one side of the other."""
    slices = {*expanded[0].parts, *expanded[1].parts}
    plain: list[Pair] = []
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in match.pairs:
        concerned = slices & {*pair.source, *pair.target}
        slices -= concerned
        if concerned:
            groups[_stored(pair.target, expanded[1].parts)].append(pair)
        else:
            plain.append(pair)
    if slices or any(pair.copies for group in groups.values() for pair in group):
        return None
    converted: dict[str, Counterpart] = {}
    for targets, group in groups.items():
        sources = _stored((name for pair in group for name in pair.source), expanded[0].parts)
        made = _made_of(a, Match(match.by, tuple(group)), (sources, targets), read, expanded)
        if made is None:
            return None
        converted.update(made)
        plain.append(Pair(sources, targets, group[0].evidence))
    missing = tuple(Unmatched(item.name) for item in match.missing)
    unexpected = tuple(Unmatched(item.name) for item in match.unexpected)
    return Match(match.by, tuple(plain), missing, unexpected, match.ambiguous, match.order_sources), converted


def _stored(names: Iterable[str], parts: Mapping[str, StoredSlice]) -> tuple[str, ...]:
    """The stored variables behind these names, each once."""
    return tuple(dict.fromkeys(parts[name].of if name in parts else name for name in names))


def _made_of(
    a: Checkpoint,
    match: Match,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    read: Specs,
    expanded: tuple[Expanded, Expanded],
) -> dict[str, Counterpart] | None:
    """A's values for each of the stored targets; None where the plan for them is refused."""
    from ckptkit.differences import Counterpart
    from ckptkit.execute import PlannedSource
    from ckptkit.model import TensorSpec
    from ckptkit.planner import make_plan
    from ckptkit.plans import reads

    # A row is read with all of its variables, also where a pair holds some of them only.
    rows: list[set[str]] = [set(), set()]
    for pair in match.pairs:
        for side, (own, form) in enumerate(zip((pair.source, pair.target), pair.forms or (None, None), strict=True)):
            rows[side].update(own, (name for _, name in form.natives) if form else ())
    stood = [Expanded(restrict(each.spec, own), each.parts) for each, own in zip(expanded, rows, strict=True)]
    kept = [
        restrict(spec, {*own, *_stored(row, each.parts)} if side == 0 else own)
        for side, (spec, own, row, each) in enumerate(zip(read, names, rows, expanded, strict=True))
    ]
    try:
        plan = make_plan(match, kept[0], kept[1], expanded=(stood[0], stood[1]))
    except RefusedError:
        return None
    source = PlannedSource(plan, a)
    return {
        step.target.name: Counterpart(
            TensorSpec(step.key, step.target.shape, step.target.dtype),
            source,
            tuple(dict.fromkeys(reads(step.op))),
            "; ".join(step.doubts) or "layout converted",
        )
        for step in plan.steps
    }
