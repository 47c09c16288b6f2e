"""Pairs that differ and hold the same elements in another order: said as what they are, never counted as equal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.compare import Statistics, Tolerance, Workspace
from ckptkit.differences.orders import find_rearrangement
from ckptkit.differences.pairs import Task, parts_of
from ckptkit.differences.result import PairDiff

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ckptkit.model import Checkpoint

# Fewer elements than this stand in another order too easily by chance.
_FEWEST = 4

# Bits to which sums of squares of equal elements agree, in whatever order they were added (see `Statistics`).
_SIZE_BITS = 30

_ADVERBS = ("transposed", "flipped", "reshaped")


def name_rearrangements(
    a: Checkpoint, b: Checkpoint, tasks: Sequence[Task], pairs: Iterable[PairDiff]
) -> tuple[PairDiff, ...]:
    """The pairs, with status `rearranged` and a note where a holds b's elements in another order.

    Only what may do so is read again: the sums of squares of the two sides, which are known, have to agree.

    Args:
        a: one checkpoint.
        b: the reference.
        tasks: what was compared.
        pairs: the outcome of each.

    Raises:
        CkptkitError: a variable cannot be read.
    """
    gated = {
        layer.name
        for layer in b.layers
        if any(word in (layer.kind or "") for word in ("LSTM", "GRU"))
        or any(b.find(name).role == "recurrent_kernel" for name in layer.variables)
    }
    work = Workspace()
    return tuple(
        _named(a, b, task, pair, work, gates=task.target[0].layer in gated) if _may_be(task, pair) else pair
        for task, pair in zip(tasks, pairs, strict=True)
    )


def _may_be(task: Task, pair: PairDiff) -> bool:
    if task.evidence[:1] == ("value",):
        return pair.status in ("different", "shape")
    if pair.status != "shape" and not (pair.status == "different" and _equally_large(pair.statistics)):
        return False
    ours = task.source if task.converted is None else task.target
    sizes = sum(each.size for each in ours), sum(each.size for each in task.target)
    dtypes = {each.dtype for each in (*ours, *task.target)}
    return sizes[0] == sizes[1] and sizes[0] >= _FEWEST and len(dtypes) == 1 and "string" not in dtypes


def _equally_large(statistics: Statistics | None) -> bool:
    """Whether the sums of squares allow for the same elements; those leave out what is not finite."""
    if statistics is None or statistics.finite < statistics.count:
        return statistics is None or (statistics.nan_a, statistics.inf_a) == (statistics.nan_b, statistics.inf_b)
    return abs(statistics.square_a - statistics.square_b) <= statistics.square_b >> _SIZE_BITS


def _named(a: Checkpoint, b: Checkpoint, task: Task, pair: PairDiff, work: Workspace, *, gates: bool) -> PairDiff:
    ours, theirs = parts_of(a, b, task)
    holder, made_of = ("", theirs) if len(ours) == 1 else ("b ", ours)  # whoever is one tensor is described
    found = find_rearrangement(made_of, ours if len(ours) == 1 else theirs, Tolerance(), work)
    if isinstance(found, str):
        return replace(pair, note=found) if task.evidence[:1] == ("value",) else pair
    steps = found.transform.describe([tensor.spec.shape for tensor in made_of], gates=gates)
    link = "" if steps.startswith(_ADVERBS) else "with "
    words = f"{holder}holds {'a' if holder else 'b'}'s values {link}{steps}"
    return replace(pair, status="rearranged", note=words if pair.note is None else f"{pair.note}; then {words}")
