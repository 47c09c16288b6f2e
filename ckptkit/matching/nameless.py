"""Weights of which one side says only in which place each stands: `arr_0, arr_1, …`, `Variable_7`, lists of variables.

Names that are equal but for their numbers are no names. Where the numbers put the weights in an order in which their shapes
are those of the other side, one after the other, there is one solution and it is that order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckptkit.matching.result import Pair
from ckptkit.matching.signatures import number_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.matching.units import Side
    from ckptkit.model import Variable

_NUMBER = re.compile(r"_?([0-9]{1,9})(?![0-9])")

# What is not trained, which older Keras lists after all that is (tf_keras/src/engine/training_v1.py, `Network.weights`).
_NOT_TRAINED = frozenset({"moving_mean", "moving_variance"})


def pair_nameless(a: Side, b: Side) -> list[Pair]:
    """The pairs of two sides of which at least one has no names; none where the shapes leave no or several solutions.

    Args:
        a: the source.
        b: the target.
    """
    listed = _in_places(a), _in_places(b)
    if listed[0] is None and listed[1] is None:
        return []
    found = {
        tuple((one.name, other.name) for one, other in zip(own, theirs, strict=True))
        for own in _orders(a, listed[0])
        for theirs in _orders(b, listed[1])
        if _sorts(own) == _sorts(theirs)
    }
    if len(found) == 1:
        return [Pair((one,), (other,), ("order",)) for one, other in found.pop()]
    return [] if found else _by_shape(a, b)


def pair_in_order(a: Side, b: Side) -> list[Pair]:
    """All pairs of two sides by order alone, where layers do not tell which variables belong together.

    One after the other where the shapes of both sides agree so. Else one after the other among those of one shape, where
    the target wants one role of them: kernels before biases is an order like any other, scales before means is not.

    Args:
        a: the source.
        b: the target.

    Returns:
        Nothing unless both have an order that is more than their names, and nobody knows a layer of exactly one side.
    """
    known = [any(unit.forms for unit in side.units) for side in (a, b)]
    if not (a.recorded and b.recorded) or known[0] == known[1]:
        return []
    own, theirs = ([variable for unit in side.units for variable in unit.weights] for side in (a, b))
    if _sorts(own) != _sorts(theirs):
        own, theirs = _within_shapes(own), _within_shapes(theirs)
        roles: dict[tuple[int, ...], set[str | None]] = {}
        for other in theirs:
            roles.setdefault(other.shape, set()).add(other.role)
        if _sorts(own) != _sorts(theirs) or any(len(wanted) > 1 for wanted in roles.values()):
            return []
    return [Pair((one.name,), (other.name,), ("order",)) for one, other in zip(own, theirs, strict=True)]


def _sorts(weights: Sequence[Variable]) -> list[tuple[tuple[int, ...], object]]:
    """What has to agree for one to be taken for the other as it lies."""
    return [(variable.shape, number_class(variable.dtype)) for variable in weights]


def _within_shapes(weights: list[Variable]) -> list[Variable]:
    return sorted(weights, key=lambda variable: variable.shape)


def _by_shape(a: Side, b: Side) -> list[Pair]:
    """The pairs where no two weights of a side have one shape and both sides have the same shapes."""
    sides = [[variable for unit in side.units for variable in unit.weights] for side in (a, b)]
    own, theirs = (dict(zip(_sorts(side), (variable.name for variable in side), strict=True)) for side in sides)
    if own.keys() != theirs.keys() or len(own) < max(map(len, sides)):
        return []
    return [Pair((own[sort],), (name,), ("shape",)) for sort, name in theirs.items()]


def _in_places(side: Side) -> list[Variable] | None:
    """All weights by their numbers, where nothing else tells their names apart; None where something does."""
    places: dict[tuple[int, ...], Variable] = {}
    texts = set()
    for unit in side.units:
        for variable in unit.weights:
            name = unit.renamed(variable)
            texts.add(_NUMBER.sub("", name))
            places[tuple(map(int, _NUMBER.findall(name)))] = variable
    count = sum(len(unit.weights) for unit in side.units)
    if len(texts) != 1 or len(places) < count or count < 2:
        return None
    return [places[numbers] for numbers in sorted(places)]


def _orders(side: Side, listed: Sequence[Variable] | None) -> list[list[Variable]]:
    """The orders that a list of these weights can have; none where a file does not tell how its layers follow."""
    if listed is not None:
        return [list(listed)]
    if not side.recorded or not all(unit.ordered for unit in side.units):
        return []
    weights = [variable for unit in side.units for variable in unit.weights]
    trained = [variable for variable in weights if variable.role not in _NOT_TRAINED]
    rest = [variable for variable in weights if variable.role in _NOT_TRAINED]
    return [weights, [*trained, *rest]]
