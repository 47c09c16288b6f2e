"""The places of a plan that nothing decides, each with what could fill it and what speaks for and against that."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ckptkit.matching.labels import Label, read_labels
from ckptkit.matching.vocabulary import NOISE
from ckptkit.model import TensorSpec
from ckptkit.plans import Choice, Open

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.errors import RefusedError
    from ckptkit.matching.result import Ambiguous, Pair, Unmatched
    from ckptkit.model import Variable
    from ckptkit.planner.refusal import Doubtful

# Candidates of one place; sources of a group that are looked at for them, of one target and of all of a large group.
_MOST = 8
_LOOKED_AT = 64
_LOOKED_AT_IN_ALL = 100_000


def open_places(doubtful: Doubtful) -> list[Open]:
    """A place for each target variable that a match leaves ambiguous, or missing where that is not allowed."""
    sources = {variable.name: variable for variable in doubtful.source.variables}
    targets = {variable.name: variable for variable in doubtful.target.variables}
    found = [
        _place(targets[name], group.why, choices(targets[name], group, sources))
        for group in doubtful.match.ambiguous
        for name in group.target
    ]
    found += [
        _place(targets[item.name], "the source has no weight for it", _near(item, sources))
        for item in doubtful.missing
        if item.name in targets
    ]
    return found


def refused_places(
    pair: Pair, error: RefusedError, sources: Mapping[str, Variable], targets: Mapping[str, Variable]
) -> list[Open]:
    """The places of a pair that cannot be planned, and why not."""
    against = (error.problem,)
    given = tuple(Choice(_spec(sources[name]), pair.evidence, against) for name in pair.source if name in sources)
    return [_place(targets[name], error.problem, given) for name in pair.target if name in targets]


def choices(
    target: Variable, group: Ambiguous, sources: Mapping[str, Variable], most: int = _MOST
) -> tuple[Choice, ...]:
    """What of an ambiguous group could fill one of its targets, by name: the likeliest first."""
    found: list[tuple[int, Choice]] = []
    enough = min(_LOOKED_AT, max(most, _LOOKED_AT_IN_ALL // len(group.target)))
    for name in group.source:
        source = sources.get(name)
        if source is None or source.role != target.role or source.shape != target.shape:
            continue
        found.append(standing(source, target))
        if len(found) >= enough:
            break
    if not found:
        found = [standing(sources[name], target) for name in group.source[:most] if name in sources]
    found.sort(key=lambda item: -item[0])
    return tuple(choice for _, choice in found[:most])


def standing(source: Variable, target: Variable) -> tuple[int, Choice]:
    """How much the names of two variables speak for their being one, and what they say."""
    one, other = _label(source.layer or source.name), _label(target.layer or target.name)
    ours, theirs = ([word for word in label.words if word not in NOISE] for label in (one, other))
    shared = [word for word in dict.fromkeys(ours) if word in theirs]
    extra = [word for word in dict.fromkeys(ours) if word not in theirs]
    lacking = [word for word in dict.fromkeys(theirs) if word not in ours]
    numbers = [str(number) for number in one.numbers if number in other.numbers]
    differ = bool(one.numbers or other.numbers) and sorted(one.numbers) != sorted(other.numbers)
    speaks_for = [f"{word}: {' '.join(said)}" for word, said in (("words", shared), ("numbers", numbers)) if said]
    sides = (("only in the source", extra), ("only in the target", lacking))
    against = [f"{word}: {' '.join(said)}" for word, said in sides if said]
    if differ:
        against.append(f"numbers: {_numbers(one)} against {_numbers(other)}")
    score = 2 * len(shared) + len(numbers) - len(extra) - len(lacking) - differ
    return score, Choice(_spec(source), tuple(speaks_for), tuple(against))


@lru_cache(maxsize=65536)
def _label(name: str) -> Label:
    return read_labels([name], [None])[0]


def _numbers(label: Label) -> str:
    return " ".join(map(str, label.numbers)) or "none"


def _near(item: Unmatched, sources: Mapping[str, Variable]) -> tuple[Choice, ...]:
    return tuple(Choice(_spec(sources[near.name]), (), (near.why,)) for near in item.nearest if near.name in sources)


def _place(variable: Variable, why: str, candidates: Sequence[Choice]) -> Open:
    return Open(_spec(variable), variable.key, why, tuple(candidates))


def _spec(variable: Variable) -> TensorSpec:
    return TensorSpec(variable.name, variable.shape, variable.dtype)
