"""What a match leaves over, as a person reads it: one line that says it all, and one for each of the first groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ckptkit.errors import RefusedError
from ckptkit.planner.copies import Copies, mixed_copies
from ckptkit.planner.opened import choices, standing
from ckptkit.planner.reasons import why_missing, why_unexpected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ckptkit.matching.result import Ambiguous, Candidate, Match, Unmatched
    from ckptkit.model import CheckpointSpec, Variable
    from ckptkit.plans import Choice

_KEEP = "--allow-missing"
_LEAVE = "--allow-unexpected"
_ALLOWED = {
    _KEEP: f"{_KEEP} leaves what is missing as it is",
    _LEAVE: f"{_LEAVE} leaves behind what has no place",
}

# How a checkpoint of a whole model comes to hold nothing of it.
_BUNDLE = "tensor-bundle"
_LOST = (
    "A TensorFlow checkpoint of Keras 3 lacks what a model keeps in lists and dicts; .weights.h5 and .keras have it."
)

# So many names of one sort tell what is wrong; the rest are counted.
_SHOWN = 3

# Groups that have a line of their own, and candidates of each.
_GROUPS = 5
_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class Doubtful:
    """What a match leaves over.

    Attributes:
        match: of the two.
        missing: what the source lacks and may not lack.
        unexpected: what the target has no place for and may not be left behind.
        all_missing: the same, with what may be missing.
        all_unexpected: the same, with what may be left behind.
        source: the source.
        target: the template.
    """

    match: Match
    missing: Sequence[Unmatched]
    unexpected: Sequence[Unmatched]
    all_missing: Sequence[Unmatched]
    all_unexpected: Sequence[Unmatched]
    source: CheckpointSpec
    target: CheckpointSpec


@dataclass(frozen=True, slots=True)
class _Group:
    """Variables that one answer settles: those of one layer, or those that fit in several ways.

    Attributes:
        kind: `missing`, `unexpected` or `ambiguous`.
        source: names in the source.
        target: names in the target.
        says: what it is, and what came near.
        note: what else is known.
        why: what keeps it open.
        settle: the shortest option that would settle it, ready to be pasted; "" for none.
    """

    kind: Literal["ambiguous", "missing", "unexpected"]
    source: tuple[str, ...]
    target: tuple[str, ...]
    says: str
    note: str
    why: str
    settle: str

    def line(self, *, settle: bool) -> str:
        """One line for a person, with the option or without."""
        note = f": {self.note}" if self.note else ""
        return f"{self.kind}: {self.says}{note}" + (f" → {self.settle}" if settle else "")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": self.kind,
            "source": list(self.source),
            "target": list(self.target),
            "why": self.why,
            "settle": self.settle,
        }


def refusal_of(doubtful: Doubtful) -> RefusedError | None:
    """The error that says what is left over; None where every weight has its place."""
    names = _Names(doubtful)
    groups = [names.ambiguous(group) for group in doubtful.match.ambiguous]
    groups += [names.missing(own) for own in _by_layer(doubtful.missing, names.targets)]
    groups += [names.unexpected(own) for own in _by_layer(doubtful.unexpected, names.sources)]
    if not groups:
        return None
    empty = next((spec for spec in (doubtful.source, doubtful.target) if not _holds_weights(spec)), None)
    if empty is not None:
        error = RefusedError(f"{empty.path} holds no weights", hint=_LOST if empty.format == _BUNDLE else None)
    elif len(groups) == 1:
        error = RefusedError(_sentence(doubtful, names), hint=f"Settle it with {groups[0].settle}.")
    else:
        left = len(groups) - _GROUPS
        answers = {group.settle for group in groups}
        alone = next(iter(answers)) if len(answers) == 1 else ""
        hints = [f"Settle it with {alone}"] if alone else [_ALLOWED[flag] for flag in _ALLOWED if flag in answers]
        error = RefusedError(_summary(doubtful), hint=f"{', '.join(hints)}." if hints else None)
        error.lines = tuple(group.line(settle=not alone and group.settle not in _ALLOWED) for group in groups[:_GROUPS])
        if left > 0:
            error.lines = (*error.lines, f"… and {left} more; --json, --html and --plan-out have all of them")
    error.groups = tuple(group.to_json() for group in groups)
    return error


def _holds_weights(spec: CheckpointSpec) -> bool:
    return any(variable.kind == "weight" for variable in spec.variables)


def _summary(doubtful: Doubtful) -> str:
    """How much is left over, in one sentence."""
    source, target = doubtful.source.path, doubtful.target.path
    said = []
    tied = sum(len(group.target) for group in doubtful.match.ambiguous)
    if tied:
        said.append(f"{_count(tied)} of {target} {'fits' if tied == 1 else 'fit'} in more than one way")
    if doubtful.missing:
        reason = why_missing(doubtful.missing, doubtful.all_unexpected, doubtful.source, doubtful.target)
        said.append(f"{target} wants {_count(len(doubtful.missing))} that {source} has no weight for{reason}")
    if doubtful.unexpected:
        reason = why_unexpected(doubtful.unexpected, doubtful.source)
        said.append(f"{source} has {_count(len(doubtful.unexpected))} that {target} has no place for{reason}")
    return "; ".join(said)


def _count(number: int) -> str:
    return f"{number:,} variable{'' if number == 1 else 's'}"


def _sentence(doubtful: Doubtful, names: _Names) -> str:
    """All that is left over, where it is one group."""
    source, target = doubtful.source.path, doubtful.target.path
    if doubtful.match.ambiguous:
        group = names.ambiguous(doubtful.match.ambiguous[0])
        tied = _some(group.target, most=_SHOWN)
        verb = "fits" if len(group.target) == 1 else "fit"
        return f"ambiguous: {tied} of {target} {verb} in more than one way: {group.says}: {group.note}"
    if doubtful.missing:
        reason = why_missing(doubtful.missing, doubtful.all_unexpected, doubtful.source, doubtful.target)
        wanted = names.listed(doubtful.missing, names.targets, names.sources)
        return f"{target} wants {wanted}; {source} has no weight for it{reason}"
    reason = why_unexpected(doubtful.unexpected, doubtful.source)
    found = names.listed(doubtful.unexpected, names.sources, names.targets)
    return f"{source} has {found}; {target} has no place for it{reason}"


class _Names:
    """Words for the variables of both sides."""

    def __init__(self, doubtful: Doubtful) -> None:
        self.sources = {variable.name: variable for variable in doubtful.source.variables}
        self.targets = {variable.name: variable for variable in doubtful.target.variables}
        self._sizes = [Counter(v.layer for v in spec.variables) for spec in (doubtful.source, doubtful.target)]
        tied = doubtful.match.ambiguous
        wanted = [self.targets[name].shape for group in tied for name in group.target]
        self._copies = Copies(doubtful.source, wanted) if tied else None
        self._free = {item.name for item in doubtful.all_unexpected if item.name in self.sources}
        self._mixed = mixed_copies(doubtful.match, doubtful.source, doubtful.target) if doubtful.unexpected else ()

    def ambiguous(self, group: Ambiguous) -> _Group:
        """Layers that fit in several ways, the first of the target with its best candidates."""
        wanted = list(dict.fromkeys(_layer(self.targets[name]) for name in group.target))
        given = list(dict.fromkeys(_layer(self.sources[name]) for name in group.source))
        first = self.targets[group.target[0]]
        near = choices(first, group, self.sources, _CANDIDATES)
        more = f" (and {len(wanted) - 1} more)" if len(wanted) > 1 else ""
        note = why = group.why
        copies = self._copies.between(group.source) if self._copies else ()
        if copies:
            told = _some(given, most=_CANDIDATES)
            note = f"{' and '.join(copies)} are copies of one network"
            why = f"{why}; {note}"
            settle = " or ".join(f"--source-scope {scope}" for scope in copies)
        else:
            told = ", ".join(self._candidate(choice) for choice in near)
            settle = self._map(wanted[0], first, near)
            if len(given) == 1 < len(wanted):
                settle += " or --fan-out"
        says = f"{wanted[0]}{more} ← {told}"
        return _Group("ambiguous", group.source, group.target, says, note, why, settle)

    def _candidate(self, choice: Choice) -> str:
        name = _layer(self.sources[choice.source.name])
        sides = [
            f"{word} {'; '.join(said)}"
            for word, said in (("for", choice.speaks_for), ("against", choice.against))
            if said
        ]
        return f"{name} ({'; '.join(sides)})" if sides else name

    def _map(self, layer: str, target: Variable, near: Sequence[Choice]) -> str:
        """`--map layer=…` with the best candidate, or with both where two are as good."""
        ranked = [(standing(self.sources[choice.source.name], target)[0], choice) for choice in near]
        best = [choice for score, choice in ranked if score == ranked[0][0]][:2]
        return " or ".join(f"--map {layer}={_layer(self.sources[choice.source.name])}" for choice in best)

    def missing(self, items: Sequence[Unmatched]) -> _Group:
        """What one layer of the target lacks."""
        says = self.listed(items, self.targets, self.sources)
        settle = _KEEP
        wanted = self.targets.get(items[0].name)
        near = [self.sources[near.name] for near in items[0].nearest if near.name in self._free]
        if wanted is not None:
            ranked = [(standing(found, wanted)[0], found.name) for found in near if found.shape == wanted.shape]
            best = [self.sources[name] for score, name in ranked if score == max(ranked)[0]]
            if len(best) == 1:
                whole = len(items) == self._sizes[1][wanted.layer] == self._sizes[0][best[0].layer]
                pair = (_layer(wanted), _layer(best[0])) if whole else (wanted.name, best[0].name)
                settle = f"--map {'='.join(pair)} or {_KEEP}"
        return _Group("missing", (), tuple(item.name for item in items), says, "", _why(items), settle)

    def unexpected(self, items: Sequence[Unmatched]) -> _Group:
        """What one layer of the source has and the target has not."""
        says = self.listed(items, self.sources, self.targets)
        if self._mixed:
            settle = " or ".join(f"--source-scope {scope}" for scope in self._mixed)
            note = f"{' and '.join(self._mixed)} are copies of one network, and the pairs are of both"
            names = tuple(item.name for item in items)
            return _Group("unexpected", names, (), says, note, f"{note}; {_why(items)}", settle)
        return _Group("unexpected", tuple(item.name for item in items), (), says, "", _why(items), _LEAVE)

    def listed(self, items: Sequence[Unmatched], own: Mapping[str, Variable], other: Mapping[str, Variable]) -> str:
        """`head/kernel [128, 3] (nearest: cls/kernel [128, 10], another shape)`, and how many more there are."""
        shown = []
        for item in items[:_SHOWN]:
            nearest = "; ".join(_turned_down(near, other) for near in item.nearest)
            shown.append(_shaped(item.name, own) + (f" (nearest: {nearest})" if nearest else ""))
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        return ", ".join(shown) + more


def _by_layer(items: Iterable[Unmatched], variables: Mapping[str, Variable]) -> list[list[Unmatched]]:
    found: dict[str, list[Unmatched]] = defaultdict(list)
    for item in items:
        found[_layer(variables[item.name]) if item.name in variables else item.name].append(item)
    return list(found.values())


def _layer(variable: Variable) -> str:
    """What `--map` calls it: its layer, or itself."""
    return variable.layer or variable.name


def _why(items: Sequence[Unmatched]) -> str:
    return "; ".join(f"{near.name}: {near.why}" for near in items[0].nearest)


def _some(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _turned_down(near: Candidate, variables: Mapping[str, Variable]) -> str:
    """`cls/kernel [128, 10], another shape`: the shape stands there once."""
    shaped = _shaped(near.name, variables)
    return f"{shaped}, {near.why.removesuffix(shaped.removeprefix(near.name))}"


def _shaped(name: str, variables: Mapping[str, Variable]) -> str:
    return f"{name} {list(variables[name].shape)}" if name in variables else name
