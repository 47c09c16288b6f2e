"""Which outputs of two models belong together: one against one, or one model against the towers of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import ModelError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class OutputPart:
    """A part of one output.

    Attributes:
        output: its index.
        start: first column of the last axis; None for the whole output.
        stop: one past the last column.
    """

    output: int
    start: int | None = None
    stop: int | None = None

    def of(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The values of this part."""
        whole = outputs[self.output]
        return whole if self.start is None else whole[..., self.start : self.stop]

    def named(self, names: Sequence[str]) -> str:
        """`concatenate [:, 0:5]`."""
        name = names[self.output]
        return name if self.start is None else f"{name} [:, {self.start}:{self.stop}]"


@dataclass(frozen=True, slots=True)
class OutputPairing:
    """Pairs of (source part, destination part) to compare.

    Attributes:
        pairs: what is compared with what.
        towers: the parts that should equal each other, on the side that has several; empty when there is one tower.
        towers_of: `source` or `destination`; which side `towers` are of.
        note: what was assumed, in words; "" when nothing was.
    """

    pairs: tuple[tuple[OutputPart, OutputPart], ...]
    towers: tuple[OutputPart, ...] = ()
    towers_of: str = "destination"
    note: str = ""


def pair_outputs(source: Sequence[np.ndarray], target: Sequence[np.ndarray]) -> OutputPairing:
    """Pair the outputs of two models that saw the same samples.

    Equal numbers and shapes pair in order, or, where the shapes are all distinct, by shape. One output against several of
    its shape, or against one that is a whole number of times as wide, is one model against towers.

    Raises:
        ModelError: the outputs fit in no such way.
    """
    a, b = [value.shape for value in source], [value.shape for value in target]
    if a == b:
        return OutputPairing(tuple((OutputPart(i), OutputPart(i)) for i in range(len(a))))
    if len(set(a)) == len(a) and sorted(a) == sorted(b):
        return OutputPairing(
            tuple((OutputPart(i), OutputPart(b.index(shape))) for i, shape in enumerate(a)),
            note="outputs in another order",
        )
    if len(a) == 1 and (parts := _towers(a[0], b)):
        return OutputPairing(tuple((OutputPart(0), part) for part in parts), parts, "destination")
    if len(b) == 1 and (parts := _towers(b[0], a)):
        return OutputPairing(tuple((part, OutputPart(0)) for part in parts), parts, "source")
    raise ModelError(
        "the outputs of the two models do not fit each other",
        expected=", ".join(map(str, a)),
        found=", ".join(map(str, b)),
        hint="Name the outputs to compare with --src-output and --dst-output.",
    )


def _towers(single: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> tuple[OutputPart, ...]:
    """How outputs of `shapes` are copies of one of shape `single`; empty when they are not."""
    if len(shapes) > 1:
        return tuple(OutputPart(i) for i in range(len(shapes))) if all(shape == single for shape in shapes) else ()
    wide = shapes[0]
    if not single or len(wide) != len(single) or wide[:-1] != single[:-1] or not single[-1]:
        return ()
    count, rest = divmod(wide[-1], single[-1])
    if rest or count < 2:
        return ()
    return tuple(OutputPart(0, i * single[-1], (i + 1) * single[-1]) for i in range(count))
