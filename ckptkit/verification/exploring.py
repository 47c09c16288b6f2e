"""Samples until the outputs follow every weight, or until more samples bring nothing more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ckptkit.verification.coverage import (
    Coverage,
    Reach,
    ValueCheck,
    ValuePair,
    equal_values,
    judge,
    usual_size,
)
from ckptkit.verification.numbers import is_floating

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner

    Arrays = Sequence[np.ndarray]

# More batches are drawn while they reach more, up to so many, and to this multiple of the time that was needed before.
MOST_BATCHES = 16
_PATIENCE = 2
_TIMES = 1.0
_LEAST_SECONDS = 2.0

# What is jittered where no gradient tells: by so much, at so many places along the first axis, so many variables at most.
_JITTER = 0.01
_PLACES = 4
_MOST_PROBED = 16


class Explorer:
    """Finds out what the compared outputs follow, on both sides."""

    def __init__(
        self,
        source: Runner,
        target: Runner,
        factors: tuple[Sequence[np.ndarray | None], Sequence[np.ndarray | None]],
        tolerance: float,
        check_values: ValueCheck | None,
        spent: float,
    ) -> None:
        """Begin.

        Args:
            source: the reference.
            target: what is verified.
            factors: of the outputs of (source, destination), of one batch; see `Runner.gradients`.
            tolerance: of the sum of outputs times factors.
            check_values: compares stored values; None where there is no way to.
            spent: seconds that the comparison took so far.
        """
        self._source, self._target = source, Reach(target)
        self._names = source.names()
        self._ours: Reach | None = None
        self._factors = factors
        self._tolerance = tolerance
        self._check_values = check_values
        self._pairs: Sequence[ValuePair] | None = by_own_names(source, self._target)
        self._seconds = max(_LEAST_SECONDS, _TIMES * spent)

    def add(self, ours: Arrays, theirs: Arrays) -> bool:
        """Take the gradients on a batch; whether they reach what none reached before.

        The source's only where values do not settle it: with weights that are equal it follows its own as the
        destination follows its.
        """
        more = bool(self._target.open()) and self._target.add(theirs, self._factors[1], self._tolerance)
        if self._ours is None and (self._pairs is None or not all(pair.equal for pair in self._pairs)):
            self._ours = Reach(self._source)
        if self._ours is not None and self._ours.open():
            more = self._ours.add(ours, self._factors[0], self._tolerance) or more
        return more

    def coverage(self) -> Coverage:
        """What is reached so far, values of the rest compared."""
        open_ = self._target.open() or (self._ours is not None and self._ours.open())
        if self._pairs is None and open_ and self._check_values is not None:
            self._pairs = self._check_values(self._source, self._target.runner)
        return judge(self._ours, self._target, self._pairs or (), self._names)

    def draw_more(self, draw: Callable[[], tuple[Arrays, Arrays]]) -> Coverage:
        """More batches, each of them run and compared by `draw`, while something is untested and they reach more."""
        found, idle, begun = self.coverage(), 0, time.monotonic()
        for _ in range(MOST_BATCHES):
            if not found.untested or idle == _PATIENCE or time.monotonic() - begun > self._seconds:
                break
            idle = 0 if self.add(*draw()) else idle + 1
            found = self.coverage()
        return found

    def probe(self, found: Coverage, arrays: Arrays, moves: Callable[[Arrays], bool]) -> Coverage:
        """Jitter variables of the destination that no gradient reaches and no value settles, and see what moves.

        Args:
            found: what is known.
            arrays: one batch.
            moves: whether outputs of the destination differ beyond their tolerance from those without jitter.
        """
        target = self._target
        names = target.runner.names()
        wanted = {v.name for v in found.untested if v.side == "destination" and not v.reached}
        numbers = [n for n in target.open() if names[n] in wanted and is_floating(target.weights[n])][:_MOST_PROBED]
        begun = time.monotonic()
        for number in numbers:
            if time.monotonic() - begun > self._seconds:
                break
            if self._moves_everywhere(number, arrays, moves):
                target.settle(number)
        return self.coverage() if numbers else found

    def _moves_everywhere(self, number: int, arrays: Arrays, moves: Callable[[Arrays], bool]) -> bool:
        """Whether outputs move with each of a few parts of a variable."""
        import numpy as np

        target = self._target
        value = target.weights[number]
        size = usual_size(value)
        generator = np.random.default_rng(number)
        parts = np.array_split(np.arange(len(value)), min(_PLACES, len(value))) if value.ndim else [...]
        try:
            for part in parts:
                moved = value.astype(np.float64)
                moved[part] += _JITTER * size * generator.choice([-1.0, 1.0], moved[part].shape)
                target.runner.assign(
                    [*target.weights[:number], moved.astype(value.dtype), *target.weights[number + 1 :]]
                )
                if not moves(arrays):
                    return False
        finally:
            target.runner.assign(target.weights)
        return True


_COUNTER = re.compile(r"_\d+(?=/|$)")


def by_own_names(source: Runner, target: Reach) -> list[ValuePair] | None:
    """Sides that call their variables alike, save for counters, compared in order; None for any others."""
    names = [[_COUNTER.sub("", name) for name in side.names()] for side in (source, target.runner)]
    if names[0] != names[1]:
        return None
    ours, theirs = source.weights(), target.weights
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(ours, theirs, strict=True)):
        return None
    return [
        ValuePair((number,), number, equal_values(a, b)) for number, (a, b) in enumerate(zip(ours, theirs, strict=True))
    ]
