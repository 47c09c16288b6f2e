"""The plan that leads back: what the target holds, put where it came from."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ckptkit.errors import UnsupportedError
from ckptkit.model import TensorSpec
from ckptkit.plans.document import Plan, Step
from ckptkit.plans.ops import (
    AddLowRank,
    AddToBlock,
    Cast,
    Concat,
    Fill,
    GatherRows,
    NegateBlock,
    Op,
    PermuteBlocks,
    Read,
    Reshape,
    Slice,
    Sum,
    Template,
    Transpose,
    infer_spec,
    is_lossless,
    leaves,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Box = tuple[tuple[int, int], ...]
"""(start, stop) along every axis."""


def inverse(plan: Plan, keys: Mapping[str, str]) -> Plan:
    """The plan from the target of `plan` to its source.

    Args:
        plan: proven.
        keys: canonical name of every source variable that is read -> its native key.

    Returns:
        Steps for the variables that `plan` reads, in the order of reading.

    Raises:
        UnsupportedError: a value cannot be had back: parts were summed, cast with rounding, or never read.
    """
    found: dict[str, dict[Box, Op]] = {}
    specs: dict[str, Read] = {}
    for step in plan.steps:
        value = Read(step.target.name, step.target.shape, step.target.dtype)
        _unwind(step.op, value, found, specs)
    steps = tuple(
        Step(
            TensorSpec(name, specs[name].shape, specs[name].dtype),
            keys[name],
            _assemble(name, tuple((0, size) for size in specs[name].shape), boxes),
            ("inverse",),
        )
        for name, boxes in found.items()
    )
    order = plan.order_source[::-1] if plan.order_source else None
    return Plan(plan.target, plan.source, plan.by, order and (order[0], order[1]), steps)


def _unwind(op: Op, value: Op, found: dict[str, dict[Box, Op]], specs: dict[str, Read]) -> None:
    """Note which part of which source variable `value`, the result of `op`, gives back."""
    match op:
        case Read() | Slice():
            leaf, box = _box(op)
            specs[leaf.variable] = leaf
            found.setdefault(leaf.variable, {}).setdefault(box, value)
        case Fill() | Template():
            pass
        case Concat(parts=parts, axis=axis):
            start = 0
            for part in parts:
                stop = start + infer_spec(part).shape[axis]
                _unwind(part, Slice(value, axis, start, stop) if len(parts) > 1 else value, found, specs)
                start = stop
        case Sum():
            raise UnsupportedError("a sum cannot be taken apart", key=word_of(op))
        case AddLowRank():
            raise UnsupportedError("a merged adapter cannot be taken apart", key=word_of(op))
        case GatherRows(of=of):
            _unwind(of, _gathered_back(op, value), found, specs)
        case _:
            _unwind(op.of, _undo(op, value), found, specs)


def _gathered_back(op: GatherRows, value: Op) -> Op:
    """The rows where they came from; all of them must have gone somewhere."""
    spec = infer_spec(op.of)
    places = {row: place for place, row in enumerate(op.rows) if row is not None}
    if len(places) < spec.shape[0] or (
        len(places) < len(op.rows) and any(isinstance(leaf, Read) for leaf in leaves(op.base))
    ):
        raise UnsupportedError("rows that went nowhere cannot be had back", key=word_of(op))
    whole = Slice(value, 0, 0, spec.shape[0])  # of which no row is kept
    return GatherRows(value, whole, tuple(places[row] for row in range(spec.shape[0])))


def _undo(op: Transpose | Reshape | PermuteBlocks | AddToBlock | NegateBlock | Cast, value: Op) -> Op:
    match op:
        case Transpose(axes=axes):
            return Transpose(value, tuple(axes.index(axis) for axis in range(len(axes))))
        case Reshape(of=of):
            return Reshape(value, infer_spec(of).shape)
        case PermuteBlocks(axis=axis, order=order):
            return PermuteBlocks(value, axis, tuple(order.index(block) for block in range(len(order))))
        case AddToBlock(axis=axis, blocks=blocks, block=block, value=added):
            return AddToBlock(value, axis, blocks, block, -added)
        case NegateBlock(axis=axis, blocks=blocks, block=block):
            return NegateBlock(value, axis, blocks, block)
        case Cast(of=of, dtype=dtype):
            before = infer_spec(of).dtype
            if not is_lossless(before, dtype):
                raise UnsupportedError("a cast that rounds cannot be undone", key=f"{before} to {dtype}")
            return Cast(value, before)


def _box(op: Op) -> tuple[Read, Box]:
    """The leaf below a chain of slices, and the part of it that they take."""
    slices: list[Slice] = []
    while isinstance(op, Slice):
        slices.append(op)
        op = op.of
    if not isinstance(op, Read):
        raise UnsupportedError("a part of a made tensor cannot be put back", key=word_of(op))
    box = [(0, size) for size in op.shape]
    for item in reversed(slices):
        start = box[item.axis][0]
        box[item.axis] = (start + item.start, start + item.stop)
    return op, tuple(box)


def _assemble(name: str, whole: Box, boxes: Mapping[Box, Op]) -> Op:
    """The expression for `whole`, out of boxes that tile it."""
    if whole in boxes:
        return boxes[whole]
    inside = {box: op for box, op in boxes.items() if _within(box, whole)}
    for axis, (start, stop) in enumerate(whole):
        cuts = sorted({box[axis][1] for box in inside} - {stop})
        clean = [cut for cut in cuts if not any(box[axis][0] < cut < box[axis][1] for box in inside)]
        if clean:
            edges = [start, *clean, stop]
            parts = [(*whole[:axis], edge, *whole[axis + 1 :]) for edge in itertools.pairwise(edges)]
            return Concat(tuple(_assemble(name, part, inside) for part in parts), axis)
    raise UnsupportedError("the plan does not read all of it", key=name)


def _within(box: Box, whole: Box) -> bool:
    return all(start <= inner[0] and inner[1] <= stop for inner, (start, stop) in zip(box, whole, strict=True))
