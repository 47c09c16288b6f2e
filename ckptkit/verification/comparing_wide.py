"""Two half-precision models compared in float32: same stored weights, no rounding to hide behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ckptkit.verification.comparing import compare, joined
from ckptkit.verification.numbers import DRAWS, jittered, largest_difference, last_place
from ckptkit.verification.widen import widen

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.options import Options
    from ckptkit.verification.result import OutputComparison
    from ckptkit.verification.runner import Runner
    from ckptkit.verification.towers import OutputPairing

    Arrays = Sequence[np.ndarray]


def compare_wide(
    source: Runner,
    target: Runner,
    pairing: OutputPairing,
    ours: Sequence[Arrays],
    theirs: Sequence[Arrays],
    half: str,
    options: Options,
) -> tuple[OutputComparison, ...]:
    """Compare the outputs that both sides give when what they compute in `half` is computed in float32.

    The noise floor is measured there too: constants of the frozen graph, among them all weights, and inputs are moved by
    one unit in the last place of float32.

    Raises:
        CannotWiden: see `widen`.
    """
    import numpy as np

    run = _runner(source, half, ours[0])
    other = _runner(target, half, theirs[0])
    given, made = [run(arrays) for arrays in ours], [other(arrays) for arrays in theirs]
    generator = np.random.default_rng(options.seed)
    floors = [last_place(value) for value in given[0]]
    for draw in range(DRAWS):
        moved = _runner(source, half, ours[0], jitter=draw)(jittered(_wide(ours[0], half), generator))
        floors = [max(f, largest_difference(a, b)) for f, a, b in zip(floors, given[0], moved, strict=True)]
    return compare(
        source, target, pairing, joined(given), joined(made), floors, options, f"  ({half} computed in float32)"
    )


def _runner(
    runner: Runner, half: str, arrays: Arrays, *, jitter: int | None = None
) -> Callable[[Arrays], list[np.ndarray]]:
    """What runs a side in float32 on batches of the shapes of `arrays`."""
    import tensorflow as tf

    widened = widen(runner.traced(arrays), half, jitter=jitter)

    def run(batch: Arrays) -> list[np.ndarray]:
        return [value.numpy() for value in widened(*(tf.constant(array) for array in _wide(batch, half)))]

    return run


def _wide(arrays: Arrays, half: str) -> list[np.ndarray]:
    import numpy as np

    return [array.astype(np.float32) if array.dtype.name == half else array for array in arrays]
