"""The reference layout of a row's parts: that of the Keras 3 row of its kind, or its own where Keras has none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ckptkit.conventions import keras
from ckptkit.conventions.layout import REST, UNITS, Piece, Shape, parse_layout
from ckptkit.model import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.conventions.rows import Native, Row

# What a missing part is in the maths of a layer: a scale of one, everything else nothing.
NEUTRAL: Mapping[str, float] = {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "recurrent_bias": 0.0}

# A part that a layer may use in place of another, transposed: one table for the way in and the way out.
TIED: Mapping[str, str] = {"reverse_embeddings": "embeddings"}

_GATE_ORDER = "ifgozrn"


@dataclass(frozen=True, slots=True)
class _Reference:
    """Axes of a part: pieces, or None for one that is taken as it lies."""

    axes: tuple[Piece, ...] | None
    optional: bool


def infer_parts(row: Row, dims: Mapping[str, int], shapes: Mapping[str, Shape]) -> tuple[Part, ...]:
    """The parts that a layer holds, in the order of its row, with their reference shapes.

    Args:
        row: the reading.
        dims: as `layout.solve` found them.
        shapes: suffix in the row -> shape of the variable; what is absent holds no part.
    """
    references = _references(row)
    parts: dict[str, Part] = {}
    for native in row.natives:
        for spelled in native.roles if native.suffix in shapes else ():
            for role in spelled.split("+"):
                reference = references[role]
                axes = reference.axes
                shape = shapes[native.suffix] if axes is None else tuple(axis.size(dims) for axis in axes)
                parts.setdefault(role, Part(role, shape, reference.optional))
    return tuple(parts.values())


@cache
def _references(row: Row) -> Mapping[str, _Reference]:
    """Role -> its axes, for every role of `row`."""
    own = _of_natives(row.natives)
    letters = _letters(row)
    same_kind = [other for other in keras.KERAS3 if other.kind == row.kind and _letters(other) <= letters]
    same_kind.sort(key=lambda other: other.options != row.options)
    known = _of_natives(same_kind[0].natives) if same_kind else {}
    # A tensor that the row takes as it lies has no symbols to give Keras's axes a size.
    return {role: known.get(role, found) if found.axes is not None else found for role, found in own.items()}


def _letters(row: Row) -> set[str]:
    """The dimensions that a row names."""
    layouts = (parse_layout(native.layout) for native in row.natives)
    found = {name for layout in layouts for axis in layout.axes for piece in axis.pieces for name in piece.dims}
    return found | {name for name, _ in row.where}


def _of_natives(natives: tuple[Native, ...]) -> dict[str, _Reference]:
    found: dict[str, _Reference] = {}
    letters: dict[str, set[str]] = {}
    for native in natives:
        for place, spelled in enumerate(native.roles):
            for role in spelled.split("+"):
                pieces = _pieces(native, place)
                found.setdefault(role, _Reference(pieces, native.optional))
                letters.setdefault(role, set()).update(gate.letter for piece in pieces or () for gate in piece.gates)
    return {role: _Reference(_all_gates(item.axes, letters[role]), item.optional) for role, item in found.items()}


def _pieces(native: Native, place: int) -> tuple[Piece, ...] | None:
    """The axes that belong to the role at `place`, without an axis on which it has a single row of a joined tensor."""
    axes = parse_layout(native.layout).axes
    if any(axis.word == REST for axis in axes):
        return None
    joined = len(native.roles) > 1
    picked = [axis.pieces[place if len(axis.pieces) > 1 else 0] for axis in axes if axis.word != UNITS]
    sums = [len(axis.pieces) > 1 for axis in axes if axis.word != UNITS]
    return tuple(piece for piece, is_sum in zip(picked, sums, strict=True) if piece.dims or not (joined and is_sum))


def _all_gates(axes: tuple[Piece, ...] | None, letters: set[str]) -> tuple[Piece, ...] | None:
    """`axes` with every gate of the role on its gate axis: a row may hold them in several tensors."""
    if axes is None or not letters:
        return axes
    gates = parse_layout(f"{''.join(sorted(letters, key=_GATE_ORDER.index))}*H").axes[0].pieces[0].gates
    return tuple(Piece(gates, piece.dims) if piece.gates else piece for piece in axes)
