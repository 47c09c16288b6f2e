"""Float32 by bounds: the ratios and counts are those of float64 for every element, whatever lies near a bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ckptkit.compare import Tolerance, compare_arrays, singles
from ckptkit.compare.workspace import PIECE_ELEMENTS, Workspace

COUNT = 20_011  # more than is worked on in the plainest way, and no multiple of a row
RNG = np.random.default_rng(7)


def values(scale: float = 1.0) -> np.ndarray:
    return (RNG.standard_normal(COUNT) * scale).astype(np.float32)


def steps_away(b: np.ndarray, most: int) -> np.ndarray:
    """Each element up to `most` neighbours away from that of b."""
    return (b.view(np.int32) + RNG.integers(-most, most + 1, b.size, dtype=np.int32)).view(np.float32)


def some(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return np.where(RNG.random(b.size) < share, a, b)


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    b = values()
    sparse = some(np.zeros_like(b), b, 0.1)
    tiny = (RNG.standard_normal(COUNT) * 1e-40).astype(np.float32)  # denormal
    return {
        "unrelated": (values(), b),
        "opposite": (-b, b),
        "two steps apart": (steps_away(b, 2), b),
        "twenty steps apart, most equal": (some(steps_away(b, 20), b, 0.01), b),
        "a thousand steps apart": (steps_away(b, 1000), b),
        "fine-tuned": (b + values(1e-4), b),
        "another scale": (values(1e6), b),
        "zeros in the reference": (b, sparse),
        "zeros in the other": (sparse, b),
        "denormal": (tiny, (tiny * 3).astype(np.float32)),
        "beyond float32 when divided": (values(1e30), values(1e-30)),
        "beyond float32 when subtracted": (values(1e37), -values(1e37)),
    }


@pytest.mark.parametrize("rtol", [0.0, 1e-7, 2.0**-23, 1e-4, 0.5, 1.0, 30.0])
@pytest.mark.parametrize("name", pairs())
def test_every_element_is_judged_as_in_float64(name: str, rtol: float) -> None:
    a, b = pairs()[name]
    found = compare_arrays(a, b, Tolerance(rtol=rtol)).statistics
    x, y = a.astype(np.float64), b.astype(np.float64)
    distance = np.abs(x - y)
    assert found.mismatched == np.count_nonzero(distance > rtol * np.abs(y))
    nonzero = y != 0
    assert found.max_rel == (distance[nonzero] / np.abs(y[nonzero])).max()
    assert (found.max_abs, found.max_at) == (distance.max(), int(distance.argmax()))
    for name_of, wanted in (
        ("sum_abs", math.fsum(distance)),
        ("sum_square", math.fsum(distance * distance)),
        ("square_a", math.fsum(x * x)),
        ("square_b", math.fsum(y * y)),
    ):
        assert abs(getattr(found, name_of) / 2**1074 - wanted) <= 2.0**-40 * wanted, name_of
    assert abs(found.product / 2**1074 - math.fsum(x * y)) <= 2.0**-40 * math.fsum(np.abs(x * y))


def test_the_bounds_decide_where_they_can() -> None:
    """Else all of the above would be the plain computation, and slow."""
    work = Workspace()
    for name in ("unrelated", "fine-tuned", "another scale"):
        a, b = pairs()[name]
        distance = np.abs(a.astype(np.float64) - b)
        assert singles.beyond(a, b, distance, 1e-7, 0.0, work) is not None, name


def test_a_ratio_that_is_known_to_be_beaten_is_not_computed() -> None:
    a, b = pairs()["unrelated"]
    distance = np.abs(a.astype(np.float64) - b)
    assert singles.beyond(a, b, distance, 1e-7, 1e30, Workspace()) == (COUNT, 1e30)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_the_largest_of_several_pieces_and_the_first_among_equals(dtype: str) -> None:
    b = np.ones(3 * PIECE_ELEMENTS + 5, dtype)
    a = b.copy()
    a[[PIECE_ELEMENTS + 3, 2 * PIECE_ELEMENTS + 1]] = 4
    a[-1] = 0.5
    found = compare_arrays(a, b, Tolerance()).statistics
    assert (found.max_at, found.max_abs, found.max_rel, found.mismatched) == (PIECE_ELEMENTS + 3, 3.0, 3.0, 3)
