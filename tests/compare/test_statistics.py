"""Statistics against a plain float64 NumPy computation, and their law: cut anywhere, add up, nothing changes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ckptkit.compare import Statistics, Tolerance, compare_arrays
from ckptkit.errors import UsageError
from tests.compare.memory_source import compare_in_memory

REALS = ("float16", "float32", "float64", "bfloat16", "float8_e5m2", "float8_e4m3fn")
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
TOLERANCE = Tolerance(atol=1e-3, rtol=1e-2)


def dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name)) if name.startswith(("bf", "float8")) else np.dtype(name)


@st.composite
def pairs_of_arrays(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one shape, sometimes of two dtypes, with NaN, infinities, zeros of both signs and denormals."""
    shape = draw(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    arrays = []
    for name in (draw(st.sampled_from(REALS)), draw(st.sampled_from(REALS))):
        wide = draw(npst.arrays(np.float64, shape, elements=st.floats(width=16) | st.sampled_from([-0.0, 6e-8, 1e-3])))
        arrays.append(wide.astype(dtype(name)))
    return arrays[0], arrays[1]


def plain(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> dict[str, float]:
    """The same numbers as anybody would compute them with NumPy."""
    x, y = a.astype(np.float64).reshape(-1), b.astype(np.float64).reshape(-1)
    finite = np.isfinite(x) & np.isfinite(y)
    within = np.isclose(x, y, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True)
    difference = np.abs(x - y)[finite]
    nonzero = y[finite] != 0
    return {
        "count": x.size,
        "mismatched": int((~within).sum()),
        "nan_a": int(np.isnan(x).sum()),
        "nan_b": int(np.isnan(y).sum()),
        "inf_a": int(np.isinf(x).sum()),
        "inf_b": int(np.isinf(y).sum()),
        "max_abs": float(difference.max(initial=0.0)),
        "max_rel": float((difference[nonzero] / np.abs(y[finite][nonzero])).max(initial=0.0)),
        "mean_abs": float(difference.mean()) if difference.size else 0.0,
        "rms": math.sqrt(float((difference**2).mean())) if difference.size else 0.0,
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=300, deadline=None)
@given(pairs_of_arrays())
def test_statistics_are_those_of_a_plain_computation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    found = compare_arrays(a, b, TOLERANCE).statistics
    assert found is not None
    for name, wanted in plain(a, b, TOLERANCE).items():
        assert getattr(found, name) == pytest.approx(wanted, rel=1e-13, abs=0), name
    x, y = (side.astype(np.float64).reshape(-1) for side in pair)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    norms = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    assert found.cosine == (pytest.approx(float(x @ y) / norms, rel=1e-12, abs=1e-15) if norms else None)
    if found.max_at >= 0:
        assert found.max_at == int(np.flatnonzero(finite)[np.abs(x - y).argmax()])
    assert found.identical == (not a.size or (a.dtype == b.dtype and a.tobytes() == b.tobytes()))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=100, deadline=None)
@given(pairs_of_arrays(), st.lists(st.integers(0, 216), max_size=4), st.randoms())
def test_cut_anywhere_and_added_in_any_order_it_is_the_same(pair, cuts, random) -> None:
    a, b = (side.reshape(-1) for side in pair)
    whole = compare_arrays(a, b, TOLERANCE).statistics
    edges = sorted({0, a.size, *(cut for cut in cuts if cut < a.size)})
    parts = []
    for start, stop in itertools.pairwise(edges):
        part = compare_arrays(a[start:stop], b[start:stop], TOLERANCE).statistics
        parts.append(replace(part, max_at=part.max_at + start if part.max_at >= 0 else -1))
    random.shuffle(parts)
    together = sum(parts, Statistics())
    sums = ("sum_abs", "sum_square", "square_a", "square_b", "product")
    rough = dict.fromkeys(sums, 0)
    assert replace(together, **rough) == replace(whole, **rough)
    for name in ("mean_abs", "rms"):
        assert getattr(together, name) == pytest.approx(getattr(whole, name), rel=1e-14)


def test_sums_of_whole_blocks_do_not_depend_on_the_order_in_any_bit() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 4, 1000)) * np.float64(10.0) ** rng.integers(-20, 20, (2, 4, 1))
    blocks = [compare_arrays(one, other, Tolerance()).statistics for one, other in zip(a, b, strict=True)]
    totals = {replace(sum(order, Statistics()), max_at=0) for order in itertools.permutations(blocks)}
    assert len(totals) == 1
    left = (blocks[0] + blocks[1]) + (blocks[2] + blocks[3])
    right = blocks[0] + (blocks[1] + (blocks[2] + blocks[3]))
    assert left == right


