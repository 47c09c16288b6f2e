"""Outlines: counted like NumPy counts, whatever the pieces; two of them over one range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptkit.compare.outline import BINS, outline, over_one_range
from ckptkit.model import TensorSpec
from tests.compare.memory_source import MemorySource


def outlined(value: np.ndarray):
    return outline(MemorySource({"x": value}), TensorSpec("x", value.shape, value.dtype.name))


finite = hnp.arrays("float64", st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False))


@given(finite, finite)
@settings(max_examples=60, deadline=None)
def test_two_share_bins_and_lose_no_element(a, b) -> None:
    ours, theirs = over_one_range([outlined(a), outlined(b)])
    assert (sum(ours), sum(theirs)) == (len(a), len(b))
    assert len(ours) == len(theirs) <= BINS
    assert ours[0] or theirs[0]
    assert ours[-1] or theirs[-1]


def test_bins_are_those_of_numpy() -> None:
    value = np.random.default_rng(0).normal(size=200_000).astype("float32")
    found = outlined(value)
    width = 2.0**found.exponent
    edges = (found.first + np.arange(BINS + 1)) * width
    assert list(found.counts) == np.histogram(value.astype("float64"), edges)[0].tolist()
    assert sum(1 for count in found.counts if count) > BINS // 2


def test_what_is_not_finite_is_counted_apart() -> None:
    found = outlined(np.array([1.0, np.nan, np.inf, -np.inf]))
    assert (found.apart, sum(found.counts), found.minimum, found.maximum) == (3, 1, 1.0, 1.0)
    nothing = outlined(np.array([np.nan]))
    assert (nothing.counts, nothing.minimum) == ((), None)
    assert over_one_range([found, nothing]) == ((1,), (0,))
    assert over_one_range([nothing]) == ((),)


@pytest.mark.parametrize("value", [0.0, 5e-324, 1.7e308, -3.0])
def test_a_constant_is_one_bin(value) -> None:
    assert over_one_range([outlined(np.full(7, value))]) == ((7,),)
