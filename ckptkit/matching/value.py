"""Matching by content: the same values under whatever names.

No bytes are read here: fingerprints come in, a `Match` goes out. Only what is equal is paired, and only where nothing
else is equal to it. The content of a constant (zeros, ones) or a scalar says little; such variables are paired only
when something besides their value says the same, and are ambiguous otherwise.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping

from ckptkit.matching.joins import find_joins
from ckptkit.matching.result import Ambiguous, Candidate, Match, Pair, Unmatched
from ckptkit.model import CheckpointSpec, Fingerprint, Variable

# Fewer elements than this come in a given order, among all their orders, too easily by chance.
_FEWEST_REORDERED = 4

# Fewer whole numbers than this (step counters, seeds, sizes) are equal too easily.
_FEWEST_INTEGERS = 8


def match_by_value(
    a: CheckpointSpec,
    b: CheckpointSpec,
    prints_a: Mapping[str, Fingerprint],
    prints_b: Mapping[str, Fingerprint],
    *,
    proven: Iterable[tuple[str, str]] = (),
) -> Match:
    """Pair the variables whose contents are equal.

    In this order: equal bytes and shape; equal bytes in another shape; equal elements in another order (transposed, or
    gate blocks permuted); elements of up to four variables of one layer that together are those of one or more of the
    other side (joined and split kernels); last, constants and scalars that names, layers or shapes speak for too.
    Pairs of equal elements are candidates: their transform is still to be established.

    Args:
        a: the source.
        b: the target.
        prints_a: canonical variable name -> fingerprint, of the source's variables to be matched.
        prints_b: likewise of the target's.
        proven: pairs of names, of further variables, already known to hold equal bytes that no third variable holds.
    """
    search = _Search(a, b, prints_a, prints_b, proven)
    for content in (_bytes_and_kind, _bytes, _bytes_reshaped, _elements):
        search.pair_unique(content)
    search.pair_joins()
    search.pair_weak()
    return search.outcome()


Content = Callable[[Variable, Fingerprint], Hashable]


def _bytes_and_kind(variable: Variable, found: Fingerprint) -> Hashable:
    return variable.kind, found.shape, found.dtype, found.ordered


def _bytes(_: Variable, found: Fingerprint) -> Hashable:
    return found.shape, found.dtype, found.ordered


def _bytes_reshaped(variable: Variable, found: Fingerprint) -> Hashable:
    return found.dtype, variable.size, found.ordered


def _elements(variable: Variable, found: Fingerprint) -> Hashable:
    return (found.dtype, variable.size, found.unordered) if variable.size >= _FEWEST_REORDERED else object()


def _is_weak(found: Fingerprint) -> bool:
    """Whether the content alone identifies nothing."""
    whole_numbers = found.dtype.startswith(("int", "uint", "qint", "quint", "bool"))
    return found.constant or (whole_numbers and math.prod(found.shape) < _FEWEST_INTEGERS)


def _shape_sort(variable: Variable) -> Hashable:
    return variable.shape, variable.dtype, variable.kind


def _role_sort(variable: Variable) -> Hashable:
    return (_shape_sort(variable), variable.role) if variable.role is not None else None


class _Search:
    """What is paired so far, and what is left of each side."""

    def __init__(
        self,
        a: CheckpointSpec,
        b: CheckpointSpec,
        prints_a: Mapping[str, Fingerprint],
        prints_b: Mapping[str, Fingerprint],
        proven: Iterable[tuple[str, str]],
    ) -> None:
        self.prints_a, self.prints_b = prints_a, prints_b
        self.variables_a = {variable.name: variable for variable in a.variables}
        self.variables_b = {variable.name: variable for variable in b.variables}
        self.left_a = {name: self.variables_a[name] for name in self.variables_a if name in prints_a}
        self.left_b = {name: self.variables_b[name] for name in self.variables_b if name in prints_b}
        self.pairs: list[Pair] = []
        self.ambiguous: list[Ambiguous] = []
        self.layers: set[tuple[str, str]] = set()
        for name_a, name_b in proven:
            self._pair((name_a,), (name_b,), ("value",))

    def _pair(self, source: tuple[str, ...], target: tuple[str, ...], evidence: tuple[str, ...]) -> None:
        self.pairs.append(Pair(source, target, evidence))
        for name_a in source:
            self.left_a.pop(name_a, None)
            self.layers.update((self.variables_a[name_a].layer, self.variables_b[name].layer) for name in target)
        for name_b in target:
            self.left_b.pop(name_b, None)

    def _groups(self, content: Content) -> list[tuple[list[Variable], list[Variable]]]:
        """Variables of both sides with equal `content`, where both sides have some."""
        by_content: dict[Hashable, tuple[list[Variable], list[Variable]]] = defaultdict(lambda: ([], []))
        for side, (left, prints) in enumerate(((self.left_a, self.prints_a), (self.left_b, self.prints_b))):
            for variable in left.values():
                by_content[content(variable, prints[variable.name])][side].append(variable)
        return [group for group in by_content.values() if group[0] and group[1]]

    def pair_unique(self, content: Content) -> None:
        """Pair what has equal `content` and is alone with it on both sides, unless its content identifies nothing."""
        for ones, others in self._groups(content):
            if len(ones) == len(others) == 1 and not _is_weak(self.prints_a[ones[0].name]):
                self._pair((ones[0].name,), (others[0].name,), _with_name(ones[0], others[0]))

    def pair_joins(self) -> None:
        """Pair several variables of a layer with one or more of the other side that hold the same elements together."""
        for source, target in find_joins(self.left_a.values(), self.prints_a, self.left_b.values(), self.prints_b):
            self._pair(source, target, ("value",))

    def pair_weak(self) -> None:
        """Pair constants and scalars that something besides their value speaks for; what is left is ambiguous."""
        settled = self._settled(_shape_sort), self._settled(_role_sort)
        for ones, others in self._groups(_bytes_and_kind):
            because = self._corroboration(ones[0], others[0], settled) if len(ones) == len(others) == 1 else None
            if because:
                self._pair((ones[0].name,), (others[0].name,), ("value", because))
        for ones, others in self._groups(_bytes):
            names = tuple(variable.name for variable in ones), tuple(variable.name for variable in others)
            weak = _is_weak(self.prints_a[names[0][0]])
            why = "equal contents that say too little (one value, or a few whole numbers)" if weak else "equal contents"
            if len(ones) > 1 or len(others) > 1:
                why += f": {len(ones)} against {len(others)} variables that cannot be told apart"
            self.ambiguous.append(Ambiguous(*names, why))
            for name_a in names[0]:
                del self.left_a[name_a]
            for name_b in names[1]:
                del self.left_b[name_b]

    def _corroboration(
        self, one: Variable, other: Variable, settled: tuple[set[Hashable], set[Hashable]]
    ) -> str | None:
        """What besides its value says that `one` is `other`: `name`, `scope`, `shape`, or None."""
        if "name" in _with_name(one, other):
            return "name"
        same_role = one.role is not None and one.role == other.role
        if same_role and (one.layer, other.layer) in self.layers:
            return "scope"
        by_shape, by_role = settled
        return "shape" if _shape_sort(one) in by_shape or (same_role and _role_sort(one) in by_role) else None

    def _settled(self, sort: Callable[[Variable], Hashable]) -> set[Hashable]:
        """The sorts of variables of which both sides have the same contents, each of them once."""
        contents: tuple[dict[Hashable, list[bytes]], ...] = (defaultdict(list), defaultdict(list))
        for found, variables, prints in (
            (contents[0], self.variables_a, self.prints_a),
            (contents[1], self.variables_b, self.prints_b),
        ):
            for name in prints:
                found[sort(variables[name])].append(prints[name].ordered)
        return {
            each
            for each, ordered in contents[0].items()
            if each is not None and len(set(ordered)) == len(ordered) and sorted(ordered) == sorted(contents[1][each])
        }

    def outcome(self) -> Match:
        """The match, in the order of the target."""
        place = {name: number for number, name in enumerate(self.variables_b)}
        return Match(
            by="value",
            pairs=tuple(sorted(self.pairs, key=lambda pair: place[pair.target[0]])),
            missing=tuple(_unmatched(v, self.variables_a) for v in self.left_b.values()),
            unexpected=tuple(_unmatched(v, self.variables_b) for v in self.left_a.values()),
            ambiguous=tuple(self.ambiguous),
        )


def _with_name(one: Variable, other: Variable) -> tuple[str, ...]:
    """The evidence of equal values, and of names where they agree as well."""
    names = {one.name, one.key, *one.aliases} & {other.name, other.key, *other.aliases}
    return ("value", "name") if names else ("value",)


def _unmatched(variable: Variable, others: Mapping[str, Variable]) -> Unmatched:
    namesake = others.get(variable.name)
    if namesake is None:
        return Unmatched(variable.name)
    same_shape = namesake.shape == variable.shape
    why = "the same name, other values" if same_shape else f"the same name, another shape {list(namesake.shape)}"
    return Unmatched(variable.name, (Candidate(namesake.name, why),))