def test_long_tensors_are_worked_on_in_blocks_without_a_trace() -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal(700_001, dtype=np.float32)
    b = a.copy()
    b[600_000:] += np.float32(0.25)
    b[699_999] += 2
    found = compare_arrays(a, b, TOLERANCE)
    assert found.status == "different"
    wanted = plain(a, b, TOLERANCE)
    assert {name: getattr(found.statistics, name) for name in wanted} == pytest.approx(wanted, rel=1e-12)
    assert found.statistics.max_at == 699_999
    assert found.statistics.change == pytest.approx(
        np.linalg.norm(a - b.astype(float)) / np.linalg.norm(b.astype(float))
    )


@pytest.mark.parametrize("name", [*REALS, *WHOLE])
def test_one_changed_element_is_seen_in_every_dtype(name: str) -> None:
    a = np.arange(30).reshape(5, 6).astype(dtype(name))
    b = a.copy()
    b[3, 4] = dtype(name).type(1) if name != "bool" else False
    found = compare_arrays(a, b, Tolerance())
    assert (found.status, found.statistics.mismatched, found.statistics.max_at) == ("different", 1, 22)
    assert found.statistics.max_abs == abs(float(a[3, 4]) - float(b[3, 4]))
    assert compare_arrays(a, a.copy(), Tolerance()).status == "identical"


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        (np.int64(2**60 + 1), np.int64(2**60), 1.0),
        (np.uint64(2**64 - 1), np.uint64(2**64 - 2), 1.0),
        (np.int64(-(2**63)), np.int64(2**63 - 1), float(2**64)),
        (np.int64(2**62 + 1), np.uint64(2**62), 1.0),
        (np.int64(-1), np.uint64(2**64 - 1), float(2**64)),
        (np.int8(-128), np.uint64(127), 255.0),
    ],
)
def test_large_integers_are_subtracted_as_integers(a: np.generic, b: np.generic, distance: float) -> None:
    found = compare_arrays(np.array([a]), np.array([b]), Tolerance(rtol=0))
    assert found.statistics.max_abs == distance
    assert found.statistics.mismatched == 1


def test_complex_numbers_are_compared_by_modulus() -> None:
    a = np.array([3 + 4j, 1j, complex("nan")], dtype=np.complex64)
    b = np.array([0, 1j, complex("nan")], dtype=np.complex64)
    found = compare_arrays(a, b, Tolerance())
    assert (found.status, found.statistics.max_abs, found.statistics.max_at) == ("different", 5.0, 0)
    assert (found.statistics.mismatched, found.statistics.nan_a, found.statistics.nan_b) == (1, 1, 1)
    turned = compare_arrays(np.array([1j, 2j]), np.array([1.0 + 0j, 2.0]), Tolerance()).statistics
    assert turned.cosine == 0.0


def test_negative_zero_is_within_and_not_identical() -> None:
    found = compare_arrays(np.array([0.0, 1.0]), np.array([-0.0, 1.0]), Tolerance(0, 0))
    assert (found.status, found.statistics.max_abs, found.statistics.max_at) == ("within", 0.0, -1)


def test_nan_with_another_payload_is_within_and_not_identical() -> None:
    a, b = np.array([0x7FC00000, 0x3F800000], np.uint32), np.array([0x7FC00001, 0x3F800000], np.uint32)
    found = compare_arrays(a.view(np.float32), b.view(np.float32), Tolerance(0, 0))
    assert (found.status, found.statistics.nan_a, found.statistics.nan_b) == ("within", 1, 1)


