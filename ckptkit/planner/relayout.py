"""From one row to another: the expression that gives a target variable out of a source layer's variables.

Both rows describe their tensors in the same letters, those of the reference. What a tensor holds of one role is a
*slab*; a slab is sliced out of the source's tensor, its gates are put in the target's order, its axes into the
target's, and what the frameworks do to single gates (negation, an added forget bias) is settled between the two.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from ckptkit.conventions.layout import REST, Shape
from ckptkit.conventions.reference import NEUTRAL, TIED
from ckptkit.errors import RefusedError
from ckptkit.planner.sides import LayerSide, Slab
from ckptkit.plans import (
    AddLowRank,
    AddToBlock,
    Cast,
    Concat,
    Fill,
    NegateBlock,
    Op,
    PermuteBlocks,
    Read,
    Reshape,
    Slice,
    Sum,
    Transpose,
    infer_spec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ckptkit.model import Variable


# Types of a quantized kernel.
_INTEGERS = ("int8", "int4")


class Relayout:
    """Makes expressions for the variables of `target` out of those of `source`."""

    def __init__(self, source: LayerSide, target: LayerSide) -> None:
        self._source = source
        self._target = target
        self._where = {**dict(source.row.where), **dict(target.row.where)}
        self._dims = {**source.form.dims, **target.form.dims}
        factors = [variable for pair in source.adapters.values() for variable in pair]
        self._dtypes = {variable.dtype for variable in (*(slab.variable for slab in source.slabs), *factors)}
        self.filled: list[str] = []
        """Roles that the source does not have, so that their neutral value is used."""
        self.tied: list[str] = []
        """Roles that the source does not have because it uses another one, transposed."""
        self.merged: list[str] = []
        """Variables of the source to which the product of an adapter's factors was added."""

    def op(self, variable: str) -> Op:
        """The value of a target variable, in the source's dtype.

        Raises:
            RefusedError: the source holds nothing for it, or there is no way to lay it so.
        """
        slabs = [slab for slab in self._target.slabs if slab.variable.name == variable]
        same = self._as_it_lies(slabs)
        if same is not None:
            return same
        parts = [self._slab(slab) for slab in slabs]
        joined = next((place for place, (axis, *_) in enumerate(slabs[0].axes) if len(axis.pieces) > 1), None)
        return parts[0] if joined is None else Concat(tuple(parts), joined)

    def _as_it_lies(self, slabs: Sequence[Slab]) -> Op | None:
        """The source's variable itself, where one holds the very same."""
        if self._source.forget_bias != self._target.forget_bias and any(_raised(slab) for slab in slabs):
            return None
        wanted = [(slab.role, slab.layout, slab.variable.shape) for slab in slabs]
        for slab in self._source.slabs:
            held = [other for other in self._source.slabs if other.variable.name == slab.variable.name]
            if [(item.role, item.layout, item.variable.shape) for item in held] == wanted and (
                all(self._source.holds_alone(item) for item in held)
                and all(self._target.holds_alone(item) for item in slabs)
            ):
                return self._read(slab) if slab.variable.name in self._source.adapters else _whole(slab.variable)
        return None

    def _read(self, slab: Slab) -> Op:
        adapter = self._source.adapters.get(slab.variable.name)
        if adapter is None:
            return self._variable(slab.variable)
        if slab.variable.dtype.endswith(_INTEGERS):
            raise RefusedError(
                f"{slab.variable.name} is quantized: its adapter cannot be added to integers",
                hint="Save the model as .weights.h5 or .keras: Keras merges the adapter and quantizes again.",
            )
        self.merged.append(slab.variable.name)
        of, left, right = (self._variable(variable) for variable in (slab.variable, *adapter))
        return AddLowRank(of, left, right, self._source.lora_scale)

    def _variable(self, variable: Variable) -> Op:
        read = _whole(variable)
        # Parts of several dtypes meet in the widest that is at hand: the target's.
        dtype = self._target.slabs[0].variable.dtype
        return Cast(read, dtype) if len(self._dtypes) > 1 and dtype != read.dtype else read

    def _slab(self, slab: Slab) -> Op:
        """The value of one role in one target variable."""
        if any(axis.word == REST for axis, *_ in slab.axes):
            raise RefusedError("no way to lay it so", key=slab.variable.name, expected=list(slab.variable.shape))
        letters: list[str | None] = [gate.letter for gate in slab.gates] or [None]
        if self._is_repeated(slab, letters):
            return self._fill(slab, len(letters), 0.0)
        values = [value for role in slab.role.split("+") for value in self._values(slab, role, letters)]
        if not values:
            role = slab.role.partition("+")[0]
            if role in TIED and (holders := self._source.holders(TIED[role], None)):
                self.tied.append(f"{role} = {TIED[role]}, transposed")
                return Transpose(self._read(holders[0]), (1, 0))
            if role not in NEUTRAL:
                raise RefusedError("the source holds nothing for it", key=slab.variable.name, expected=slab.role)
            self.filled.append(role)
            values = [self._fill(slab, len(letters), NEUTRAL[role])]
        value = values[0] if len(values) == 1 else Sum(tuple(values))
        for place, letter in enumerate(letters):
            added = self.added(slab.role, letter)
            if added and slab.gate_axis is not None:
                value = AddToBlock(value, slab.gate_axis, len(letters), place, added)
        return value

    def _is_repeated(self, slab: Slab, letters: Sequence[str | None]) -> bool:
        """Whether an earlier variable or piece of the target already holds all of it, so that this one adds nothing."""
        holders = self._target.holders(slab.role.partition("+")[0], letters[0])
        return bool(holders) and holders[0] is not slab

    def added(self, role: str, letter: str | None) -> float:
        """What is added to a gate so that both frameworks use the same sum when they run."""
        if letter is None:
            return 0.0
        first = role.partition("+")[0]
        raised = self._source.forget_bias if self._source.raises(first, letter) else 0.0
        return raised - (self._target.forget_bias if self._target.raises(first, letter) else 0.0)

    def _values(self, slab: Slab, role: str, letters: Sequence[str | None]) -> Iterator[Op]:
        """The terms whose sum is `role`, each laid as `slab` is."""
        holders = [self._source.holders(role, letter) for letter in letters]
        for term in range(max(map(len, holders))):
            chosen = [found[term] if term < len(found) else None for found in holders]
            runs: list[Op] = []
            for holder, run in groupby(zip(letters, chosen, strict=True), key=lambda pair: pair[1]):
                gates = [letter for letter, _ in run]
                runs += self._run(slab, holder, gates) if holder else [self._fill(slab, len(gates), 0.0)]
            value = runs[0]
            if len(runs) > 1 and slab.gate_axis is not None:
                value = Concat(tuple(runs), slab.gate_axis)
            for place, (letter, holder) in enumerate(zip(letters, chosen, strict=True)):
                if holder and slab.gate_axis is not None and self._negated(slab, holder, letter):
                    value = NegateBlock(value, slab.gate_axis, len(letters), place)
            yield value

    def _negated(self, slab: Slab, holder: Slab, letter: str | None) -> bool:
        ours, theirs = slab.gate(letter or ""), holder.gate(letter or "")
        return ours is not None and theirs is not None and ours.negated != theirs.negated

    def _run(self, slab: Slab, holder: Slab, letters: Sequence[str | None]) -> list[Op]:
        """Gates that `holder` has, laid as `slab` is; one by one where a block is filled in an order of its own."""
        if len(letters) > 1 and slab.layout.filled != holder.layout.filled:
            return [self._lay(slab, holder, [letter]) for letter in letters]
        return [self._lay(slab, holder, letters)]

    def _lay(self, slab: Slab, holder: Slab, letters: Sequence[str | None]) -> Op:
        value = self._read(holder)
        for place, (_, _, size, offset) in enumerate(holder.axes):
            value = _slice(value, place, offset, offset + size)
        if holder.gate_axis is not None:
            stored = [gate.letter for gate in holder.gates]
            value = _pick_blocks(
                value, holder.gate_axis, len(stored), [stored.index(letter or "") for letter in letters]
            )
        value = self._turn(value, slab, holder)
        shape = slab.shape(len(letters))
        if slab.layout.filled == holder.layout.filled and holder.layout.filled:
            return value
        ours = holder.elements(len(letters), self._dims, self._where)
        wanted = slab.elements(len(letters), self._dims, self._where)
        if sorted(ours) != sorted(wanted):
            raise RefusedError(
                f"no way to lay {holder.variable.name} so",
                key=slab.variable.name,
                expected=list(slab.variable.shape),
                found=list(holder.variable.shape),
            )
        value = _reshape(value, tuple(size for _, size in ours)) if ours != wanted or holder.layout.filled else value
        value = _transpose(value, tuple(ours.index(axis) for axis in wanted)) if ours != wanted else value
        return _reshape(value, shape)

    def _turn(self, value: Op, slab: Slab, holder: Slab) -> Op:
        """Every axis that the two store in opposite directions, turned."""
        directions = {piece.dims: piece.turned for _, piece, _, _ in slab.axes}
        for place, (_, piece, size, _) in enumerate(holder.axes):
            if size > 1 and piece.turned != directions.get(piece.dims, piece.turned):
                value = PermuteBlocks(value, place, tuple(reversed(range(size))))
        return value

    def _fill(self, slab: Slab, gates: int, value: float) -> Op:
        dtype = self._target.slabs[0].variable.dtype if len(self._dtypes) > 1 else next(iter(self._dtypes))
        return Fill(value, slab.shape(gates), dtype)


