"""Many small tensors compared together: each has what it has alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ckptkit.compare import (
    SMALL_ELEMENTS,
    Tensor,
    Tolerance,
    Workspace,
    compare_arrays,
    compare_many,
    compare_tensors,
    exact,
)
from ckptkit.compare.small import many_statistics, whole_units
from ckptkit.errors import CkptkitError
from tests.compare.memory_source import MemorySource

RNG = np.random.default_rng(11)
TOLERANCE = Tolerance(atol=1e-3, rtol=0.1)


def tensors() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """name -> (values, reference): dtypes and shapes of all sorts, among them what cannot be done together."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for number, dtype in enumerate(("float32", "float16", "float64", "int8", "bool", "int64", "complex64")):
        for size in (1, 2, 7, SMALL_ELEMENTS, SMALL_ELEMENTS + 1):
            a, b = (RNG.standard_normal((2, size)) * 3).astype(dtype)
            found[f"{number}/{size}"] = a, b
            found[f"{number}/{size}/equal"] = a, a.copy()
    single = found["0/7"][0]
    found["no elements"] = np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)
    found["other shapes"] = single, single.reshape(1, 7)
    found["other dtypes"] = single, single.astype(np.float64)
    found["not a number"] = np.array([np.nan, 1, 2], np.float32), np.array([np.nan, 1, 3], np.float32)
    found["not finite in one"] = np.array([np.inf, 1, 2], np.float32), np.array([5, 1, 3], np.float32)
    found["zeros"] = np.array([0.0, -0.0, 1], np.float32), np.array([-0.0, -0.0, 0], np.float32)
    found["squares overflow"] = np.array([1e200, 2.0]), np.array([-1e200, 2.0])
    found["differences overflow"] = np.array([1.2e154]), np.array([-1.2e154])
    found["equals far apart"] = np.array([1, 9, 0, 9], np.float32), np.array([1, 1, 8, 1], np.float32)
    return found


def sides(named: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[tuple[Tensor, Tensor]]:
    one, other = (MemorySource({name: pair[side] for name, pair in named.items()}) for side in (0, 1))
    return [(Tensor(one, one.spec(name)), Tensor(other, other.spec(name))) for name in named]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_together_they_are_what_they_are_alone() -> None:
    named = tensors()
    pairs = sides(named)
    told: list[int] = []
    together = compare_many(pairs, TOLERANCE, Workspace(), told.append)
    alone = [compare_tensors(*one, *other, TOLERANCE) for one, other in pairs]
    arrays = [compare_arrays(a, b, TOLERANCE) for a, b in named.values()]
    for name, first, second, third in zip(named, together, alone, arrays, strict=True):
        assert first == second == third, name
    backwards = compare_many(pairs[::-1], TOLERANCE, Workspace())
    assert backwards[::-1] == together
    assert sum(told) == sum(a.nbytes + b.nbytes for a, b in named.values() if a.shape == b.shape)


def test_a_neighbour_does_not_matter() -> None:
    a, b = RNG.standard_normal((2, 12))
    whole = many_statistics(a, b, (3, 4, 5), TOLERANCE)
    assert whole == [
        many_statistics(a[part], b[part], (part.stop - part.start,), TOLERANCE)[0]
        for part in (slice(0, 3), slice(3, 7), slice(7, 12))
    ]


def test_what_cannot_be_read_is_said() -> None:
    pairs = sides({"t": (np.zeros(3, np.float32), np.zeros(3, np.float32))})
    broken = MemorySource({})
    with pytest.raises((CkptkitError, KeyError)):
        compare_many([(Tensor(broken, pairs[0][0].spec), pairs[0][1])], TOLERANCE, Workspace())


def test_sums_become_whole_numbers_as_one_by_one() -> None:
    tiny = RNG.standard_normal(50) * 1e-310
    ends = [0.0, -0.0, 5e-324, np.finfo(np.float64).tiny, np.finfo(np.float64).max]
    values = np.concatenate((RNG.standard_normal(500), tiny, ends, 10.0 ** RNG.uniform(-320, 308, 500)))
    assert whole_units(values) == [exact.from_float(value) for value in values.tolist()]


def test_a_change_beyond_float64_counts_as_the_largest() -> None:
    found = compare_arrays(np.array([1e200, -1e200]), np.array([1e-160, 1e-160]), TOLERANCE)
    assert found.statistics is not None
    assert found.statistics.change == np.finfo(np.float64).max


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_roots_of_ratios_are_right_to_the_last_bit_but_one(scale: float) -> None:
    for total, other in (RNG.uniform(0, scale, (200, 2)) ** RNG.uniform(0.1, 1, (200, 2))).tolist():
        for up in (0, 1100):  # a sum of squares may be beyond float64, or below it, and the root is not
            for one, two in ((up, 0), (0, up)):
                ratio = Fraction(total) / Fraction(other) * Fraction(2) ** (one - two)
                found = exact.root_ratio(exact.from_float(total) << one, exact.from_float(other) << two)
                assert abs(Fraction(found) ** 2 / ratio - 1) < 2.0**-50
