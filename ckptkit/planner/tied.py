"""One table for the way in and the way out: stored once on one side and twice on the other.

A model whose logits are a product with its embedding transposed has one variable for both, or two that hold the same.
Shapes alone do not tell that from two matrices that merely fit, so it is done where a person says it, and where more is
known: a source that stores the table twice, which its contents prove when the plan is applied, and one that has the
logits' bias for the very layer whose kernel it lacks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.model import TensorSpec
from ckptkit.plans import Cast, Op, Read, Step, Transpose, reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ckptkit.model import Variable

_TABLE = "embeddings"
_OUTPUTS = ("kernel", "reverse_embeddings")
_SAID = "tied: transposed, as --assume tied=transposed says"
_TWICE = "takes {} for the same table, transposed, and writes only if the two are equal"
# Words of which one has to be in the name of a vector that is taken for the logits' bias.
_BIAS = frozenset({"bias", "biases", "b"})

_ONCE = "takes the source's logits, which have {} and no kernel of their own, for a product with {}, transposed"


@dataclass(frozen=True, slots=True)
class Ties:
    """What tied tables settle.

    Attributes:
        steps: for target variables that the match left without a source.
        twice: target variable -> expression over a source variable that must hold the same.
        settled: source variables that need no place of their own.
        said: how `twice` is told, with a place for the source variable's name.
    """

    steps: tuple[Step, ...] = ()
    twice: tuple[tuple[str, Op], ...] = ()
    settled: frozenset[str] = frozenset()
    said: str = _SAID


def find_ties(
    missing: Iterable[Variable],
    unexpected: Iterable[Variable],
    sources: Iterable[Variable],
    taken: Mapping[str, str],
) -> Ties:
    """The ties between what a match left over and what it paired.

    Args:
        missing: target variables without a source.
        unexpected: source variables without a place.
        sources: all weights of the source.
        taken: source variable -> target variable that takes it as it lies.
    """
    weights: dict[tuple[int, ...], list[Variable]] = defaultdict(list)
    for variable in sources:
        weights[variable.shape[::-1]].append(variable)
    steps = []
    for variable in missing:
        found = twins(variable, weights[variable.shape])
        if len(found) == 1:
            op: Op = Transpose(_read(found[0]), (1, 0))
            op = op if found[0].dtype == variable.dtype else Cast(op, variable.dtype)
            spec = TensorSpec(variable.name, variable.shape, variable.dtype)
            steps.append(Step(spec, variable.key, op, ("tied",), (_SAID,)))
    twice = []
    settled = set()
    for variable in unexpected:
        found = [other for other in twins(variable, weights[variable.shape]) if other.name in taken]
        found = [other for other in found if other.dtype == variable.dtype]
        if len(found) == 1:
            twice.append((taken[found[0].name], Transpose(_read(variable), (1, 0))))
            settled.add(variable.name)
    return Ties(tuple(steps), tuple(twice), frozenset(settled))


def sure_ties(
    ties: Ties,
    missing: Sequence[Variable],
    unexpected: Iterable[Variable],
    given: Iterable[tuple[Variable, str]],
) -> Ties:
    """`ties` where nobody has to say them and they leave nothing over; else none.

    Args:
        ties: what `find_ties` found.
        missing: target variables without a source.
        unexpected: source variables without a place.
        given: (target variable, name of the source variable) of what the match pairs.
    """
    unexpected = list(unexpected)
    if len(unexpected) == 1 and len(missing) == 2:
        return _with_bias(ties, missing, unexpected[0])
    if {variable.name for variable in unexpected} != ties.settled or len(missing) != len(ties.steps):
        return Ties()
    if not ties.steps:
        return replace(ties, said=_TWICE)
    kernel = missing[0]
    biases = [source for target, source in given if target.layer == kernel.layer and target.shape == kernel.shape[1:]]
    if ties.twice or len(missing) > 1 or kernel.role not in _OUTPUTS or len(set(kernel.shape)) == 1 or not biases:
        return Ties()
    step = ties.steps[0]
    return Ties((replace(step, doubts=(_ONCE.format(biases[0], *reads(step.op)),)),))


def _with_bias(ties: Ties, missing: Sequence[Variable], lone: Variable) -> Ties:
    """The kernel and the bias of one layer, of the table and of the one vector that is left: a bias in a scope of its own."""
    kernel, bias = sorted(missing, key=lambda variable: -len(variable.shape))
    if len(ties.steps) != 1 or ties.steps[0].target.name != kernel.name or ties.twice:
        return Ties()
    fits = bias.shape == lone.shape == kernel.shape[1:] and bias.dtype == lone.dtype and bias.layer == kernel.layer
    called = bias.role == "bias" and not _BIAS.isdisjoint(re.split(r"[/_]", lone.name.lower()))
    if not (fits and called and bias.layer) or kernel.role not in _OUTPUTS or len(set(kernel.shape)) == 1:
        return Ties()
    step = ties.steps[0]
    said = (_ONCE.format(lone.name, *reads(step.op)),)
    own = Step(TensorSpec(bias.name, bias.shape, bias.dtype), bias.key, _read(lone), ("tied",), said)
    return Ties((replace(step, doubts=said), own), settled=frozenset({lone.name}))


def twins(variable: Variable, others: Iterable[Variable]) -> list[Variable]:
    """Those of `others` that can be the same table as `variable`, transposed: one looks up, the other gives logits."""
    if len(variable.shape) != 2 or variable.role not in (_TABLE, *_OUTPUTS):
        return []
    roles = _OUTPUTS if variable.role == _TABLE else (_TABLE,)
    return [other for other in others if other.role in roles and other.shape == variable.shape[::-1]]


def with_twice(step: Step, ties: Ties) -> Step:
    """`step`, held to be equal to what the source stores a second time."""
    more = tuple(op for name, op in ties.twice if name == step.target.name)
    said = dict.fromkeys(ties.said.format(*reads(op)) for op in more)
    return replace(step, copies=(*step.copies, *more), doubts=(*step.doubts, *said)) if more else step


def _read(variable: Variable) -> Read:
    return Read(variable.name, variable.shape, variable.dtype)
