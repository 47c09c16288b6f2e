"""A diff where one side stores a table once, for the way in and the way out, and the other stores it twice.

A kernel that no variable of the other side wants, and that is its own side's embedding transposed, bit for bit, says nothing
that the embedding does not: it stands against the embedding of the other side, and is compared as that transposed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.matching.result import Match, Pair
from ckptkit.planner.tied import twins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.compare import Comparison, Tolerance, Workspace
    from ckptkit.matching.result import Unmatched
    from ckptkit.model import Checkpoint, Variable

_Known = dict[tuple[str, str], "Comparison"]


def pair_tied(a: Checkpoint, b: Checkpoint, match: Match, tolerance: Tolerance) -> tuple[Match, _Known]:
    """`match` with the second copies of tied tables paired, and how far each is from the other side's table.

    Args:
        a: one checkpoint.
        b: the reference.
        match: of their variables.
        tolerance: what counts as equal enough.

    Raises:
        CkptkitError: a table cannot be read.
    """
    from ckptkit.compare import Workspace

    work = Workspace()
    alone = [pair for pair in match.pairs if len(pair.source) == len(pair.target) == 1]
    across = {pair.source[0]: pair.target[0] for pair in alone}
    back = {theirs: ours for ours, theirs in across.items()}
    pairs: list[Pair] = []
    known: _Known = {}
    for kernel, table in _second_copies(a, match.unexpected, across, work):
        other = b.find(across[table.name])
        if other.shape == table.shape and other.dtype == kernel.dtype:
            pairs.append(Pair((kernel.name,), (other.name,), ("tied",)))
            known[kernel.name, other.name] = _turned(a, kernel, b, other, tolerance, work)
    for kernel, table in _second_copies(b, match.missing, back, work):
        other = a.find(back[table.name])
        if other.shape == table.shape and other.dtype == kernel.dtype:
            pairs.append(Pair((other.name,), (kernel.name,), ("tied",)))
            known[other.name, kernel.name] = _turned(a, other, b, kernel, tolerance, work)
    if not pairs:
        return match, {}
    settled = {name for pair in pairs for name in (*pair.source, *pair.target)} - {*across, *back}
    return replace(
        match,
        pairs=(*match.pairs, *pairs),
        missing=tuple(item for item in match.missing if item.name not in settled),
        unexpected=tuple(item for item in match.unexpected if item.name not in settled),
    ), known


def _second_copies(
    side: Checkpoint, alone: Sequence[Unmatched], paired: Mapping[str, str], work: Workspace
) -> Iterator[tuple[Variable, Variable]]:
    """(kernel, table) of one checkpoint where the kernel is without a partner and is the paired table transposed."""
    from ckptkit.compare import Tolerance

    tables = None
    for kernel in map(side.find, (item.name for item in alone)):
        if kernel.kind != "weight" or len(kernel.shape) != 2:
            continue
        tables = [side.find(name) for name in paired] if tables is None else tables
        for table in twins(kernel, tables):
            same = table.dtype == kernel.dtype and not (table.problem or kernel.problem)
            found = _turned(side, kernel, side, table, Tolerance(), work) if same else None
            # Zeros are anybody's.
            if found and found.status == "identical" and found.statistics and found.statistics.square_b:
                yield kernel, table
                break


def _turned(
    a: Checkpoint, one: Variable, b: Checkpoint, other: Variable, tolerance: Tolerance, work: Workspace
) -> Comparison:
    """How far the matrix `one` of a, transposed, is from the matrix `other` of b."""
    from ckptkit.compare import Transform, compare_streams
    from ckptkit.differences import Arranged

    spec = other.stored
    turned = Arranged(a.source, one.stored, Transform(other.shape, permutation=(1, 0))).stream()
    return compare_streams(turned, spec, b.source.stream(spec.name, work.raw_b), spec, tolerance, work)
