"""Which weights the comparison of outputs could have caught: a wrong value that moves no output is not proven right.

The gradient of a random projection of the compared outputs says for every element of every variable how far the outputs
follow it, in units of their tolerance. It costs one backward pass for a batch. What no output follows is for the values to
prove (`ValueCheck`); what is neither is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.verification.numbers import is_floating

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner

    Arrays = Sequence[np.ndarray]

# An element counts as tested when replacing it by one of its variable's usual size moves the outputs by a tenth of the
# tolerance: summed over a few wrong elements that is caught, and a gradient that underflows is far below.
_SHARE_OF_TOLERANCE = 0.1

# Values that a conversion rounded are equal up to this share of the largest; half types have 11 and 8 bits.
_ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
_SINGLE = 1e-5

# Elements looked at at a time, so that they are in a core's cache.
_BLOCK = 1 << 14

# Bytes that are compared at a time.
_WORD = 8


@dataclass(frozen=True, slots=True)
class Untested:
    """A variable that the comparison says nothing about, or only about a part of it.

    Attributes:
        side: `source` or `destination`.
        name: the variable, as its framework calls it.
        shape: its dimensions.
        reached: share of its elements (for a table also: of its rows) that the outputs follow.
        differs: whether its value differs from its counterpart's; None where it has none.
    """

    side: str
    name: str
    shape: tuple[int, ...]
    reached: float
    differs: bool | None

    def to_json(self) -> dict[str, object]:
        """An element of `coverage.untested` in `verify --json`."""
        return {
            "side": self.side,
            "name": self.name,
            "shape": list(self.shape),
            "reached": self.reached,
            "differs": self.differs,
        }


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the two models' weights the verdict stands on.

    Attributes:
        weights: number of the variables of (source, destination); counters are none.
        by_outputs: number of the destination's that outputs follow in every element.
        by_value: names of those that outputs do not follow everywhere and whose values are equal.
        untested: what is neither, of either side.
    """

    weights: tuple[int, int]
    by_outputs: int
    by_value: tuple[str, ...] = ()
    untested: tuple[Untested, ...] = ()

    def beside(self, untested: Sequence[Untested], equal: Sequence[str], counts: tuple[int, int]) -> Coverage:
        """The same with weights that no side took: those `untested`, those of equal values, how many of each side."""
        return replace(
            self,
            weights=(self.weights[0] + counts[0], self.weights[1] + counts[1]),
            by_value=(*self.by_value, *equal),
            untested=(*self.untested, *untested),
        )

    def to_json(self) -> dict[str, object]:
        """The field `coverage` of `verify --json`."""
        return {
            "weights": {"source": self.weights[0], "destination": self.weights[1]},
            "by_outputs": self.by_outputs,
            "by_value": list(self.by_value),
            "untested": [variable.to_json() for variable in self.untested],
        }


@dataclass(frozen=True, slots=True)
class ValuePair:
    """A variable of the destination and what it should equal by the names and the conventions of both sides.

    A variable is known by its number among `Runner.weights`, or, where it was read from a file, by its `digest`.

    Attributes:
        source: the variables of the source that it is made of.
        target: the variable of the destination.
        equal: whether it is what they make.
    """

    source: tuple[int | bytes, ...]
    target: int | bytes
    equal: bool


ValueCheck = Callable[["Runner", "Runner"], Sequence[ValuePair]]
"""Pairs the stored values of two sides by what they are called, and compares them."""


def digest(array: np.ndarray) -> bytes:
    """What identifies a value: shape and elements, floats of any width up to 32 bits alike."""
    import numpy as np

    value = np.asarray(array)
    if is_floating(value) and value.dtype.itemsize < 4:
        value = value.astype(np.float32)
    return hashlib.blake2b(repr(value.shape).encode() + np.ascontiguousarray(value).tobytes(), digest_size=16).digest()


