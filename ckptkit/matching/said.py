"""Pairs that a person named: by `--map TARGET=SOURCE`, or by a rule whose outcome is the target's exact name.

They are settled before anything is weighed, and are certain for whatever is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckptkit.errors import UsageError
from ckptkit.matching.atoms import PLAIN_KINDS
from ckptkit.matching.blocks import join_units
from ckptkit.matching.result import Pair
from ckptkit.matching.signatures import Misfit, UnitFit, compare_units, number_class
from ckptkit.matching.units import Side, Unit
from ckptkit.matching.within import nearest
from ckptkit.model import Variable

MAP = ("map",)
RENAMED = ("name",)


@dataclass(frozen=True, slots=True)
class Said:
    """What a person settled.

    Attributes:
        a: the source, without the variables of `pairs`.
        b: the target, likewise.
        links: (unit of a, unit of b, how they fit, evidence).
        pairs: single variables, taken as they lie out of layers that do not fit as a whole.
    """

    a: Side
    b: Side
    links: tuple[tuple[int, int, UnitFit, tuple[str, ...]], ...] = ()
    pairs: tuple[Pair, ...] = ()


# A unit's index, and one variable of it; None for all of them.
_Place = tuple[int, Variable | None]


def settle_said(a: Side, b: Side, pairs: Mapping[str, str]) -> Said:
    """Pair what a person named.

    Args:
        a: the source, renamed.
        b: the target.
        pairs: name in the target -> name in the source, each of a layer or of a variable.

    Raises:
        UsageError: a name of `pairs` is unknown or has several owners, or the two do not fit; says why.
    """
    if not pairs and not any(unit.ruled for unit in a.units):
        return Said(a, b)
    work = _Work(a, b)
    index_a, index_b = (_Index(side) for side in (a, b)) if pairs else (None, None)
    for target, source in pairs.items():
        if index_a is not None and index_b is not None:
            asked = f"--map {target}={source}"
            work.ask(index_a.find(source, asked, "source"), index_b.find(target, asked, "target"), asked)
    for i, j, variables in _by_rules(a, b):
        work.follow(i, j, variables)
    return work.done()


class _Index:
    """The names of one side: canonical ones first, then keys and aliases."""

    def __init__(self, side: Side) -> None:
        self._own: dict[str, list[_Place]] = defaultdict(list)
        self._other: dict[str, list[_Place]] = defaultdict(list)
        for index, unit in enumerate(side.units):
            names = {unit.original, unit.name} if unit.is_layer else set()
            for name in names:
                self._own[name].append((index, None))
            for variable in unit.weights:
                for name in {variable.name, unit.renamed(variable)}:
                    self._own[name].append((index, variable))
                for name in {variable.key, *variable.aliases}:
                    self._other[name].append((index, variable))
            for name in set(unit.aliases):
                self._other[name].append((index, None))

    def find(self, name: str, asked: str, which: str) -> _Place:
        """What is called `name`.

        Raises:
            UsageError: nothing is, or several are.
        """
        found = self._own.get(name) or self._other.get(name) or []
        if len(found) == 1 or (len(found) > 1 and len({index for index, _ in found}) == 1):
            # A layer and its variable can have one name, where the variable has none of its own.
            return max(found, key=lambda place: place[1] is not None)
        if found:
            raise UsageError(f"the {which} has {len(found)} of this name", key=f"{asked}: {name}")
        near = nearest(name, [*self._own, *self._other])
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise UsageError(f"the {which} has no layer and no variable of this name", key=f"{asked}: {name}", hint=hint)


def _by_rules(a: Side, b: Side) -> list[tuple[int, int, tuple[tuple[Variable, Variable], ...]]]:
    """(unit of a, unit of b, variables) that a rule gave one name; without variables where whole units bear it."""
    layers = {unit.name: j for j, unit in enumerate(b.units)}
    variables = {unit.renamed(v): (j, v) for j, unit in enumerate(b.units) for v in unit.weights}
    ruled = [(i, unit) for i, unit in enumerate(a.units) if unit.ruled]
    whole = Counter(unit.name for _, unit in ruled)
    single = Counter(unit.renamed(v) for _, unit in ruled for v in unit.weights)
    found: list[tuple[int, int, tuple[tuple[Variable, Variable], ...]]] = []
    for i, unit in ruled:
        moved = unit.name != unit.original
        if moved and unit.name in layers:
            if whole[unit.name] == 1:
                found.append((i, layers[unit.name], ()))
            continue
        held: dict[int, list[tuple[Variable, Variable]]] = defaultdict(list)
        for variable in unit.weights:
            name = unit.renamed(variable)
            if name in variables and single[name] == 1 and (moved or (unit.names and variable.name in unit.names)):
                held[variables[name][0]].append((variable, variables[name][1]))
        found += [(i, j, tuple(own)) for j, own in held.items()]
    return found


@dataclass(slots=True)
class _Work:
    """What has been settled so far; who came first stays."""

    a: Side
    b: Side
    links: dict[int, tuple[int, UnitFit, tuple[str, ...]]] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    single: list[Pair] = field(default_factory=list)
    gone: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))

    def ask(self, source: _Place, target: _Place, asked: str) -> None:
        """Settle one pair that must come out.

        Raises:
            UsageError: it does not; says why.
        """
        (i, variable), (j, wanted) = source, target
        one, other = self.a.units[i], self.b.units[j]
        if (variable is None) != (wanted is None):
            # A layer's name for the only variable that it has.
            variable = variable or (one.weights[0] if len(one.weights) == 1 else None)
            wanted = wanted or (other.weights[0] if len(other.weights) == 1 else None)
            if variable is None or wanted is None:
                raise UsageError("one is a layer of several variables and the other a variable", key=asked)
        why = self._whole(i, j, MAP) if variable is None or wanted is None else self._one(i, j, variable, wanted, MAP)
        if why:
            raise UsageError(f"they do not fit: {one.original} has {why}", key=asked)

    def follow(self, i: int, j: int, variables: tuple[tuple[Variable, Variable], ...]) -> None:
        """Settle what a rule named, as far as it fits; what does not is left to be said with its reason."""
        if not variables:
            self._whole(i, j, RENAMED)
        for variable, wanted in variables:
            self._one(i, j, variable, wanted, RENAMED)

    def _whole(self, i: int, j: int, evidence: tuple[str, ...]) -> str:
        """Pair two units; why not, or ""."""
        if i in self.links or j in self.taken:
            return "" if i in self.links and self.links[i][0] == j else "another partner already"
        one, other = self.a.units[i], self.b.units[j]
        if not self.gone[0].isdisjoint(v.name for v in one.weights):
            return "another partner for one of its variables already"
        fit = compare_units(one, other)
        if isinstance(fit, Misfit):
            return fit.why
        self.links[i] = (j, fit, evidence)
        self.taken.add(j)
        return ""

    def _one(self, i: int, j: int, variable: Variable, wanted: Variable, evidence: tuple[str, ...]) -> str:
        """Pair two variables: with their layers where those fit in the same way, else as they lie; why not, or ""."""
        one, other = self.a.units[i], self.b.units[j]
        if variable.name in self.gone[0] or wanted.name in self.gone[1]:
            return "another partner already"
        fit = compare_units(one, other)
        if isinstance(fit, UnitFit):
            joined = join_units(one, other, fit, ())
            if any(variable.name in pair.source and wanted.name in pair.target for pair in joined):
                return self._whole(i, j, evidence)
        if i in self.links or j in self.taken:
            return "another partner already"
        why = _misfit(one, variable, other, wanted)
        if not why:
            self.single.append(Pair((variable.name,), (wanted.name,), evidence))
            self.gone[0].add(variable.name)
            self.gone[1].add(wanted.name)
        return why

    def done(self) -> Said:
        """The outcome, over units that lack what is settled alone."""
        sides = [_without(side, gone) for side, gone in zip((self.a, self.b), self.gone, strict=True)]
        (a, places_a), (b, places_b) = sides
        links = tuple((places_a[i], places_b[j], fit, evidence) for i, (j, fit, evidence) in self.links.items())
        return Said(a, b, links, tuple(self.single))


def _misfit(one: Unit, variable: Variable, other: Unit, wanted: Variable) -> str:
    """Why a variable cannot be taken for another as it lies, or ""."""
    if variable.shape != wanted.shape:
        return f"another shape {list(variable.shape)}"
    if number_class(variable.dtype) != number_class(wanted.dtype):
        return f"another dtype {variable.dtype}"
    kinds = {form.kind for form in one.forms}, {form.kind for form in other.forms}
    if all(kinds) and not kinds[0] & kinds[1] & PLAIN_KINDS and len(variable.shape) > 1:
        return f"another layout: {sorted(kinds[0])[0]} against {sorted(kinds[1])[0]}"
    return ""


def _without(side: Side, gone: set[str]) -> tuple[Side, dict[int, int]]:
    """A side without some variables, and where each unit that still has some stands now."""
    if not gone:
        return side, {index: index for index in range(len(side.units))}
    units: list[Unit] = []
    places = {}
    for index, unit in enumerate(side.units):
        left = tuple([variable for variable in unit.weights if variable.name not in gone])
        if not left:
            continue
        places[index] = len(units)
        units.append(unit if len(left) == len(unit.weights) else replace(unit, weights=left, forms=()))
    return replace(side, units=tuple(units)), places
