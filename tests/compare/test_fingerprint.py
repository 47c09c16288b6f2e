"""Fingerprints: equal for equal contents, order-free where that is meant, and additive over parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.compare import fingerprint
from ckptkit.model import Fingerprint
from tests.compare.memory_source import MemorySource

TOTAL = 1 << 128


def of(value: np.ndarray, cut: int | None = None) -> Fingerprint:
    source = MemorySource({"t": value}, cut)
    return fingerprint(source, source.spec("t"))


DTYPES = ("float32", "float64", "float16", "int8", "complex64", "complex128")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DTYPES), st.integers(1, 60))
def test_pieces_do_not_matter(dtype: str, cut: int) -> None:
    value = np.random.default_rng(2).standard_normal(50).astype(dtype)
    assert of(value, cut) == of(value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_matters_to_one_and_not_to_the_other(dtype: str) -> None:
    value = np.arange(24).reshape(4, 6).astype(dtype)
    turned = np.ascontiguousarray(value.T)
    assert of(value).ordered != of(turned).ordered
    assert of(value).unordered == of(turned).unordered


def test_blocks_beyond_the_first_count_too() -> None:
    value = np.random.default_rng(0).standard_normal(600_000, dtype=np.float32)
    changed = value.copy()
    changed[599_999] += 1
    swapped = value.copy()
    swapped[[0, 1 << 18]] = swapped[[1 << 18, 0]]  # the same place of two blocks
    assert len({of(each).ordered for each in (value, changed, swapped)}) == 3
    assert of(value).unordered == of(swapped).unordered != of(changed).unordered


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7))
def test_parts_add_up_to_the_whole(rows: int, others: int) -> None:
    rng = np.random.default_rng(7)
    parts = rng.standard_normal((rows, 5)), rng.standard_normal((others, 5))
    whole = of(np.concatenate(parts))
    assert (of(parts[0]).unordered + of(parts[1]).unordered) % TOTAL == whole.unordered


def test_the_order_free_total_does_not_overflow_in_a_block() -> None:
    value = np.random.default_rng(4).integers(0, 2**32, 1 << 19, dtype=np.uint32)
    halves = value[::2], value[1::2]
    assert sum(of(half).unordered for half in halves) % TOTAL == of(value).unordered


@pytest.mark.parametrize(
    ("value", "constant"),
    [
        (np.zeros((3, 4), np.float32), True),
        (np.ones(1 << 19, np.float32), True),
        (np.array(7.0), True),
        (np.zeros(0), True),
        (np.array([0.0, -0.0]), False),
        (np.array([1, 1, 2], np.int64), False),
        (np.full(3, 1 + 2j), True),
        (np.array([1 + 2j, 1 + 3j]), False),
        (np.array([b"x", b"x"], dtype=object), True),
        (np.array([b"x", b"y"], dtype=object), False),
    ],
)
def test_constants_are_told(value: np.ndarray, constant: bool) -> None:
    assert of(value).constant is constant


def test_signs_flipped_in_pairs_do_not_cancel() -> None:
    value = np.random.default_rng(1).standard_normal(64)
    flipped = value.copy()
    flipped[[3, 40]] *= -1
    assert of(value).ordered != of(flipped).ordered
    assert of(value).unordered != of(flipped).unordered


def test_strings_have_fingerprints() -> None:
    value = np.array([b"ab", b"c"], dtype=object)
    assert of(value) == of(value.copy())
    assert of(value).ordered != of(value[::-1]).ordered
    assert of(value).unordered == of(value[::-1]).unordered
    assert of(value).ordered != of(np.array([b"a", b"bc"], dtype=object)).ordered
