"""A layer under one reading, taken apart into slabs: what each of its variables holds of each role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ckptkit.conventions import LORA_SCALE
from ckptkit.conventions.layout import Axis, Gate, Layout, Piece, Shape, align, parse_layout
from ckptkit.conventions.rows import Native, Row
from ckptkit.errors import RefusedError
from ckptkit.model import Form, Variable

_GATE_AXIS = "*"


@dataclass(frozen=True, slots=True)
class Slab:
    """What one variable holds of one role.

    Attributes:
        variable: the variable.
        role: the part; several joined by `+` where it is their sum.
        axes: (word of the layout, piece of this role, size in storage, offset in storage) per storage axis.
        layout: of the whole variable.
    """

    variable: Variable
    role: str
    axes: tuple[tuple[Axis, Piece, int, int], ...]
    layout: Layout

    @property
    def gate_axis(self) -> int | None:
        """Storage axis of the gates, or None."""
        return next((place for place, (_, piece, _, _) in enumerate(self.axes) if piece.gates), None)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Its gates in storage order; none for a role without."""
        return () if self.gate_axis is None else self.axes[self.gate_axis][1].gates

    def gate(self, letter: str) -> Gate | None:
        """The gate called `letter`, or None."""
        return next((gate for gate in self.gates if gate.letter == letter), None)

    def shape(self, gates: int) -> Shape:
        """Its shape in storage with only so many of its gates."""
        place = self.gate_axis
        sizes = [size for _, _, size, _ in self.axes]
        if place is not None:
            sizes[place] = sizes[place] // len(self.gates) * gates
        return tuple(sizes)

    def elements(self, gates: int, dims: Mapping[str, int], where: Mapping[str, str]) -> list[tuple[str, int]]:
        """(letter, size) of its elementary axes in the order in which memory runs: no units, products taken apart."""
        found: list[tuple[str, int]] = []
        for _, piece, _, _ in self.axes:
            if piece.gates:
                found.append((_GATE_AXIS, gates * piece.block(dims)))
                continue
            for name in piece.dims:
                found += [(factor, dims[factor]) for factor in where.get(name, name).split(".") if factor != "1"]
        if self.layout.filled:
            sizes = dict(found)
            found = [(name, sizes[name]) for name in self.layout.filled]
        second = {name for _, piece, _, _ in self.axes if piece.second for name in piece.dims}
        seen: list[str] = []
        for name, _ in found:
            place = sum(other.startswith(name) for other in seen)
            seen.append(f"{name}{1 - place if name in second else place}")
        return [(name, size) for name, (_, size) in zip(seen, found, strict=True)]


@dataclass(frozen=True, slots=True)
class LayerSide:
    """One layer under one reading.

    Attributes:
        form: the reading.
        row: its row.
        slabs: what its variables hold, in the order of the row.
        forget_bias: what the framework adds to raised gates when it runs.
        adapters: name of a variable -> the factors whose product is added to it when the layer runs.
        lora_scale: by what that product is multiplied.
    """

    form: Form
    row: Row
    slabs: tuple[Slab, ...]
    forget_bias: float
    adapters: Mapping[str, tuple[Variable, Variable]] = field(default_factory=dict)
    lora_scale: float = 1.0

    def holders(self, role: str, letter: str | None) -> list[Slab]:
        """The slabs whose sum is gate `letter` of `role`; of a stored sum of roles, the first one has it all."""
        return [
            slab
            for slab in self.slabs
            if slab.role.partition("+")[0] == role and (letter is None or slab.gate(letter) is not None)
        ]

    def holds_alone(self, slab: Slab) -> bool:
        """Whether no other slab has a share of what `slab` holds."""
        letters: list[str | None] = [gate.letter for gate in slab.gates]
        return all(self.holders(slab.role.partition("+")[0], letter) == [slab] for letter in letters or [None])

    def raises(self, role: str, letter: str) -> bool:
        """Whether the framework adds the forget bias to gate `letter` of `role`, be there a variable for it or not."""
        return any(gate.raised and gate.letter == letter for found, gate in self._row_gates() if found == role)

    def row_gates(self) -> Iterator[tuple[str, str]]:
        """(role, letter) of every gate that the row has a place for, be there a variable for it or not."""
        return ((role, gate.letter) for role, gate in self._row_gates())

    def _row_gates(self) -> Iterator[tuple[str, Gate]]:
        for native in self.row.natives:
            for place, spelled in enumerate(native.roles):
                for axis in parse_layout(native.layout).axes:
                    gates = axis.pieces[place if len(axis.pieces) > 1 else 0].gates if axis.pieces else ()
                    yield from ((role, gate) for role in spelled.split("+") for gate in gates)


def side_of(form: Form, row: Row, variables: Mapping[str, Variable]) -> LayerSide:
    """A layer made ready: `form` is its reading by `row`, `variables` are by canonical name."""
    by_suffix = {native.suffix: native for native in row.natives}
    names = dict(form.natives)
    slabs = [
        slab
        for suffix in by_suffix
        if suffix in names
        for slab in _slabs(by_suffix[suffix], variables[names[suffix]], form.dims)
    ]
    facts = dict(fact.split("=", 1) for fact in form.assumed)
    adapters = {names[of]: (variables[names[a]], variables[names[b]]) for of, a, b in row.adapters}
    return LayerSide(
        form, row, tuple(slabs), float(facts.get("forget_bias", "0")), adapters, float(facts.get(LORA_SCALE, "1"))
    )


def _slabs(native: Native, variable: Variable, dims: Mapping[str, int]) -> Iterator[Slab]:
    layout = parse_layout(native.layout)
    aligned = align(layout, variable.shape)
    if aligned is None:
        raise RefusedError("its shape is not that of the row", key=variable.name, found=list(variable.shape))
    for place, role in enumerate(native.roles):
        axes = []
        for axis, sizes in aligned:
            if axis.open:
                axes += [(axis, Piece((), ()), size, 0) for size in sizes]
            else:
                chosen = place if len(axis.pieces) > 1 else 0
                offset = sum(piece.size(dims) for piece in axis.pieces[:chosen])
                axes.append((axis, axis.pieces[chosen], axis.pieces[chosen].size(dims), offset))
        yield Slab(variable, role, tuple(axes), layout)
