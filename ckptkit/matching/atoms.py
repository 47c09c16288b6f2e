"""Variables that lie in layers which do not fit as a whole: weighed one by one, by shape and by their full names.

A network written by hand keeps `W` at the top and `output/b` in a scope, one framework calls a kernel `Matrix`, a head
has a `logstd` more: what no convention joins is paired variable by variable and taken as it lies.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from ckptkit.matching.draft import MatchDraft
from ckptkit.matching.result import Ambiguous, Pair
from ckptkit.matching.signatures import number_class
from ckptkit.matching.units import Side, Unit
from ckptkit.model import CheckpointSpec, Variable

# Kinds whose variables lie alike in every row, so that one may be taken alone. Gates, and whatever a row negates, turns
# or adds to, may not.
PLAIN_KINDS = frozenset({
    "BatchNormalization", "Conv1D", "Conv2D", "Conv3D", "Dense", "DepthwiseConv2D", "EinsumDense", "Embedding",
    "GroupNormalization", "LayerNormalization", "PReLU", "RMSNormalization",
})  # fmt: skip


_TABLES = ("embeddings", "kernel")


@dataclass(frozen=True, slots=True)
class Atom:
    """One variable of a layer that found no partner."""

    unit: Unit
    variable: Variable


def settled_units(draft: MatchDraft) -> tuple[set[int], set[int]]:
    """The units of both sides that are paired or tied."""
    ties = draft.ties()
    return (
        {*draft.links, *(i for tie in ties for i in tie.source), *(i for own in draft.copies.values() for i, _ in own)},
        {*draft.taken, *(j for tie in ties for j in tie.target), *draft.fans},
    )


def all_atoms(side: Side, settled: Container[int]) -> tuple[list[Atom], list[bool]]:
    """The variables of a side, and for each whether its unit found no partner."""
    atoms = [
        (Atom(unit, variable), index not in settled)
        for index, unit in enumerate(side.units)
        for variable in unit.weights
    ]
    return [atom for atom, _ in atoms], [free for _, free in atoms]


def classify_atoms(a: Sequence[Atom], b: Sequence[Atom]) -> tuple[list[int], list[int]]:
    """Number the atoms so that those which could be each other have equal numbers: one shape, one kind of number."""
    numbers: dict[object, int] = {}
    sides = [
        [numbers.setdefault((atom.variable.shape, number_class(atom.variable.dtype)), len(numbers)) for atom in side]
        for side in (a, b)
    ]
    return sides[0], sides[1]


def compatible(a: Atom, b: Atom) -> bool:
    """Whether one may be taken for the other as it lies; two layers that are known are moved whole or not at all."""
    if _may_be_table(a) and _may_be_table(b):
        return True
    if a.variable.role is not None and b.variable.role is not None and a.variable.role != b.variable.role:
        return False
    if not (a.unit.forms and b.unit.forms):
        known = a.unit.forms or b.unit.forms
        return not known or any(form.kind in PLAIN_KINDS for form in known)
    return False


def _may_be_table(atom: Atom) -> bool:
    """Whether it is a matrix alone in its layer: a table of embeddings has no other name in many a code."""
    return len(atom.unit.weights) == 1 and len(atom.variable.shape) == 2 and atom.variable.role in (None, *_TABLES)


def atom_pair(a: Atom, b: Atom, evidence: tuple[str, ...], margin: float | None) -> Pair:
    """The pair of two atoms."""
    return Pair((a.variable.name,), (b.variable.name,), evidence, confidence=margin)


def atom_tie(a: Iterable[Atom], b: Iterable[Atom], why: str) -> Ambiguous:
    """A group of atoms that nothing tells apart."""
    return Ambiguous(tuple(atom.variable.name for atom in a), tuple(atom.variable.name for atom in b), why)


def without_guesses(
    pairs: Iterable[Pair], tied: Iterable[str], a: CheckpointSpec, b: CheckpointSpec
) -> tuple[list[Pair], list[Ambiguous]]:
    """The pairs, without a neutral value for what the source has and nothing else takes.

    A bias that a layer of the source lacks may lie beside it, in another scope: where one of the same name does it is
    taken, and where others of its shape and role are left over, it is not known which.

    Args:
        pairs: what was found.
        tied: variables of the source that are ambiguous already.
        a: the source.
        b: the target.
    """
    found = list(pairs)
    targets = {variable.name: variable for variable in b.variables}
    used = {name for pair in found for name in pair.source}.union(tied)
    left = {v.name: v for v in a.variables if v.kind == "weight" and v.name not in used}
    kept: list[Pair] = []
    doubtful: list[Ambiguous] = []
    for pair in found:
        wanted = targets[pair.target[0]]
        rivals = [v.name for v in left.values() if v.shape == wanted.shape and v.role == wanted.role]
        if pair.source or not rivals:
            kept.append(pair)
            continue
        taken = [wanted.name] if wanted.name in rivals and len(pair.target) == 1 else rivals
        for name in taken:
            del left[name]
        if taken is rivals:
            why = "its layer lacks it, and what is left over of its shape may be it"
            doubtful.append(Ambiguous(tuple(rivals), pair.target, why))
        else:
            kept.append(Pair((wanted.name,), pair.target, ("name",)))
    return kept, doubtful