def test_nan_and_infinities_on_one_side_are_mismatched() -> None:
    inf, nan = np.inf, np.nan
    a = np.array([inf, -inf, inf, nan, 1.0, nan, 1.0], np.float32)
    b = np.array([inf, inf, 1.0, 1.0, nan, nan, 1.0], np.float32)
    found = compare_arrays(a, b, Tolerance(atol=1e30)).statistics
    assert (found.mismatched, found.nan_a, found.nan_b, found.inf_a, found.inf_b) == (4, 2, 2, 3, 2)
    assert (found.finite, found.max_abs, found.rms) == (1, 0.0, 0.0)


def test_identical_tensors_with_nan_report_them() -> None:
    a = np.array([1.0, np.nan, np.inf], np.float32)
    found = compare_arrays(a, a.copy(), Tolerance())
    assert (found.status, found.statistics.nan_a, found.statistics.inf_b) == ("identical", 1, 1)


def test_denormals_keep_their_distance() -> None:
    a, b = np.array([5e-324, 1e-310]), np.array([0.0, 2e-310])
    found = compare_arrays(a, b, Tolerance(0, 0))
    assert (found.status, found.statistics.max_abs, found.statistics.mismatched) == ("different", 1e-310, 2)
    single = np.array([1e-45], np.float32)
    assert compare_arrays(single, 0 * single, Tolerance(0, 0)).statistics.rms == float(single[0])


def test_squares_beyond_float64_do_not_overflow() -> None:
    a, b = np.array([1e200, -1.7e308]), np.array([-1e200, 1.7e308])
    found = compare_arrays(a, b, Tolerance()).statistics
    assert found.max_abs == np.finfo(np.float64).max
    assert found.rms == pytest.approx(np.finfo(np.float64).max / math.sqrt(2))
    assert found.cosine == pytest.approx(-1.0)
    modest = compare_arrays(np.array([1e200, 0.0]), np.array([0.0, 0.0]), Tolerance()).statistics
    assert modest.rms == pytest.approx(1e200 / math.sqrt(2), rel=1e-15)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_scalars_and_empty_tensors(shape: tuple[int, ...]) -> None:
    found = compare_arrays(np.ones(shape, np.float32), np.ones(shape, np.float32), Tolerance())
    assert (found.status, found.statistics.count) == ("identical", math.prod(shape))


def test_other_shapes_are_not_compared_and_other_dtypes_are() -> None:
    assert compare_arrays(np.zeros((2, 3)), np.zeros((3, 2)), Tolerance()).statistics is None
    found = compare_arrays(np.arange(4, dtype=np.float16), np.arange(4, dtype=np.float64), Tolerance())
    assert (found.status, found.statistics.mismatched, found.statistics.identical) == ("dtype", 0, False)


@settings(max_examples=100, deadline=None)
@given(
    npst.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6)),
    npst.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6)),
    st.floats(0, 10),
    st.floats(0, 1),
)
def test_tolerance_is_that_of_numpy_testing(a: np.ndarray, b: np.ndarray, atol: float, rtol: float) -> None:
    size = min(len(a), len(b))
    a, b = a[:size], b[:size]
    status = compare_arrays(a, b, Tolerance(atol, rtol)).status
    try:
        np.testing.assert_allclose(a, b, atol=atol, rtol=rtol)
    except AssertionError:
        assert status == "different"
    else:
        assert status in ("identical", "within")


@pytest.mark.parametrize(("atol", "rtol"), [(-1.0, 0.0), (0.0, math.nan), (math.inf, 0.0)])
def test_a_senseless_tolerance_is_refused(atol: float, rtol: float) -> None:
    with pytest.raises(UsageError, match="tolerance"):
        Tolerance(atol, rtol)


def test_memory_and_arrays_agree() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 50, 7), dtype=np.float32)
    assert compare_in_memory(a, b, Tolerance()) == compare_arrays(a, b, Tolerance())