def _whole(variable: Variable) -> Read:
    return Read(variable.name, variable.shape, variable.dtype)


def _raised(slab: Slab) -> bool:
    return any(gate.raised for gate in slab.gates)


def _slice(of: Op, axis: int, start: int, stop: int) -> Op:
    return of if (start, stop) == (0, infer_spec(of).shape[axis]) else Slice(of, axis, start, stop)


def _reshape(of: Op, shape: Shape) -> Op:
    return of if infer_spec(of).shape == shape else Reshape(of, shape)


def _transpose(of: Op, axes: tuple[int, ...]) -> Op:
    return of if axes == tuple(range(len(axes))) else Transpose(of, axes)


def _pick_blocks(of: Op, axis: int, blocks: int, chosen: Sequence[int]) -> Op:
    """The chosen ones of the `blocks` of `axis`, in that order: a slice where they lie together, then a permutation."""
    block = infer_spec(of).shape[axis] // blocks
    first = min(chosen)
    if sorted(chosen) == list(range(first, first + len(chosen))):
        of = _slice(of, axis, first * block, (first + len(chosen)) * block)
        order = tuple(place - first for place in chosen)
        return of if order == tuple(range(len(order))) else PermuteBlocks(of, axis, order)
    return Concat(tuple(_slice(of, axis, place * block, (place + 1) * block) for place in chosen), axis)
