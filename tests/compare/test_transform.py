"""Which change of layout makes one tensor of another: found, right, and said in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.compare import Transform, establish


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def gates(value: np.ndarray, order: tuple[int, ...], axis: int = -1) -> np.ndarray:
    blocks = np.split(value, len(order), axis=axis)
    return np.concatenate([blocks[number] for number in order], axis=axis)


KERNEL = values(5, 8)
CASES = {
    "equal": (KERNEL, KERNEL),
    "transposed": (KERNEL, KERNEL.T),
    "transposed (2 3 1 0)": (values(7, 6, 2, 3), values(7, 6, 2, 3).transpose(2, 3, 1, 0)),
    "axes of size 1 dropped": (values(1, 1, 1, 6), values(1, 1, 1, 6).reshape(6)),
    "axes of size 1 added": (values(6), values(6).reshape(1, 6)),
    "reshaped to [20, 2]": (KERNEL, KERNEL.reshape(20, 2)),
    "4 blocks of axis 1 in the order 0 2 1 3": (KERNEL, gates(KERNEL, (0, 2, 1, 3))),
    "3 blocks of axis 0 in the order 1 0 2": (values(9, 4), gates(values(9, 4), (1, 0, 2), 0)),
    "transposed, 4 blocks of axis 0 in the order 0 2 1 3": (KERNEL, gates(KERNEL, (0, 2, 1, 3)).T),
}


@pytest.mark.parametrize("words", CASES)
def test_known_changes_are_found_and_said(words: str) -> None:
    a, b = CASES[words]
    found = establish(a, b)
    assert found is not None
    assert found.describe([a.shape]) == words
    assert np.array_equal(found.apply([a]), b)


def test_joined_parts_are_found_with_axis_and_order() -> None:
    kernel, recurrent = values(3, 8), 10 + values(2, 8)
    found = establish([recurrent, kernel], np.concatenate([kernel, recurrent]))
    assert found == Transform((5, 8), joined=0, parts=(1, 0))
    assert found.describe([(2, 8), (3, 8)]) == "2 parts joined along axis 0 in the order 1 0"


def test_joined_then_permuted() -> None:
    kernel, recurrent = values(3, 8), 10 + values(2, 8)
    found = establish([kernel, recurrent], gates(np.concatenate([kernel, recurrent]), (0, 2, 1, 3)))
    assert found is not None
    assert found.blocks == (1, (0, 2, 1, 3))


def test_nothing_is_made_up() -> None:
    shuffled = np.random.default_rng(9).permutation(KERNEL.reshape(-1)).reshape(KERNEL.shape)
    assert establish(KERNEL, shuffled) is None
    assert establish(KERNEL, KERNEL.astype(np.float64)) is None
    assert establish([values(2, 3), values(3, 2)], values(12)) is None
    assert establish(KERNEL, KERNEL[:4]) is None


def test_bits_decide_not_values() -> None:
    nan = np.array([[np.nan, 0.0], [1.0, 2.0]], np.float32)
    assert establish(nan, nan.T.copy()) is not None
    assert establish(np.array([0.0, 1.0]), np.array([-0.0, 1.0])) is None


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(4)), st.permutations(range(3)))
def test_whatever_is_found_makes_one_of_the_other(permutation: list[int], order: list[int]) -> None:
    a = values(2, 5, 3, 7)
    b = gates(a, tuple(order), 2).transpose(permutation)
    found = establish(a, b)
    assert found is not None
    assert np.array_equal(found.apply([a]), b)
