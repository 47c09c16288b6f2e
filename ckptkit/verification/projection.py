"""How far outputs move, in units of what would be noticed: random projections, jitter, and when a tolerance is too coarse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ckptkit.verification.numbers import is_floating

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner
    from ckptkit.verification.towers import OutputPairing

    Arrays = Sequence[np.ndarray]

# Above this share of an output's usual size a tolerance lets an error of one per cent in a kernel through.
_TELLS_ONE_PER_CENT = 0.005


def is_coarse(values: np.ndarray, tolerance: float) -> bool:
    """Whether the tolerance of an output is so large that a small error in the weights passes."""
    import numpy as np

    if not is_floating(values):
        return False
    size = float(np.sqrt(np.mean(np.nan_to_num(values.astype(np.float64)) ** 2)))
    return tolerance > _TELLS_ONE_PER_CENT * size


def moved_by(
    runner: Runner, pairing: OutputPairing, arrays: Arrays, tolerances: Sequence[float]
) -> Callable[[Arrays], bool]:
    """What says whether the destination's outputs differ by more than their tolerances from those that it gives now.

    Args:
        runner: the destination.
        pairing: which outputs are compared.
        arrays: one batch.
        tolerances: of each pair.
    """
    import numpy as np

    parts = [theirs for _, theirs in pairing.pairs]
    before = runner.run(arrays)

    def moves(batch: Arrays) -> bool:
        after = runner.run(batch)
        for part, tolerance in zip(parts, tolerances, strict=True):
            a, b = part.of(before), part.of(after)
            if not is_floating(a):
                if not np.array_equal(a, b):
                    return True
            elif (np.abs(a.astype(np.float64) - b.astype(np.float64)) > tolerance).any():
                return True
        return False

    return moves


def random_factors(
    values: Arrays, tolerances: Sequence[float], smallest: float, pairing: OutputPairing, side: int
) -> list[np.ndarray | None]:
    """Random factors for each output of a side, smaller where its tolerance is larger; None where none is compared.

    Args:
        values: the outputs for one batch.
        tolerances: of each pair.
        smallest: of them.
        pairing: which outputs are compared.
        side: 0 for the source, 1 for the destination.
    """
    import numpy as np

    generator = np.random.default_rng(side)
    found: list[np.ndarray | None] = []
    for number, value in enumerate(values):
        own = [t for pair, t in zip(pairing.pairs, tolerances, strict=True) if pair[side].output == number]
        finest = min((t for t in own if t), default=0.0)
        usable = finest and (is_floating(value) or value.dtype.kind == "c")
        drawn = generator.uniform(0.5, 1.5, value.shape) * generator.choice([-1.0, 1.0], value.shape)
        found.append((drawn * (smallest / finest)).astype(np.float32) if usable else None)
    return found
