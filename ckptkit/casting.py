"""What the casts of a plan do to the numbers: which become infinite or zero, counted before anything is written.

Rounding is what a narrower dtype means and is said by the plan. A variance of 200,000 that becomes infinite, or an
epsilon that becomes nothing, is another function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import RefusedError
from ckptkit.execute import evaluate
from ckptkit.plans import Cast, Op, Plan, infer_spec, is_lossless, operands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from ckptkit.model import Checkpoint

# Variables named in a message; the rest are counted.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Loss:
    """What one cast takes from a variable.

    Attributes:
        target: the variable of the target.
        before: dtype of the numbers.
        after: dtype that they are cast to.
        infinite: how many are finite before and not after.
        zeros: how many are zero after and not before.
        size: how many there are.
    """

    target: str
    before: str
    after: str
    infinite: int
    zeros: int
    size: int

    def __str__(self) -> str:
        """`bn/moving_variance: 1 of 4 numbers infinite as float16`."""
        counts = ((self.infinite, "infinite"), (self.zeros, "zero"))
        found = " and ".join(f"{count:,} {word}" for count, word in counts if count)
        return f"{self.target}: of {self.size:,} numbers {found} as {self.after}"


def find_losses(plan: Plan, source: Checkpoint, template: Checkpoint | None = None) -> tuple[Loss, ...]:
    """The casts of `plan` that make numbers of `source` infinite or zero, in the order of the plan.

    Reads the variables that are cast to a narrower range, and no others.

    Args:
        plan: proven against `source`.
        source: open.
        template: open; needed where the plan takes values of it.

    Raises:
        CkptkitError: a variable cannot be read.
    """
    found = []
    for step in plan.steps:
        for cast in _casts(step.op):
            before = infer_spec(cast.of).dtype
            if is_lossless(before, cast.dtype):
                continue
            values = evaluate(
                cast.of,
                lambda name: source[name].read(),
                None if template is None else lambda name: template[name].read(),
            )
            infinite, zeros = _count(values, dtypes.numpy_dtype(cast.dtype))
            if infinite or zeros:
                found.append(Loss(step.target.name, before, cast.dtype, infinite, zeros, values.size))
    return tuple(found)


def refuse_losses(losses: Sequence[Loss]) -> None:
    """Raise `RefusedError` where there are any."""
    if losses:
        more = f" and {len(losses) - _SHOWN} more variables" if len(losses) > _SHOWN else ""
        raise RefusedError(
            f"casts would lose numbers: {'; '.join(map(str, losses[:_SHOWN]))}{more}",
            hint="Take a template of a wider dtype, or go on with --allow-lossy.",
        )


def _casts(op: Op) -> Iterator[Cast]:
    """The casts in an expression."""
    if isinstance(op, Cast):
        yield op
    for part in operands(op):
        yield from _casts(part)


def _count(values: np.ndarray, dtype: np.dtype) -> tuple[int, int]:
    """How many of `values` become infinite (or out of range) and how many zero as `dtype`."""
    import numpy as np

    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
        zeros = np.count_nonzero(values) - np.count_nonzero(cast.astype(values.dtype, copy=False))
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            # NumPy gives what does not fit any value at all.
            outside = np.count_nonzero((values < limits.min) | (values > limits.max) | (values != values))
            return int(outside), max(0, int(zeros))
        infinite = np.count_nonzero(_finite(values)) - np.count_nonzero(_finite(cast))
    return int(infinite), max(0, int(zeros))


def _finite(values: np.ndarray) -> np.ndarray:
    import numpy as np

    finite: np.ndarray = np.isfinite(values)
    return finite
