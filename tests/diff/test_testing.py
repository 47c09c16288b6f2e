"""`ckptkit.testing`: passes for what is close, and fails with a message that a person understands."""

from __future__ import annotations

import numpy as np
import pytest

from ckptkit.testing import assert_checkpoints_close
from tests.diff.checkpoints import checkpoint, dense


def test_close_checkpoints_pass() -> None:
    values = dense(1)
    assert_checkpoints_close(checkpoint(values), checkpoint(values))
    near = {name: value * np.float32(1 + 1e-5) for name, value in values.items()}
    assert_checkpoints_close(checkpoint(near), checkpoint(values), rtol=1e-4)


def test_the_message_says_what_where_and_how_much() -> None:
    actual = dense(1)
    desired = {name: value.copy() for name, value in actual.items()}
    desired["two/kernel"][2, 1] = actual["two/kernel"][2, 1] + 0.5
    desired["three/bias"] = np.zeros(7, np.float32)
    del desired["one/bias"]
    with pytest.raises(AssertionError) as failure:
        assert_checkpoints_close(checkpoint(actual, "new.h5"), checkpoint(desired, "old.h5"), rtol=1e-5)
    lines = str(failure.value).splitlines()
    assert lines[0] == "checkpoints differ: new.h5 (actual) and old.h5 (desired), rtol 1e-05, atol 0"
    assert any(
        "two/kernel: 1 of 16 elements out of tolerance, largest difference 0.5 at [2, 1]" in line for line in lines
    )
    assert "  three/bias: shape [4] against [7]" in lines
    assert "  only in actual: one/bias" in lines


def test_swapped_layers_are_named_and_long_lists_cut() -> None:
    actual = dense(1)
    desired = {**actual, "one/kernel": actual["two/kernel"], "two/kernel": actual["one/kernel"]}
    desired |= {"one/bias": actual["two/bias"], "two/bias": actual["one/bias"]}
    with pytest.raises(AssertionError, match="one and two hold each other's weights"):
        assert_checkpoints_close(checkpoint(actual), checkpoint(desired))
    many = dense(2, tuple(f"layer{number}" for number in range(12)))
    with pytest.raises(AssertionError, match=r"… and 14 more \(variable\)"):
        assert_checkpoints_close(checkpoint(many), checkpoint({name: value + 1 for name, value in many.items()}))
