"""The operations of a plan: a closed union of frozen expressions, and the spec of their result without data.

An expression is a tree whose leaves are variables of the source, constants, and variables as the template has them. Axes
count from 0; blocks are equal parts of one axis, in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import UsageError
from ckptkit.model import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """A variable of the source, with the shape and dtype it must have."""

    variable: str
    shape: Shape
    dtype: str


@dataclass(frozen=True, slots=True)
class Fill:
    """A tensor of one value."""

    value: float
    shape: Shape
    dtype: str


@dataclass(frozen=True, slots=True)
class Template:
    """A variable of the target as the template has it, with its shape and dtype."""

    variable: str
    shape: Shape
    dtype: str


@dataclass(frozen=True, slots=True)
class Transpose:
    """Axis `k` of the result is axis `axes[k]` of `of`."""

    of: Op
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in C order, in another shape."""

    of: Op
    shape: Shape


@dataclass(frozen=True, slots=True)
class Slice:
    """Positions `start` to `stop` (exclusive) of `axis`."""

    of: Op
    axis: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Concat:
    """The parts one after another along `axis`."""

    parts: tuple[Op, ...]
    axis: int


@dataclass(frozen=True, slots=True)
class PermuteBlocks:
    """`axis` cut into `len(order)` blocks; block `k` of the result is block `order[k]` of `of`."""

    of: Op
    axis: int
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AddToBlock:
    """`value` added to block `block` of the `blocks` of `axis`."""

    of: Op
    axis: int
    blocks: int
    block: int
    value: float


@dataclass(frozen=True, slots=True)
class NegateBlock:
    """Block `block` of the `blocks` of `axis` with its sign changed."""

    of: Op
    axis: int
    blocks: int
    block: int


@dataclass(frozen=True, slots=True)
class Sum:
    """The parts added up, element by element."""

    parts: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class AddLowRank:
    """`of` plus `scale` times the matrix product of `left` and `right`: an adapter, merged.

    `left` has the axes of `of` but the last, and then the rank; `right` has the rank, and then the last axis.
    """

    of: Op
    left: Op
    right: Op
    scale: float


@dataclass(frozen=True, slots=True)
class GatherRows:
    """Row `k` is row `rows[k]` of `of`, or row `k` of `base` where that is None. A row is a position of the first axis."""

    of: Op
    base: Op
    rows: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """The values in another dtype."""

    of: Op
    dtype: str


Op = (
    Read
    | Fill
    | Template
    | Transpose
    | Reshape
    | Slice
    | Concat
    | PermuteBlocks
    | AddToBlock
    | NegateBlock
    | Sum
    | AddLowRank
    | GatherRows
    | Cast
)

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def operands(op: Op) -> tuple[Op, ...]:
    """What `op` is made of; nothing for a leaf."""
    match op:
        case Read() | Fill() | Template():
            return ()
        case Concat(parts=parts) | Sum(parts=parts):
            return parts
        case AddLowRank(of=of, left=left, right=right):
            return of, left, right
        case GatherRows(of=of, base=base):
            return of, base
        case _:
            return (op.of,)


def leaves(op: Op) -> Iterator[Read | Fill | Template]:
    """The leaves of `op`, from left to right."""
    waiting = [op]
    while waiting:
        here = waiting.pop()
        if isinstance(here, (Read, Fill, Template)):
            yield here
        else:
            waiting += reversed(operands(here))


def reads(op: Op) -> tuple[str, ...]:
    """Names of the variables that `op` reads, each once, in order."""
    if isinstance(op, Read):
        return (op.variable,)
    return tuple(dict.fromkeys(leaf.variable for leaf in leaves(op) if isinstance(leaf, Read)))


def map_reads(op: Op, change: Callable[[Read], Op]) -> Op:
    """`op` with `change(read)` in the place of every read."""
    match op:
        case Read():
            return change(op)
        case Fill() | Template():
            return op
        case Concat(parts=parts) | Sum(parts=parts):
            return replace(op, parts=tuple(map_reads(part, change) for part in parts))
        case AddLowRank(of=of, left=left, right=right):
            made = [map_reads(part, change) for part in (of, left, right)]
            return replace(op, of=made[0], left=made[1], right=made[2])
        case GatherRows(of=of, base=base):
            return replace(op, of=map_reads(of, change), base=map_reads(base, change))
        case _:
            return replace(op, of=map_reads(op.of, change))


def replace_reads(op: Op, names: Mapping[str, str]) -> Op:
    """`op` over other variables: every read of a key of `names` becomes one of its value."""
    return map_reads(op, lambda read: replace(read, variable=names.get(read.variable, read.variable)))


def infer_spec(op: Op) -> TensorSpec:
    """Shape and dtype of the result of `op`, without a name.

    Raises:
        UsageError: the operands do not fit; `key` is the word of the operation.
    """
    match op:
        case Read(shape=shape, dtype=dtype) | Fill(shape=shape, dtype=dtype) | Template(shape=shape, dtype=dtype):
            return TensorSpec("", shape, dtype)
        case Cast(of=of, dtype=dtype):
            _need(dtype != "string" and infer_spec(of).dtype != "string", op, "strings are not cast")
            return TensorSpec("", infer_spec(of).shape, dtype)
        case Concat(parts=parts, axis=axis):
            return _infer_concat(op, [infer_spec(part) for part in parts], axis)
        case Sum(parts=parts):
            specs = [infer_spec(part) for part in parts]
            _need(len(set(specs)) == 1, op, "all parts need one shape and dtype")
            return specs[0]
        case AddLowRank(of=of, left=left, right=right):
            return _infer_low_rank(op, infer_spec(of), infer_spec(left), infer_spec(right))
        case GatherRows(of=of, base=base, rows=rows):
            return _infer_rows(op, infer_spec(of), infer_spec(base), rows)
    spec = infer_spec(op.of)
    return TensorSpec("", _unary_shape(op, spec), spec.dtype)


