"""Comparing what two models put out, and how much of a difference rounding alone explains.

The noise floor is measured: the source model runs again with its weights and inputs moved by one unit in the last place
of the working precision, and the largest change of each output is the floor. The tolerance is a stated multiple of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ckptkit.verification.result import OutputComparison
from ckptkit.verification.state import ALIGNMENT

if TYPE_CHECKING:
    import numpy as np

# Two frameworks sum the same products in other orders and approximate tanh and exp by other polynomials; each costs about
# what moving the operands by one unit does. Four of them stay far below any wrong gate, epsilon or swapped layer.
FACTOR = 4.0
# One draw of signs can cancel; the largest of a few does not.
DRAWS = 3

# Elements jittered at a time, so that what is computed on the way stays in a core's cache.
_BLOCK = 1 << 14

# A value times this has more than half and less than one and a half units in the value's last place, or just one and a half
# at a power of two, where the unit below is half as large: added or subtracted, it rounds to one whole unit.
_NEARLY_ONE = 0.75 * (1 + 2.0**-22)

_FEWEST_CLASSES = 3


def jittered(
    arrays: Sequence[np.ndarray],
    generator: np.random.Generator,
    ulps: int = 1,
    *,
    into: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Each floating array moved by `ulps` units in the last place, up or down by chance; others as they are.

    Args:
        arrays: what to move; not written to.
        generator: the chance.
        ulps: how far.
        into: what an earlier call gave for the same arrays and is needed no longer: its memory is taken where it can be.
    """
    import numpy as np

    chances: dict[str, np.ndarray] = {}
    moved = []
    for number, array in enumerate(arrays):
        if not is_floating(array):
            moved.append(array)
        elif ulps == 1 and array.dtype in (np.float32, np.float64):
            name = array.dtype.name
            if name not in chances:
                step = _NEARLY_ONE * float(np.finfo(array.dtype).eps)
                chances[name] = generator.choice(np.array([-step, step], array.dtype), 2 * _BLOCK)
            memory = _aligned(array.size, array.dtype) if into is None else into[number].reshape(-1)
            moved.append(_moved_fast(array, generator, chances[name], memory))
        else:
            moved.append(_moved(array, generator, ulps))
    return moved


def is_floating(array: np.ndarray) -> bool:
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


def _moved_fast(
    array: np.ndarray, generator: np.random.Generator, chances: np.ndarray, memory: np.ndarray
) -> np.ndarray:
    """As `_moved` by one unit, in two operations an element; numbers too small to have all their bits stay.

    Args:
        array: of float32 or float64.
        generator: says for each block where in `chances` it begins.
        chances: twice as many as a block has elements, each what a value is multiplied by to get its step.
        memory: where the result goes, flat.
    """
    import numpy as np

    flat = array.reshape(-1)
    begin = generator.integers(0, _BLOCK, -(-flat.size // _BLOCK)).tolist()
    with np.errstate(invalid="ignore", over="ignore"):
        for number, first in enumerate(begin):
            block = flat[number * _BLOCK : (number + 1) * _BLOCK]
            out = memory[number * _BLOCK : (number + 1) * _BLOCK]
            np.multiply(block, chances[first : first + block.size], out=out)
            np.add(block, out, out=out)
    return memory.reshape(array.shape)


def _aligned(size: int, dtype: np.dtype[Any]) -> np.ndarray:
    """New memory that a framework can take over as it is."""
    import numpy as np

    raw = np.empty(size * dtype.itemsize + ALIGNMENT, np.uint8)
    begin = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[begin : begin + size * dtype.itemsize].view(dtype)


def noise_floor(
    run: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[np.ndarray]],
    weights: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    *,
    seed: int,
    ulps: int = 1,
    limits: Sequence[bool] = (),
) -> list[float]:
    """Largest absolute change of each output when weights and inputs are jittered.

    Args:
        run: (weights, inputs) -> outputs.
        weights: the model's own.
        inputs: one batch.
        outputs: what the model gives for it unjittered.
        seed: of the jitter.
        ulps: how far each value moves, in units of its last place.
        limits: which inputs are indices, and stay as they are even where they are floats; none if empty.

    Returns:
        One floor per output: at least one unit in the last place of its largest value, since no two computations agree
        better than that but by chance.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    floors = [last_place(output) for output in outputs]
    moved_weights = None
    for _ in range(DRAWS):
        nudged = jittered(inputs, generator, ulps)
        if limits:
            nudged = [old if fixed else new for old, new, fixed in zip(inputs, nudged, limits, strict=True)]
        moved_weights = jittered(weights, generator, ulps, into=moved_weights)
        moved = run(moved_weights, nudged)
        floors = [
            max(floor, largest_difference(output, other))
            for floor, output, other in zip(floors, outputs, moved, strict=True)
        ]
    return floors


def last_place(output: np.ndarray) -> float:
    """One unit in the last place of the largest finite value; 0 where nothing rounds."""
    import numpy as np

    if not is_floating(output) or not output.size:
        return 0.0
    finite = output[np.isfinite(output)]
    return float(np.spacing(np.abs(finite).max())) if finite.size else 0.0


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest absolute difference of two arrays of real or complex numbers of one shape; NaN and infinities count as 0."""
    import numpy as np

    if not (is_floating(a) or a.dtype.kind == "c") or not a.size:
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
    if not (is_floating(source) or source.dtype.kind in "ciub"):
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
    # Not by BLAS, whose threads would have to be woken for one product of two vectors.
    lengths = math.sqrt(_product(a, a)) * math.sqrt(_product(b, b))
    if not lengths or not math.isfinite(lengths):
        return None
    return _product(a, b) / lengths


def _product(a: np.ndarray, b: np.ndarray) -> float:
    """The real part of the inner product of all elements."""
    import numpy as np

    return float(np.einsum("i,i", a.ravel().conj(), b.ravel()).real)


def _top1(a: np.ndarray, b: np.ndarray) -> float | None:
    """Share of rows whose largest element is at the same place; None where rows do not look like scores."""
    import numpy as np

    if a.ndim != 2 or a.shape[1] < _FEWEST_CLASSES or a.dtype.kind == "c" or np.isnan(a).any() or np.isnan(b).any():
        return None
    return float(np.mean(a.argmax(axis=1) == b.argmax(axis=1)))
