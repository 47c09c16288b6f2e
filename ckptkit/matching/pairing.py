"""Pairing whatever two checkpoints hold, as a diff does: by names, by matching, then by contents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from ckptkit.matching import match
from ckptkit.matching.crossing import keep_layers_together
from ckptkit.matching.result import Ambiguous, Match, Pair, Unmatched
from ckptkit.matching.value import match_by_value
from ckptkit.matching.within import restrict
from ckptkit.model import By, CheckpointSpec, Fingerprint

Specs = tuple[CheckpointSpec, CheckpointSpec]


class KnownContents(Protocol):
    """What is known of the contents of two checkpoints; see `differences.Contents`."""

    @property
    def prints_a(self) -> Mapping[str, Fingerprint]:
        """Canonical name -> fingerprint, of the source's."""

    @property
    def prints_b(self) -> Mapping[str, Fingerprint]:
        """Likewise of the target's."""

    @property
    def proven(self) -> Mapping[tuple[str, str], object]:
        """Pairs of names of equal contents."""


Search = Callable[[Specs], KnownContents]
"""Reads the contents of what two maps have."""


def pair_variables(specs: Specs, by: By, *, matched: Callable[[Specs, By], Match], search: Search) -> Match:
    """Pair what two checkpoints hold.

    `auto` goes by names where both sides have the same weights under the same names, and by names, scopes, order and
    conventions otherwise. Contents pair what that leaves undecided or without a partner, never against it: values that
    stand under another name than their own are what a diff is to find. Last come equal names of other shapes.

    Args:
        specs: of both, or of a part of them.
        by: how.
        matched: matches two maps with all that can be said of their layers.
        search: asked once at most.
    """
    if by == "value":
        return by_value(specs, search(specs))
    if by != "auto":
        return _joined(by, [matched(specs, by)])
    named = _same_name_and_shape(specs)
    rest = _rest(specs, named)
    if not any(variable.kind == "weight" for spec in rest for variable in spec.variables):
        return _joined("auto", [named, match(*rest, by="auto", slots=True)])
    found = matched(specs, "auto")
    namesakes = _namesakes(specs, found)
    found = _without(found, namesakes)
    rest = _rest(_rest(specs, found), namesakes)
    valued = keep_layers_together(by_value(rest, search(rest)), *rest)
    found = _without(found, valued)
    same_name = _same_name(_unpaired(specs, found))
    found = _without(found, same_name)
    valued = Match("auto", valued.pairs, ambiguous=valued.ambiguous)
    return _joined("auto", [found, namesakes, valued, same_name])


def _namesakes(specs: Specs, match: Match) -> Match:
    """Equal names and shapes among what `match` leaves, where they say something.

    In a tie they do if both sides have the same names in it. If not, the names were counted on from another start
    (`dense_1` of one program is `dense` of the other). The scope around all of a side's weights is no part of their names:
    it tells none from another, whatever words it is made of.
    """
    loose = _unpaired(specs, match)
    around = _scope_around(specs[0]), _scope_around(specs[1])
    groups = [(group.source, group.target) for group in match.ambiguous]
    groups.append((tuple(v.name for v in loose[0].variables), tuple(v.name for v in loose[1].variables)))
    ties = [
        (restrict(specs[0], source), restrict(specs[1], target))
        for source, target in groups
        if _below(around[0], source) == _below(around[1], target)
    ]
    found = [_same_name_and_shape(loose), *(_same_name_and_shape(each, around) for each in ties)]
    return Match("auto", tuple({pair.target: pair for each in reversed(found) for pair in each.pairs}.values()))


def _scope_around(spec: CheckpointSpec) -> str:
    """The scope that all weights of a side lie in, with the slash at its end; empty where there is none."""
    scopes = [variable.name.split("/")[:-1] for variable in spec.variables if variable.kind == "weight"]
    shared = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*scopes, strict=False))
    return "".join(f"{parts[0]}/" for parts in shared)


def _below(scope: str, names: Iterable[str]) -> set[str]:
    return {name.removeprefix(scope) for name in names}


def _same_name_and_shape(specs: Specs, around: tuple[str, str] = ("", "")) -> Match:
    """Pairs of equal names, once the scopes `around` are taken off, and equal shapes."""
    theirs = {variable.name.removeprefix(around[1]): variable for variable in specs[1].variables}
    pairs = []
    for variable in specs[0].variables:
        other = theirs.get(variable.name.removeprefix(around[0]))
        if other is not None and other.shape == variable.shape:
            pairs.append(Pair((variable.name,), (other.name,), ("name" if other.name == variable.name else "scope",)))
    return Match("auto", tuple(pairs))


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
    """`match` without the leftovers that `other` pairs or finds ambiguous; what is left of a tie on one side is alone."""
    sources = {name for pair in other.pairs for name in pair.source}
    targets = {name for pair in other.pairs for name in pair.target}
    sources |= {name for group in other.ambiguous for name in group.source}
    targets |= {name for group in other.ambiguous for name in group.target}
    missing = [each for each in match.missing if each.name not in targets]
    unexpected = [each for each in match.unexpected if each.name not in sources]
    ambiguous = []
    for group in match.ambiguous:
        source = tuple(name for name in group.source if name not in sources)
        target = tuple(name for name in group.target if name not in targets)
        if source and target:
            ambiguous.append(Ambiguous(source, target, group.why))
        else:
            unexpected += [Unmatched(name) for name in source]
            missing += [Unmatched(name) for name in target]
    return replace(match, missing=tuple(missing), unexpected=tuple(unexpected), ambiguous=tuple(ambiguous))


def _rest(specs: Specs, match: Match) -> Specs:
    """What `match` has not paired."""
    sources = {name for pair in match.pairs for name in (*pair.source, *itertools.chain(*pair.copies))}
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


def by_value(specs: Specs, contents: KnownContents) -> Match:
    """Match `specs`, which may be less than what `contents` knows of, by contents alone."""
    names = [{variable.name for variable in spec.variables} for spec in specs]
    prints = [
        {name: found for name, found in known.items() if name in wanted}
        for known, wanted in zip((contents.prints_a, contents.prints_b), names, strict=True)
    ]
    proven = [pair for pair in contents.proven if pair[0] in names[0] and pair[1] in names[1]]
    return match_by_value(specs[0], specs[1], prints[0], prints[1], proven=proven)
