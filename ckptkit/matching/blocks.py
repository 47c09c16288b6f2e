"""A matched pair of layers as pairs of variables: those that share parts stand together.

Which parts a variable holds is told by its label in the reading, its role and its size: a `kernel` of the size of the
parts `kernel` and `recurrent_kernel` together holds both. Where that does not come out even, the layer stays whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ckptkit.matching.result import Pair
from ckptkit.matching.signatures import UnitFit, leaves, parts_of
from ckptkit.matching.units import Unit
from ckptkit.model import Form, Part, Variable


def join_units(a: Unit, b: Unit, fit: UnitFit, evidence: tuple[str, ...]) -> list[Pair]:
    """Pairs of the variables of two units that fit each other.

    An optional part that only the target has gives a pair without source variables, for which the row knows the
    value; one that only the source has stays out of every pair, since its values would be lost.

    Args:
        a: a unit of the source.
        b: a unit of the target.
        fit: the readings under which they agree.
        evidence: what their match rests on.

    Returns:
        Pairs in the order of the target's variables.
    """
    if fit.forms is None:
        return _as_they_lie(a, b, evidence)
    form_a, form_b = fit.forms
    held_a, held_b = _held(a, form_a), _held(b, form_b)
    find = _components((*held_a.values(), *held_b.values()))
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for variable in b.weights:
        groups.setdefault(find(held_b[variable.name][0]), ([], []))[1].append(variable.name)
    for variable in a.weights:
        group = groups.get(find(held_a[variable.name][0]))
        if group is not None:
            group[0].append(variable.name)
    return [Pair(tuple(source), tuple(target), evidence, fit.forms) for source, target in groups.values()]


def _as_they_lie(a: Unit, b: Unit, evidence: tuple[str, ...]) -> list[Pair]:
    if [v.role for v in a.weights] == [w.role for w in b.weights] and None not in [v.role for v in a.weights]:
        return [Pair((v.name,), (w.name,), evidence) for v, w in zip(a.weights, b.weights, strict=True)]
    own, other = leaves(a), leaves(b)
    return [Pair((own[leaf].name,), (variable.name,), evidence) for leaf, variable in other.items()]


def _held(unit: Unit, form: Form) -> dict[str, tuple[str, ...]]:
    """The parts that each variable of the unit holds, by name; all parts where that cannot be told."""
    parts = parts_of(form)
    whole = dict.fromkeys([variable.name for variable in unit.weights], tuple(parts))
    labels = {name: label for label, name in form.natives}
    held: dict[str, tuple[str, ...]] = {}
    spare: dict[tuple[str, ...], int] = {}
    for variable in unit.weights:
        roles = _named_parts(labels.get(variable.name, ""), variable, parts)
        if not roles:
            return whole
        held[variable.name] = roles
        spare.setdefault(roles, -sum(math.prod(parts[role].shape) for role in roles))
        spare[roles] += variable.size
    unnamed = {role: math.prod(part.shape) for role, part in parts.items() if not any(role in own for own in spare)}
    further = {roles: _of_size(size, unnamed) if size else () for roles, size in spare.items()}
    if sorted(role for more in further.values() for role in more) != sorted(unnamed):
        return whole
    return {name: (*roles, *further[roles]) for name, roles in held.items()}


def _named_parts(label: str, variable: Variable, parts: Mapping[str, Part]) -> tuple[str, ...]:
    """The parts that a label such as `kernel+recurrent_kernel` or `gates/kernel`, or else the role, names."""
    for roles in (label.split("+"), [variable.role or ""], [label.rpartition("/")[2]]):
        if all(role in parts for role in roles):
            return tuple(roles)
    return ()


def _of_size(size: int, unnamed: Mapping[str, int]) -> tuple[str, ...]:
    """The one unnamed part, or all of them, that are as large as what a variable has to spare."""
    fitting = [role for role, own in unnamed.items() if own == size]
    if len(fitting) == 1:
        return (fitting[0],)
    return tuple(unnamed) if sum(unnamed.values()) == size else ()


def _components(sets: Sequence[Sequence[str]]) -> Callable[[str], str]:
    """Names a representative for each part such that parts held together have the same one."""
    parents: dict[str, str] = {}

    def find(part: str) -> str:
        while parents.setdefault(part, part) != part:
            part = parents[part]
        return part

    for roles in sets:
        for role in roles[1:]:
            parents[find(role)] = find(roles[0])
    return find
