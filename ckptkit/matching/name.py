"""Matching by name: canonical names as they are, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ckptkit.matching.blocks import join_units
from ckptkit.matching.result import Pair
from ckptkit.matching.signatures import Misfit, compare_units

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.matching.units import Side, Unit

_T = TypeVar("_T")

NAME = ("name",)


def match_names_strictly(a: Side, b: Side) -> list[Pair]:
    """Pair what has the same name, whatever its shape; layers of the same name under conventions that agree.

    Where two layers of one name agree as layers, their pairs carry the readings, so that a difference in layout is
    seen as one. Otherwise variables of equal name are paired as they lie.
    """
    units = _unique((unit.name, unit) for unit in a.units)
    pairs: list[Pair] = []
    rest: list[Unit] = []
    used: set[str] = set()
    for unit in b.units:
        other = units.get(unit.name)
        joined = [] if other is None else same_layer(other, unit)
        if not joined:
            rest.append(unit)
        pairs.extend(joined)
        used.update(name for pair in joined for name in pair.source)
    by_name = _unique((unit.renamed(v), v) for unit in a.units for v in unit.weights if v.name not in used)
    for own, variable in [(unit, variable) for unit in rest for variable in unit.weights]:
        found = by_name.get(own.renamed(variable))
        if found is not None:
            pairs.append(Pair((found.name,), (variable.name,), NAME))
    return pairs


def _unique(named: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    """What has a name of its own: rules can give several one name, which then is nobody's."""
    found: dict[str, _T] = {}
    twice = set()
    for name, value in named:
        if name in found:
            twice.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in twice} if twice else found


def same_layer(a: Unit, b: Unit) -> list[Pair]:
    """The pairs of two units of one name; none where they are not the same layer."""
    fit = compare_units(a, b)
    if isinstance(fit, Misfit):
        return []
    # What only the target has is no pair of names, even where its value is known.
    return [pair for pair in join_units(a, b, fit, NAME) if pair.source]