def equal_values(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two values are equal up to the rounding of a conversion to the narrower dtype."""
    import numpy as np

    if a.shape != b.shape:
        return False
    if a.dtype == b.dtype and _same_bytes(a, b):
        return True
    floating = is_floating(a) and is_floating(b)
    if a is b or np.array_equal(a, b) or not floating:
        return bool(a is b or np.array_equal(a, b))
    wide, other = a.astype(np.float64), b.astype(np.float64)
    finite = np.abs(wide[np.isfinite(wide)])
    relative = max(_ROUNDING.get(value.dtype.name, _SINGLE) for value in (a, b))
    atol = relative * (float(finite.max()) if finite.size else 0.0)
    return bool(np.isclose(other, wide, rtol=0.0, atol=atol, equal_nan=True).all())


def _same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    import numpy as np

    if a.dtype.hasobject or not (a.flags.c_contiguous and b.flags.c_contiguous):
        return False
    ours, theirs = a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8)
    if ours.size % _WORD == 0:
        ours, theirs = ours.view(np.uint64), theirs.view(np.uint64)
    return all(
        bool((ours[start : start + _BLOCK] == theirs[start : start + _BLOCK]).all())
        for start in range(0, ours.size, _BLOCK)
    )


class Reach:
    """What was found so far of one side: which elements of its variables the outputs follow."""

    def __init__(self, runner: Runner) -> None:
        """Nothing is reached yet.

        Args:
            runner: the side.
        """
        import numpy as np

        self.runner = runner
        self.weights = runner.weights()
        self._masks: list[np.ndarray | None] = [np.zeros(value.shape, bool) for value in self.weights]
        self._sizes: dict[int, float] = {}
        self._shares = [0.0 if value.size else 1.0 for value in self.weights]

    def add(self, arrays: Arrays, factors: Sequence[np.ndarray | None], tolerance: float) -> bool:
        """Take the gradient on one more batch.

        Args:
            arrays: the batch.
            factors: what the outputs are multiplied by; the largest is about 1.
            tolerance: of the projection, in its units.

        Returns:
            Whether it reaches what none before did.
        """
        before = sum(self._shares)
        for number, gradient in enumerate(self.runner.gradients(arrays, factors) or ()):
            mask = self._masks[number]
            if gradient is None or mask is None:
                continue
            least = _SHARE_OF_TOLERANCE * tolerance / self._size(number)
            if _all_above(gradient.reshape(-1), least):
                self.settle(number)
                continue
            self._shares[number] = _mark(mask.reshape(-1), gradient.reshape(-1), least) / mask.size
            if self._shares[number] == 1.0:
                self._masks[number] = None
        return sum(self._shares) > before

    def _size(self, number: int) -> float:
        if number not in self._sizes:
            self._sizes[number] = usual_size(self.weights[number])
        return self._sizes[number]

    def settle(self, number: int) -> None:
        """Count a variable as reached."""
        self._masks[number], self._shares[number] = None, 1.0

    def open(self) -> list[int]:
        """Numbers of the variables that outputs do not follow everywhere."""
        return [number for number in self.counted() if self._shares[number] < 1.0]

    def counted(self) -> list[int]:
        """Numbers of the variables that are weights. A counter is none."""
        return [n for n, value in enumerate(self.weights) if value.size and (value.ndim or is_floating(value))]

    def share(self, number: int) -> float:
        """Share of a variable's elements that outputs follow."""
        return self._shares[number]


def _all_above(gradient: np.ndarray, least: float) -> bool:
    """Whether every element is larger than `least`; NaN is not."""
    import numpy as np

    starts = range(0, gradient.size, _BLOCK)
    return all(bool(np.abs(gradient[start : start + _BLOCK]).min() > least) for start in starts)


def _mark(mask: np.ndarray, gradient: np.ndarray, least: float) -> int:
    """Set where a gradient is larger than `least`; how many are set then.

    NaN, as of a square root at zero, says nothing; the comparison is false for it.
    """
    import numpy as np

    count = 0
    for start in range(0, mask.size, _BLOCK):
        part = mask[start : start + _BLOCK]
        part |= np.abs(gradient[start : start + _BLOCK]) > least
        count += int(np.count_nonzero(part))
    return count


def usual_size(value: np.ndarray) -> float:
    """Root of the mean square of a variable; 1 for one that is all zero."""
    import numpy as np

    flat = value.reshape(-1)
    wide = flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)
    return float(np.linalg.norm(wide)) / float(np.sqrt(max(flat.size, 1))) or 1.0


class _Settled:
    """What the comparison of values says of the variables of one side."""

    def __init__(
        self, side: Reach, pairs: Sequence[ValuePair], keys: Callable[[ValuePair], Sequence[int | bytes]]
    ) -> None:
        self._side = side
        self._unequal = {key for pair in pairs if not pair.equal for key in keys(pair)}
        self._equal = {key for pair in pairs if pair.equal for key in keys(pair)} - self._unequal
        self._by_digest = any(isinstance(key, bytes) for key in self._equal | self._unequal)

    def keys(self, number: int) -> set[int | bytes]:
        return {number, digest(self._side.weights[number])} if self._by_digest else {number}

    def equal(self, number: int) -> bool:
        return bool(self.keys(number) & self._equal)

    def differs(self, number: int) -> bool | None:
        return True if self.keys(number) & self._unequal else None


def judge(source: Reach | None, target: Reach, pairs: Sequence[ValuePair], names: Sequence[str]) -> Coverage:
    """What the outputs reach, what the values settle, and what is left.

    Args:
        source: the reference; None where the values settle all of it.
        target: what is verified.
        pairs: values compared.
        names: of the source's variables.
    """
    theirs = _Settled(target, pairs, lambda pair: (pair.target,))
    by_value, untested, named = [], [], set()
    own = target.runner.names()
    for number in target.open():
        if theirs.equal(number):
            by_value.append(own[number])
            continue
        keys = theirs.keys(number)
        named |= {key for pair in pairs if pair.target in keys for key in pair.source}
        untested.append(_untested("destination", target, own, number, theirs.differs(number)))
    if source is not None:
        ours = _Settled(source, pairs, lambda pair: pair.source)
        for number in source.open():
            if ours.equal(number) or ours.keys(number) & named:
                continue
            untested.append(_untested("source", source, names, number, ours.differs(number)))
    return Coverage(
        (len((source or target).counted()), len(target.counted())),
        len(target.counted()) - len(target.open()),
        tuple(by_value),
        tuple(untested),
    )


def _untested(side: str, reach: Reach, names: Sequence[str], number: int, differs: bool | None) -> Untested:
    return Untested(side, names[number], reach.weights[number].shape, reach.share(number), differs)
