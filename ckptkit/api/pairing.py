"""Pairing the variables of two open checkpoints for a diff: the cheapest evidence first, content where names fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.engines import Engine, Told, unwatched
from ckptkit.matching.result import Match, Pair, Unmatched
from ckptkit.model import By, Checkpoint, CheckpointSpec

if TYPE_CHECKING:
    from ckptkit.compare import Comparison
    from ckptkit.differences import Contents

Specs = tuple[CheckpointSpec, CheckpointSpec]


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


def pair_variables(
    a: Checkpoint, b: Checkpoint, specs: Specs, by: By, engine: Engine, counter: Told
) -> tuple[Match, Known]:
    """Pair what two checkpoints hold, and give back what was compared on the way.

    `auto` takes equal names and shapes first, which costs nothing; then equal contents; then what scopes, order and
    conventions say; then contents again, for what is joined or split; last equal names of other shapes.

    Args:
        a: one checkpoint.
        b: the reference.
        specs: of both, or of a part of them.
        by: how.
        engine: who reads contents.
        counter: told the bytes read.
    """
    from ckptkit import matching
    from ckptkit.conventions import read_forms

    if by == "value":
        contents = _contents(a, b, specs, engine, counter)
        return _by_value(specs, contents), contents.proven
    if by != "auto":
        return _joined(by, [matching.match(read_forms(specs[0]), read_forms(specs[1]), by=by, slots=True)]), {}
    named = _same_name_and_shape(specs)
    rest = _rest(specs, named)
    if not all(spec.variables for spec in rest):
        return _joined("auto", [named, matching.match(*rest, by="auto", slots=True)]), {}
    contents = _contents(a, b, rest, engine, counter)
    valued = _one_to_one(_by_value(rest, contents))
    rest = _rest(rest, valued)
    found = matching.match(read_forms(rest[0]), read_forms(rest[1]), by="auto", slots=True)
    rest = _unpaired(rest, found)
    joined = _pairs_only(_by_value(rest, contents))
    same_name = _same_name(_rest(rest, joined))
    found = _without(_without(found, joined), same_name)
    return _joined("auto", [named, valued, found, joined, same_name]), contents.proven


def _pairs_only(match: Match) -> Match:
    """The pairs of `match`; what it leaves is for the next stage to say."""
    return Match(match.by, match.pairs)


def _one_to_one(match: Match) -> Match:
    """Its pairs of single variables.

    That several together hold the elements of others says less than conventions do, which also know in which order.
    """
    return Match(match.by, tuple(pair for pair in match.pairs if len(pair.source) == len(pair.target) == 1))


def _same_name_and_shape(specs: Specs) -> Match:
    theirs = {variable.name: variable for variable in specs[1].variables}
    pairs = tuple(
        Pair((variable.name,), (variable.name,), ("name",))
        for variable in specs[0].variables
        if variable.name in theirs and theirs[variable.name].shape == variable.shape
    )
    return Match("auto", pairs)


def _same_name(specs: Specs) -> Match:
    """Equal names among what nothing else could pair: their shapes differ, which a person wants to see as such."""
    theirs = {variable.name for variable in specs[1].variables}
    return Match(
        "auto",
        tuple(Pair((v.name,), (v.name,), ("name",)) for v in specs[0].variables if v.name in theirs),
    )


def _unpaired(specs: tuple[CheckpointSpec, ...], match: Match) -> Specs:
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


def _rest(specs: Specs, match: Match) -> Specs:
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


def match_contents(a: Checkpoint, b: Checkpoint, *, slots: bool, engine: Engine) -> tuple[Match, Contents]:
    """Match by value alone, and what is known of the contents; both files are read once."""
    specs = [
        spec if slots else restrict(spec, (v.name for v in spec.variables if v.kind == "weight"))
        for spec in (a.spec, b.spec)
    ]
    contents = _contents(a, b, (specs[0], specs[1]), engine, unwatched)
    return _by_value((specs[0], specs[1]), contents), contents


def _contents(a: Checkpoint, b: Checkpoint, specs: Specs, engine: Engine, counter: Told) -> Contents:
    from ckptkit.differences import search_contents

    names = [[variable.name for variable in spec.variables] for spec in specs]
    return search_contents(a, b, names[0], names[1], engine=engine, progress=counter)


def _by_value(specs: Specs, contents: Contents) -> Match:
    """Match `specs`, which may be less than what `contents` knows of."""
    from ckptkit.matching.value import match_by_value

    names = [{variable.name for variable in spec.variables} for spec in specs]
    prints = [
        {name: found for name, found in known.items() if name in wanted}
        for known, wanted in zip((contents.prints_a, contents.prints_b), names, strict=True)
    ]
    proven = [pair for pair in contents.proven if pair[0] in names[0] and pair[1] in names[1]]
    return match_by_value(specs[0], specs[1], prints[0], prints[1], proven=proven)