def _unary_shape(op: Transpose | Reshape | Slice | PermuteBlocks | AddToBlock | NegateBlock, spec: TensorSpec) -> Shape:
    shape = spec.shape
    match op:
        case Transpose(axes=axes):
            _need(sorted(axes) == list(range(len(shape))), op, f"{list(axes)} is no order of {len(shape)} axes")
            return tuple(shape[axis] for axis in axes)
        case Reshape(shape=wanted):
            _need(math.prod(wanted) == spec.size, op, f"{list(shape)} does not have the elements of {list(wanted)}")
            return wanted
        case Slice(axis=axis, start=start, stop=stop):
            _need(axis < len(shape) and start <= stop <= shape[axis], op, f"not within {list(shape)}")
            return (*shape[:axis], stop - start, *shape[axis + 1 :])
        case PermuteBlocks(axis=axis, order=order):
            _need(sorted(order) == list(range(len(order))), op, f"{list(order)} is no order of blocks")
            _need_blocks(op, shape, axis, len(order))
        case AddToBlock(axis=axis, blocks=blocks, block=block) | NegateBlock(axis=axis, blocks=blocks, block=block):
            _need_blocks(op, shape, axis, blocks)
            _need(block < blocks, op, f"there is no block {block} of {blocks}")
            _need(spec.dtype in _FLOATS, op, f"not for {spec.dtype}")
    return shape


def _infer_concat(op: Concat, specs: list[TensorSpec], axis: int) -> TensorSpec:
    _need(bool(specs), op, "nothing to join")
    first = specs[0]
    _need(axis < len(first.shape), op, f"there is no axis {axis} in {list(first.shape)}")
    rest = {(spec.shape[:axis], spec.shape[axis + 1 :], len(spec.shape), spec.dtype) for spec in specs}
    _need(len(rest) == 1, op, "the parts differ in another axis or in dtype")
    length = sum(spec.shape[axis] for spec in specs)
    return TensorSpec("", (*first.shape[:axis], length, *first.shape[axis + 1 :]), first.dtype)


def _infer_low_rank(op: AddLowRank, of: TensorSpec, left: TensorSpec, right: TensorSpec) -> TensorSpec:
    _need(
        {of.dtype, left.dtype, right.dtype} <= {of.dtype} & set(_FLOATS), op, "all three need one floating-point dtype"
    )
    _need(bool(of.shape) and bool(left.shape) and len(right.shape) == 2, op, "the right factor is a matrix")
    found = (*left.shape[:-1], right.shape[1])
    _need(left.shape[-1] == right.shape[0], op, f"{list(left.shape)} and {list(right.shape)} have no product")
    _need(found == of.shape, op, f"the product is {list(found)}, not {list(of.shape)}")
    return of


def _infer_rows(op: GatherRows, of: TensorSpec, base: TensorSpec, rows: tuple[int | None, ...]) -> TensorSpec:
    _need(bool(of.shape) and bool(base.shape), op, "a number has no rows")
    fits = (of.shape[1:], of.dtype) == (base.shape[1:], base.dtype)
    _need(fits, op, "rows and those of the base need one shape and dtype")
    _need(len(rows) == base.shape[0], op, f"{len(rows)} rows where the base has {base.shape[0]}")
    _need(all(row is None or 0 <= row < of.shape[0] for row in rows), op, f"a row that is not one of {of.shape[0]}")
    return base


def _need_blocks(op: Op, shape: Shape, axis: int, blocks: int) -> None:
    fits = axis < len(shape) and blocks > 0 and shape[axis] % blocks == 0
    _need(fits, op, f"axis {axis} of {list(shape)} is not {blocks} equal blocks")


def _need(condition: bool, op: Op, problem: str) -> None:
    if not condition:
        raise UsageError(problem, key=word_of(op))


# The word of each operation in a plan file, under which its operand stands.
WORDS: dict[str, type[Op]] = {
    "read": Read,
    "fill": Fill,
    "template": Template,
    "transpose": Transpose,
    "reshape": Reshape,
    "slice": Slice,
    "concat": Concat,
    "permute_blocks": PermuteBlocks,
    "add_to_block": AddToBlock,
    "negate_block": NegateBlock,
    "sum": Sum,
    "add_low_rank": AddLowRank,
    "gather_rows": GatherRows,
    "cast": Cast,
}
_WORD_OF = {kind: word for word, kind in WORDS.items()}


def word_of(op: Op) -> str:
    """What a plan file calls the operation: `permute_blocks`."""
    return _WORD_OF[type(op)]


def is_lossless(source: str, target: str) -> bool:
    """Whether every value of dtype `source` is one of dtype `target`."""
    if source == target:
        return True
    import numpy as np

    if source not in dtypes.BY_NAME or "string" in (source, target):
        return False
    if source == "bfloat16":
        return target in ("float32", "float64")
    if target == "bfloat16":
        return source in ("bool", "int8", "uint8")
    try:
        return bool(np.can_cast(dtypes.numpy_dtype(source), dtypes.numpy_dtype(target), casting="safe"))
    except TypeError:  # a quantised or eight-bit float type that NumPy cannot reason about
        return False
