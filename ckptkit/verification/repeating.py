"""Whether a model is a function of its inputs: run twice, and with other random samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ckptkit.errors import ModelError
from ckptkit.verification.numbers import is_floating, largest_difference, last_place

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner

    Arrays = Sequence[np.ndarray]

# Sums over threads may come out in another order from run to run: a few units in the last place of the largest value, of
# float32 where the output is narrower than what it was computed in.
_UNITS = 4
_RELATIVE = 64 * 2.0**-24

_HINT = (
    "Name a factory whose call draws nothing (a sampled layer's mean), or draws from a SeedGenerator or a "
    "tf.random.Generator, which are fixed on both sides."
)


def check_repeatable(runner: Runner, arrays: Arrays, first: Arrays, second: Arrays) -> None:
    """Raise where two runs on the same inputs, with everything put back in between, disagree beyond rounding.

    Args:
        runner: what ran.
        arrays: on what.
        first: outputs of one run.
        second: outputs of another.

    Raises:
        ModelError: they disagree.
    """
    differing = _differing(runner, first, second)
    if differing is not None:
        drawn = "; it draws random numbers that cannot be fixed" if runner.draws(arrays) else ""
        raise ModelError(
            f"the model is not a function of its inputs: two runs on one batch differ{drawn}", key=runner.name,
            expected="the same outputs", found=differing, hint=_HINT,
        )  # fmt: skip


def samples(runner: Runner, arrays: Arrays, outputs: Arrays) -> tuple[str, ...]:
    """The random draws that the outputs depend on; empty for a model without, or one that only could draw.

    Args:
        runner: what runs.
        arrays: one batch.
        outputs: what it gave for that batch with fixed samples.
    """
    drawn = runner.draws(arrays)
    if not drawn or _differing(runner, outputs, runner.run(arrays, free=True)) is None:
        return ()
    return drawn


def refuse_other_samples(source: Runner, target: Runner) -> None:
    """Raise: the two differ, and not by their weights alone, for they do not draw the same random numbers.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        "the models are not functions of their inputs: they draw random numbers, and not the same ones",
        key=f"{source.name} and {target.name}", hint=_HINT,
    )  # fmt: skip


def _differing(runner: Runner, first: Arrays, second: Arrays) -> str | None:
    """The first output in which two runs differ beyond rounding, and by how much; None where they agree."""
    import numpy as np

    for name, a, b in zip(runner.outputs, first, second, strict=False):
        if a.shape != b.shape:
            return f"{name} of shapes {list(a.shape)} and {list(b.shape)}"
        if not (is_floating(a) or a.dtype.kind == "c"):
            if not np.array_equal(a, b):
                return f"{name} differs"
            continue
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return f"{name}: other elements are NaN or infinite"
        finite = np.abs(a[np.isfinite(a)])
        largest = float(finite.max()) if finite.size else 0.0
        found = largest_difference(a, b)
        if found > max(_UNITS * last_place(a), _RELATIVE * largest):
            return f"{name} differs by {found:.3g}"
    return None
