"""Comparing what two models put out, and how much of a difference rounding alone explains.

The noise floor is measured: the source model runs again with its weights and inputs moved by one unit in the last place
of the working precision, and the largest change of each output is the floor. The tolerance is a stated multiple of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ckptkit.verification.result import OutputComparison

if TYPE_CHECKING:
    import numpy as np

# Two frameworks sum the same products in other orders and approximate tanh and exp by other polynomials; each costs about
# what moving the operands by one unit does. Four of them stay far below any wrong gate, epsilon or swapped layer.
FACTOR = 4.0
# One draw of signs can cancel; the largest of a few does not.
DRAWS = 3

# Elements jittered at a time, so that what is computed on the way stays in a core's cache.
_BLOCK = 1 << 16

_FEWEST_CLASSES = 3


def jittered(arrays: Sequence[np.ndarray], generator: np.random.Generator, ulps: int = 1) -> list[np.ndarray]:
    """Each floating array moved by `ulps` units in the last place, up or down by chance; others as they are."""
    return [_moved(array, generator, ulps) if _is_floating(array) else array for array in arrays]


def _is_floating(array: np.ndarray) -> bool:
    """Whether `array` has real numbers; to NumPy bfloat16 and float8 are dtypes of kind `V` with names of their own."""
    return array.dtype.kind == "f" or array.dtype.name.startswith(("bfloat", "float8"))


def _moved(array: np.ndarray, generator: np.random.Generator, ulps: int) -> np.ndarray:
    import numpy as np

    flat = array.reshape(-1)
    moved = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        coins = np.unpackbits(np.frombuffer(generator.bytes(-(-block.size // 8)), np.uint8), count=block.size)
        step = np.spacing(block)  # has the value's sign; chance keeps or turns it
        step *= ulps * (1 - 2 * coins.astype(block.dtype))
        np.add(block, step, out=moved[start : start + _BLOCK])
    return moved.reshape(array.shape)


def noise_floor(
    run: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[np.ndarray]],
    weights: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    *,
    seed: int,
    ulps: int = 1,
) -> list[float]:
    """Largest absolute change of each output when weights and inputs are jittered.

    Args:
        run: (weights, inputs) -> outputs.
        weights: the model's own.
        inputs: one batch.
        outputs: what the model gives for it unjittered.
        seed: of the jitter.
        ulps: how far each value moves, in units of its last place.

    Returns:
        One floor per output: at least one unit in the last place of its largest value, since no two computations agree
        better than that but by chance.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    floors = [_last_place(output) for output in outputs]
    for _ in range(DRAWS):
        moved = run(jittered(weights, generator, ulps), jittered(inputs, generator, ulps))
        floors = [
            max(floor, _largest_difference(output, other))
            for floor, output, other in zip(floors, outputs, moved, strict=True)
        ]
    return floors


def _last_place(output: np.ndarray) -> float:
    import numpy as np

    if not _is_floating(output) or not output.size:
        return 0.0
    finite = output[np.isfinite(output)]
    return float(np.spacing(np.abs(finite).max())) if finite.size else 0.0


def _largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    import numpy as np

    if not (_is_floating(a) or a.dtype.kind == "c") or not a.size:
        return 0.0
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    difference = np.abs(a.astype(wide) - b.astype(wide))
    return float(np.nan_to_num(difference, nan=0.0, posinf=0.0).max())


def compare_output(
    name: str, source: np.ndarray, target: np.ndarray, *, floor: float, atol: float, rtol: float
) -> OutputComparison:
    """`target` against `source`, the reference. NaN equals NaN, as in `numpy.testing.assert_allclose`."""
    import numpy as np

    if source.shape != target.shape:
        return OutputComparison(
            f"{name}: {list(target.shape)}, should be {list(source.shape)}", target.shape, math.nan, (), math.nan,
            math.nan, None, None, floor, atol, rtol, False,
        )  # fmt: skip
    if not (_is_floating(source) or source.dtype.kind in "ciub"):
        same = bool(np.array_equal(source, target))
        return OutputComparison(
            name, source.shape, 0.0 if same else math.inf, (), 0.0, 0.0, None, None, 0.0, 0.0, 0.0, same
        )
    wide = np.complex128 if "c" in (source.dtype.kind, target.dtype.kind) else np.float64
    a, b = source.astype(wide), target.astype(wide)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        both_nan, same = np.isnan(a) & np.isnan(b), a == b  # the second covers equal infinities
        difference = np.where(both_nan | same, 0.0, np.abs(a - b))
        within = (difference == 0) | (difference <= atol + rtol * np.abs(a))  # the first covers rtol × infinity
        relative = np.where(difference == 0, 0.0, difference / np.abs(a))
    if not a.size:
        return OutputComparison(name, a.shape, 0.0, (), 0.0, 0.0, None, None, floor, atol, rtol, True)
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    return OutputComparison(
        name,
        source.shape,
        float(difference.flat[worst]),
        tuple(int(i) for i in np.unravel_index(worst, a.shape)),
        float(np.nan_to_num(relative, nan=np.inf).max()),
        float(np.sqrt(np.mean(difference**2))),
        _cosine(a, b),
        _top1(a, b),
        floor,
        atol,
        rtol,
        bool(within.all()),
    )


def _cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    import numpy as np

    lengths = float(np.linalg.norm(a.ravel()) * np.linalg.norm(b.ravel()))
    if not lengths or not math.isfinite(lengths):
        return None
    return float(np.vdot(a.ravel(), b.ravel()).real / lengths)


def _top1(a: np.ndarray, b: np.ndarray) -> float | None:
    """Share of rows whose largest element is at the same place; None where rows do not look like scores."""
    import numpy as np

    if a.ndim != 2 or a.shape[1] < _FEWEST_CLASSES or a.dtype.kind == "c" or np.isnan(a).any() or np.isnan(b).any():
        return None
    return float(np.mean(a.argmax(axis=1) == b.argmax(axis=1)))
