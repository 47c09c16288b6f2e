"""The layout notation of `rows` as data: parsing it, and solving its dimensions from shapes.

Everything that ckptkit derives from a row goes through here: what a layer's dimensions are, whether a row fits at all,
and (in `ckptkit.planner`) which operations lead from one row to another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Shape = tuple[int, ...]

UNITS = "1.."
REST = "..."


@dataclass(frozen=True, slots=True)
class Gate:
    """One block of a gate axis: its letter, whether it is stored negated, whether `forget_bias` is added when run."""

    letter: str
    negated: bool = False
    raised: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """What an axis holds for one role: a block per gate (or just one) of the product of `dims`; no dims is size 1.

    `turned` is for an axis that lies the other way round, `second` for the second one of its letter in the reference.
    """

    gates: tuple[Gate, ...]
    dims: tuple[str, ...]
    turned: bool = False
    second: bool = False

    def size(self, dims: Mapping[str, int]) -> int:
        """Number of elements."""
        return max(1, len(self.gates)) * self.block(dims)

    def block(self, dims: Mapping[str, int]) -> int:
        """Number of elements of one block."""
        return math.prod(dims[name] for name in self.dims)


@dataclass(frozen=True, slots=True)
class Axis:
    """One word of a layout: a piece for all roles, or one piece for each; `word` is `1..` or `...` for those two."""

    word: str
    pieces: tuple[Piece, ...]

    @property
    def open(self) -> bool:
        """Whether it stands for any number of axes."""
        return self.word in (UNITS, REST)


@dataclass(frozen=True, slots=True)
class Layout:
    """A parsed layout.

    Attributes:
        axes: in storage order.
        filled: after `@`: the order in which each gate's block is filled, `*` standing for the inside of the gate axis;
            empty when it is that of the axes.
    """

    axes: tuple[Axis, ...]
    filled: tuple[str, ...] = ()


@cache
def parse_layout(text: str) -> Layout:
    """A layout in the notation of `rows`.

    Raises:
        ValueError: it is not in that notation (a mistake in a table).
    """
    words, _, filled = text.partition("@")
    return Layout(tuple(_parse_axis(word) for word in words.split()), tuple(filled.split()))


def _parse_axis(word: str) -> Axis:
    if word in (UNITS, REST):
        return Axis(word, ())
    return Axis(word, tuple(_parse_piece(piece) for piece in word.split("+")))


def _parse_piece(text: str) -> Piece:
    gates, star, product = text.rpartition("*")
    dims = tuple(name for name in product.removeprefix("~").removesuffix("'").split(".") if name != "1")
    if not all(len(name) == 1 and name.isupper() for name in dims) or bool(star) != bool(gates):
        raise ValueError(f"not a layout: {text!r}")
    return Piece(tuple(_parse_gates(gates)), dims, product.startswith("~"), product.endswith("'"))


def _parse_gates(text: str) -> Iterator[Gate]:
    negated, letter = False, ""
    for character in f"{text}.":
        if letter and character == "^":
            yield Gate(letter, negated, raised=True)
            negated, letter = False, ""
            continue
        if letter:
            yield Gate(letter, negated)
            negated, letter = False, ""
        if character == "-":
            negated = True
        elif character.islower():
            letter = character
        elif character != ".":
            raise ValueError(f"not gates: {text!r}")


def align(layout: Layout, shape: Shape) -> tuple[tuple[Axis, Shape], ...] | None:
    """Which axes of `shape` each word stands for, or None where their number or the unit axes do not fit."""
    spare = len(shape) - sum(not axis.open for axis in layout.axes)
    places = [index for index, axis in enumerate(layout.axes) if axis.open]
    if spare < 0 or (spare and not places):
        return None
    for first in range(spare, -1, -1) if len(places) > 1 else (spare,):
        counts = dict(zip(places, (first, spare - first), strict=False))
        at, aligned = 0, []
        for index, axis in enumerate(layout.axes):
            taken = shape[at : at + counts.get(index, 0 if axis.open else 1)]
            at += len(taken)
            if axis.word == UNITS and math.prod(taken) != 1:
                break
            aligned.append((axis, taken))
        else:
            return tuple(aligned)
    return None


def solve(pairs: Iterable[tuple[str, Shape]], where: Iterable[tuple[str, str]] = ()) -> dict[str, int] | None:
    """The one choice of dimensions that gives every layout its shape, or None.

    Args:
        pairs: (layout, shape) of each variable.
        where: (dimension, product) as in `Row.where`.
    """
    equations: list[tuple[tuple[Piece, ...], int]] = []
    for text, shape in pairs:
        aligned = align(parse_layout(text), shape)
        if aligned is None:
            return None
        equations += [(axis.pieces, sizes[0]) for axis, sizes in aligned if not axis.open]
    dims: dict[str, int] = {}
    while equations:
        left = [equation for equation in equations if not _bind(*equation, dims)]
        if len(left) == len(equations):
            break
        equations = left
    for name, product in where:
        size = math.prod(1 if factor == "1" else dims.get(factor, 0) for factor in product.split("."))
        if dims.setdefault(name, size) != size:
            return None
    return None if equations or any(size <= 0 for size in dims.values()) else dims


def _bind(pieces: tuple[Piece, ...], size: int, dims: dict[str, int]) -> bool:
    """Take one equation into account; False while it still has more than one unknown.

    A contradiction is recorded as a negative dimension.
    """
    unknown = {name for piece in pieces for name in piece.dims if name not in dims}
    if len(unknown) > 1:
        return False
    name = unknown.pop() if unknown else None
    rest, factor = size, 0
    for piece in pieces:
        known = max(1, len(piece.gates)) * math.prod(dims[dim] for dim in piece.dims if dim != name)
        if name in piece.dims:
            factor += known
        else:
            rest -= known
    if name is None:
        if rest:
            dims["contradiction"] = -1
    elif factor and rest >= 0 and rest % factor == 0:
        dims[name] = rest // factor
    else:
        dims[name] = -1
    return True
