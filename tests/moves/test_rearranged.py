"""By value where the elements lie in another order: the plan says how, and what it writes is the target's content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import RefusedError

_random = np.random.default_rng(5)
SQUARE = _random.normal(size=(6, 6)).astype("float32")
WIDE = _random.normal(size=(3, 8)).astype("float32")
IMAGE = _random.normal(size=(2, 3, 4, 5)).astype("float32")


def blocks(value: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    cut = value.reshape(value.shape[0], len(order), -1)
    return np.ascontiguousarray(cut[:, list(order)].reshape(value.shape))


def saved(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    np.savez(path, **{name: np.ascontiguousarray(value) for name, value in arrays.items()})
    return path


@pytest.mark.parametrize(
    ("source", "target", "ops"),
    [
        ({"x/kernel": SQUARE}, {"y/kernel": SQUARE.T}, {"transpose"}),
        ({"x/kernel": WIDE}, {"y/kernel": blocks(WIDE, (0, 2, 1, 3))}, {"permute_blocks"}),
        ({"x/kernel": WIDE}, {"y/kernel": blocks(WIDE, (1, 0)).T}, {"transpose", "permute_blocks"}),
        ({"x/kernel": IMAGE}, {"y/kernel": IMAGE.transpose(3, 2, 0, 1)}, {"transpose"}),
        ({"x/kernel": WIDE}, {"y/kernel": WIDE.reshape(3, 1, 8)}, {"reshape"}),
        ({"x/a": WIDE[:1], "x/b": WIDE[1:]}, {"y/kernel": WIDE}, {"concat"}),
        ({"x/a": WIDE[:1], "x/b": WIDE[1:]}, {"y/kernel": WIDE.T}, {"concat", "transpose"}),
        ({"x/kernel": WIDE}, {"y/a": WIDE[:1], "y/b": WIDE[1:]}, {"slice"}),
        ({"x/kernel": WIDE}, {"y/a": WIDE[1:], "y/b": WIDE[:1]}, {"slice", "permute_blocks"}),
        ({"x/kernel": WIDE.T}, {"y/a": WIDE[:, :2], "y/b": WIDE[:, 2:]}, {"slice", "transpose"}),
    ],
)
def test_the_output_is_the_target_again(
    tmp_path: Path, source: Mapping[str, np.ndarray], target: Mapping[str, np.ndarray], ops: set[str]
) -> None:
    paths = saved(tmp_path / "a.npz", source), saved(tmp_path / "b.npz", target)
    done = ckptkit.remap(*paths, tmp_path / "out.npz", by="value")
    text = str(done.to_json()["steps"])
    assert {
        word for word in ("transpose", "permute_blocks", "reshape", "concat", "slice") if f"'{word}'" in text
    } == ops
    with np.load(tmp_path / "out.npz") as written:
        for name, value in target.items():
            assert np.array_equal(written[name], value), name


def test_an_order_that_no_layout_gives_is_refused(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(1).permutation(SQUARE.reshape(-1)).reshape(SQUARE.shape)
    paths = saved(tmp_path / "a.npz", {"x/kernel": SQUARE}), saved(tmp_path / "b.npz", {"y/kernel": shuffled})
    with pytest.raises(RefusedError, match="y/kernel: the same elements, in an order that no known change"):
        ckptkit.plan(*paths, by="value")
