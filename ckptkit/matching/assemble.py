"""From units back to variables: one call that runs a matcher and accounts for every variable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ckptkit.matching.atoms import settled_units, without_guesses
from ckptkit.matching.auto import match_atoms, match_auto
from ckptkit.matching.blocks import join_units
from ckptkit.matching.candidates import Fate, Nearest
from ckptkit.matching.draft import MatchDraft
from ckptkit.matching.fan_out import fan_out as add_repetitions
from ckptkit.matching.name import match_names_strictly
from ckptkit.matching.nameless import pair_in_order, pair_nameless
from ckptkit.matching.options import Pairing
from ckptkit.matching.order import match_order
from ckptkit.matching.places import match_places
from ckptkit.matching.result import Ambiguous, Match, Pair, Unmatched
from ckptkit.matching.said import settle_said
from ckptkit.matching.scope import match_scope
from ckptkit.matching.slots import pair_state
from ckptkit.matching.units import Side, read_side
from ckptkit.model import By, CheckpointSpec, Variable

Scopes = tuple[Sequence[str], Sequence[str]]

_METHODS: Mapping[By, Callable[[MatchDraft], None]] = {"auto": match_auto, "order": match_order, "scope": match_scope}


def match_specs(a: CheckpointSpec, b: CheckpointSpec, asked: Pairing, scopes: Scopes) -> Match:
    """Match two checkpoints; see `ckptkit.matching.match`."""
    by = asked.by
    side_a, side_b = read_side(a, asked.rename, scopes[0]), read_side(b, (), scopes[1])
    said = settle_said(side_a, side_b, asked.pairs)
    draft = MatchDraft(said.a, said.b)
    for i, j, fit, evidence in said.links:
        draft.settle(i, j, fit, evidence)
    in_place = pair_nameless(side_a, side_b) if by in ("auto", "order") and not (said.links or said.pairs) else []
    if by == "name":
        pairs = [*_pairs(draft), *match_names_strictly(*_free(draft))]
    elif in_place:
        pairs = in_place
    else:
        if not draft.settled:
            _METHODS[by](draft)
        if asked.fan_out and not draft.complete:
            add_repetitions(draft)
        pairs = _pairs(draft)
    if by == "order" and not (draft.links or in_place or said.pairs or draft.ties()):
        in_place = pair_in_order(side_a, side_b)
        pairs = in_place or pairs
    pairs += said.pairs
    ambiguous = [_ambiguous(draft, tie.source, tie.target, tie.why) for tie in draft.ties() if not in_place]
    if by == "auto" and not draft.complete and not in_place:
        settled = settled_units(draft)
        placed, used = match_places(draft, settled)
        further, tied = match_atoms(draft, (settled[0] | used[0], settled[1] | used[1]))
        further += placed
        ambiguous.extend(tied)
        pairs, doubtful = without_guesses(
            [*pairs, *further], (name for group in ambiguous for name in group.source), a, b
        )
        ambiguous.extend(doubtful)
    if asked.slots:
        pairs.extend(pair_state(a, b, pairs, scopes))
    missing, unexpected = _leftovers(a, b, draft, pairs, ambiguous, asked.slots)
    used_order = by in ("auto", "order")
    return Match(
        by,
        tuple(pairs),
        missing,
        unexpected,
        tuple(ambiguous),
        (side_a.order_source, side_b.order_source) if used_order else None,
    )


def _free(draft: MatchDraft) -> tuple[Side, Side]:
    """Both sides without what is settled."""
    a = tuple([unit for i, unit in enumerate(draft.a.units) if i not in draft.links])
    b = tuple([unit for j, unit in enumerate(draft.b.units) if j not in draft.taken])
    return replace(draft.a, units=a), replace(draft.b, units=b)


def _pairs(draft: MatchDraft) -> list[Pair]:
    """The pairs of variables, in the order of the target."""
    pairs: list[Pair] = []
    for j, unit in enumerate(draft.b.units):
        if j in draft.taken:
            i = draft.taken[j]
            link = draft.links[i]
            joined = join_units(draft.a.units[i], unit, link.fit, link.evidence)
            joined = [replace(pair, confidence=link.margin) for pair in joined]
            pairs.extend(_with_copies(draft, j, joined))
        elif j in draft.fans:
            fan = draft.fans[j]
            pairs.extend(join_units(draft.a.units[fan.source], unit, fan.fit, fan.evidence))
    return pairs


def _with_copies(draft: MatchDraft, target: int, joined: list[Pair]) -> list[Pair]:
    """The pairs of a target with the further sources that must hold the same."""
    for source, fit in draft.copies.get(target, ()):
        further = {pair.target: pair for pair in join_units(draft.a.units[source], draft.b.units[target], fit, ())}
        joined = [replace(pair, copies=(*pair.copies, further[pair.target].source)) for pair in joined]
    return joined


def _ambiguous(draft: MatchDraft, source: Iterable[int], target: Iterable[int], why: str) -> Ambiguous:
    return Ambiguous(
        tuple([variable.name for i in source for variable in draft.a.units[i].weights]),
        tuple([variable.name for j in target for variable in draft.b.units[j].weights]),
        why,
    )


def _leftovers(
    a: CheckpointSpec, b: CheckpointSpec, draft: MatchDraft, pairs: list[Pair], ambiguous: list[Ambiguous], slots: bool
) -> tuple[tuple[Unmatched, ...], tuple[Unmatched, ...]]:
    """What is missing and what is unexpected, with candidates."""
    went_to: dict[str, str] = {}
    came_from: dict[str, str] = {}
    for pair in pairs:
        first = pair.target[0]
        went_to.update(dict.fromkeys(pair.source, first))
        for copy in pair.copies:
            went_to.update(dict.fromkeys(copy, first))
        came_from.update(dict.fromkeys(pair.target, pair.source[0] if pair.source else ""))
    tied_a = frozenset([name for group in ambiguous for name in group.source])
    tied_b = frozenset([name for group in ambiguous for name in group.target])
    left_a, left_b = _left(a, went_to, tied_a, slots), _left(b, came_from, tied_b, slots)
    if not left_a and not left_b:
        return (), ()
    for_b = Nearest(_matchable(a, slots), Fate(went_to, tied_a), (draft.b.units, draft.a.units))
    for_a = Nearest(_matchable(b, slots), Fate(came_from, tied_b), (draft.a.units, draft.b.units))
    return tuple([for_b.unmatched(v) for v in left_b]), tuple([for_a.unmatched(v) for v in left_a])


def _matchable(spec: CheckpointSpec, slots: bool) -> list[Variable]:
    return [variable for variable in spec.variables if slots or variable.kind == "weight"]


def _left(spec: CheckpointSpec, paired: Mapping[str, str], tied: frozenset[str], slots: bool) -> list[Variable]:
    return [v for v in _matchable(spec, slots) if v.name not in paired and v.name not in tied]
