"""FoundContents that were matched by value and lie in another order: the expressions of a plan that put them right."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ckptkit.errors import RefusedError
from ckptkit.plans import Concat, Op, PermuteBlocks, Read, Reshape, Slice, Transpose, infer_spec

if TYPE_CHECKING:
    from ckptkit.compare import Transform
    from ckptkit.differences import FoundContents
    from ckptkit.matching.result import Match, Pair
    from ckptkit.model import Checkpoint

Expressions = Mapping[str, Op]
"""Canonical name of a target variable -> what makes it of the source."""


def expressions(a: Checkpoint, b: Checkpoint, match: Match, contents: FoundContents) -> Expressions:
    """What makes each target variable whose elements the source has in another order or in other pieces.

    Args:
        a: the source.
        b: the target.
        match: of the two, by value.
        contents: what the match rests on; it tells which pairs hold equal bytes as they lie.

    Raises:
        RefusedError: the elements are equal and no known change of layout gives their order.
    """
    from ckptkit.compare import Tensor, Tolerance, Workspace
    from ckptkit.differences import find_rearrangement

    found: dict[str, Op] = {}
    work = Workspace()
    for pair in match.pairs:
        if _lies_alike(pair, a, b, contents):
            continue
        source = tuple(map(a.find, pair.source))
        target = tuple(map(b.find, pair.target))
        rearranged = find_rearrangement(
            [Tensor(a.source, each.stored) for each in source],
            [Tensor(b.source, each.stored) for each in target],
            Tolerance(),
            work,
        )
        if isinstance(rearranged, str):
            raise RefusedError(rearranged, path=b.path, key=", ".join(pair.target), found=", ".join(pair.source))
        given = [Read(variable.name, variable.shape, variable.dtype) for variable in source]
        if rearranged.backwards:
            made = _parts(rearranged.transform, given[0], [variable.shape for variable in target])
        else:
            made = [_whole(rearranged.transform, given)]
        found.update(zip(pair.target, made, strict=True))
    return found


def _lies_alike(pair: Pair, a: Checkpoint, b: Checkpoint, contents: FoundContents) -> bool:
    if len(pair.source) != 1 or len(pair.target) != 1:
        return False
    one, other = pair.source[0], pair.target[0]
    if (one, other) in contents.proven:
        return True
    ordered = contents.prints_a[one].ordered == contents.prints_b[other].ordered
    return ordered and a.find(one).shape == b.find(other).shape


def _whole(transform: Transform, parts: Sequence[Op]) -> Op:
    """What `transform.apply` does to `parts`."""
    ordered = tuple(parts[number] for number in transform.parts)
    op: Op = ordered[0] if transform.joined is None else Concat(ordered, transform.joined)
    if transform.permutation is not None:
        op = Transpose(op, transform.permutation)
    if transform.blocks is not None:
        op = PermuteBlocks(op, *transform.blocks)
    return _reshaped(_flipped(op, transform), transform.shape)


def _parts(transform: Transform, whole: Op, shapes: Sequence[tuple[int, ...]]) -> list[Op]:
    """The several parts, of `shapes`, that `transform` joins into `whole`."""
    axis = transform.joined or 0
    sizes = [shape[axis] for shape in shapes]
    joined = (*shapes[0][:axis], sum(sizes), *shapes[0][axis + 1 :])
    turns = transform.permutation or tuple(range(len(joined)))
    op = _flipped(_reshaped(whole, tuple(joined[turn] for turn in turns)), transform)
    if transform.blocks is not None:
        op = PermuteBlocks(op, transform.blocks[0], _inverse(transform.blocks[1]))
    if transform.permutation is not None:
        op = Transpose(op, _inverse(transform.permutation))
    starts = list(itertools.accumulate((sizes[number] for number in transform.parts), initial=0))
    places = _inverse(transform.parts)
    return [Slice(op, axis, starts[place], starts[place] + size) for place, size in zip(places, sizes, strict=True)]


def _flipped(op: Op, transform: Transform) -> Op:
    """`op` turned round along the axes that `transform` flips, which are short: every entry is a block."""
    shape = infer_spec(op).shape
    for axis in transform.flips:
        op = PermuteBlocks(op, axis, tuple(reversed(range(shape[axis]))))
    return op


def _reshaped(op: Op, shape: tuple[int, ...]) -> Op:
    return op if infer_spec(op).shape == shape else Reshape(op, shape)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))
