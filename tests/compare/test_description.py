"""What one tensor holds, against NumPy and hashlib."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ckptkit.compare import Examination, TensorStatistics, examine
from ckptkit.compare.histogram import Histogram
from tests.compare.memory_source import MemorySource


def look(value: np.ndarray, cut: int | None = None) -> Examination:
    source = MemorySource({"t": value}, cut)
    return examine(source, source.spec("t"), statistics=True, sha256=True)


def stats(value: np.ndarray) -> TensorStatistics:
    found = look(value).statistics
    assert found is not None
    return found


@settings(max_examples=200, deadline=None)
@given(
    npst.arrays(
        np.float64, st.integers(0, 40), elements=st.floats(-1e150, 1e150) | st.sampled_from([math.nan, math.inf])
    )
)
def test_numbers_are_those_of_numpy(value: np.ndarray) -> None:
    found = look(value)
    assert found.sha256 == hashlib.sha256(value.tobytes()).hexdigest()
    finite = value[np.isfinite(value)]
    numbers = found.statistics
    assert numbers.count == value.size
    assert numbers.nan == np.isnan(value).sum()
    assert numbers.inf == np.isinf(value).sum()
    assert numbers.zeros == (value == 0).sum()
    assert numbers.all_equal == (len({item.tobytes() for item in value}) <= 1)
    assert sum(numbers.histogram) == finite.size
    if finite.size:
        scale = float(np.abs(finite).max())
        assert (numbers.minimum, numbers.maximum) == (finite.min(), finite.max())
        assert numbers.mean == pytest.approx(math.fsum(finite) / finite.size, rel=1e-12, abs=scale * 1e-15)
        # Squares of deviations below 2**-537 leave the range of float64, in NumPy too.
        assert numbers.std == pytest.approx(float(finite.std()), rel=1e-12, abs=max(scale * 1e-14, 2.0**-530))
    else:
        assert (numbers.minimum, numbers.mean, numbers.std, numbers.histogram) == (None, None, None, ())


@settings(max_examples=200, deadline=None)
@given(npst.arrays(np.float64, st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_histogram_bins_hold_what_they_say(value: np.ndarray) -> None:
    found = stats(value)
    assert len(found.histogram) == 16
    assert sum(found.histogram) == value.size
    if np.abs(value).max() > 1e307:
        return  # where a bin may begin beyond float64
    if found.minimum < found.maximum:
        start, width = Fraction(found.bin_start), Fraction(found.bin_width)
        assert math.frexp(found.bin_width)[0] == 0.5
        places = [math.floor((Fraction(float(x)) - start) / width) for x in value]
        assert list(found.histogram) == [places.count(number) for number in range(16)]
        assert places.count(0)
        assert max(places) >= 7 or found.bin_width == 2.0**-1022, "about half of the bins are in use"
    else:
        assert found.histogram == (value.size, *[0] * 15)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([5e-324, -1e-300, 1e308]), min_size=1),
    st.randoms(),
)
def test_histogram_does_not_depend_on_order_or_pieces(values: list[float], random) -> None:
    def fill(order: list[float], step: int) -> tuple:
        histogram = Histogram()
        low, high = math.inf, -math.inf
        with np.errstate(all="ignore"):
            for start in range(0, len(order), step):
                part = np.array(order[start : start + step])
                low, high = min(low, float(part.min())), max(high, float(part.max()))
                histogram.add(part, low, high)
        return histogram.bins(low, high)

    shuffled = random.sample(values, len(values))
    assert fill(values, 1) == fill(shuffled, 1) == fill(values, 3) == fill(values, len(values))


def test_a_large_mean_loses_no_digits_of_the_deviation() -> None:
    value = 1e9 + np.random.default_rng(0).standard_normal(10_000) * 1e-3
    assert stats(value).std == pytest.approx(float(np.std(value - 1e9)), rel=1e-6)


def test_values_near_the_largest_float() -> None:
    found = stats(np.array([1.7e308, -1.7e308, 1.7e308]))
    assert found.std == pytest.approx(1.7e308 * (math.sqrt(8) / 3))
    assert sum(found.histogram) == 3


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint64", "bool", "int64"])
def test_other_dtypes(dtype: str) -> None:
    value = np.array([0, 1, 1, 0, 1]).astype(dtype)
    found = stats(value)
    assert (found.minimum, found.maximum, found.mean, found.zeros) == (0.0, 1.0, 0.6, 2)


def test_bfloat16_and_complex_and_strings() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert stats(np.array([1, 3], ml_dtypes.bfloat16)).mean == 2.0
    assert stats(np.array([3 + 4j, 0], np.complex64)).maximum == 5.0
    found = look(np.array([b"ab", b"c"], dtype=object))
    assert found == Examination(None, hashlib.sha256(b"abc").hexdigest())


def test_constants_have_no_deviation_and_one_bin() -> None:
    found = stats(np.full(1000, 0.1, np.float32))
    assert (found.std, found.all_equal, max(found.histogram)) == (0.0, True, 1000)


@pytest.mark.parametrize("cut", [1, 3, 8, 20])
def test_pieces_do_not_matter(cut: int) -> None:
    value = np.random.default_rng(3).standard_normal(40).astype(np.float32)
    found, whole = look(value, cut), look(value)
    assert found.sha256 == whole.sha256
    assert found.statistics.histogram == whole.statistics.histogram
    assert found.statistics.std == pytest.approx(whole.statistics.std, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shift", [0.0, 1e-3, 50.0])
@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1.0, 1e3, 1e30])
def test_narrow_floats_are_measured_as_the_same_numbers_in_float64(dtype: str, shift: float, scale: float) -> None:
    rng = np.random.default_rng(9)
    with np.errstate(over="ignore"):  # float16 ends at 65504
        value = ((rng.standard_normal(70_003) + shift) * scale).astype(dtype)
    value[[5, 70_002]] = 0, -np.finfo(dtype).smallest_subnormal  # the second one is the last of an odd number
    value[rng.integers(0, value.size, 50)] = np.nan
    found, wide = stats(value), stats(value.astype(np.float64))
    assert replace(found, mean=0.0, std=0.0) == replace(wide, mean=0.0, std=0.0)
    finite = value[np.isfinite(value)].astype(np.float64)
    assert sum(found.histogram) == finite.size
    assert found.mean == pytest.approx(math.fsum(finite) / finite.size, rel=1e-12, abs=np.abs(finite).max() * 1e-15)
    assert found.std == pytest.approx(float(finite.std()), rel=1e-12)


def test_a_large_mean_loses_no_digits_of_a_long_float32_tensor() -> None:
    value = (1000 + np.random.default_rng(4).standard_normal(200_000)).astype(np.float32)
    assert stats(value).std == pytest.approx(float(np.std(value.astype(np.float64) - 1000)), rel=1e-12)
