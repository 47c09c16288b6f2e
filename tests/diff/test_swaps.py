"""The swap detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.compare import Tolerance
from ckptkit.differences import Diff, diff_checkpoints
from tests.diff.checkpoints import by_name, checkpoint, dense


def found_between(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> Diff:
    one, other = checkpoint(a), checkpoint(b)
    return diff_checkpoints(one, other, by_name(one, other), tolerance=Tolerance())


def moved(values: dict[str, np.ndarray], places: dict[str, str]) -> dict[str, np.ndarray]:
    """`values` with the contents of layer k put into layer `places[k]`."""
    result = dict(values)
    for name, value in values.items():
        layer, _, role = name.partition("/")
        if layer in places:
            result[f"{places[layer]}/{role}"] = value
    return result


def test_two_layers_that_hold_each_others_weights() -> None:
    a = dense(1)
    found = found_between(a, moved(a, {"one": "three", "three": "one"}))
    assert [str(swap) for swap in found.swaps] == ["one and three hold each other's weights"]
    assert found.swaps[0].whole
    assert sorted(found.swaps[0].cycles) == [("one/bias", "three/bias"), ("one/kernel", "three/kernel")]
    assert found.verdict == "different"


def test_longer_cycles() -> None:
    a = dense(1)
    found = found_between(a, moved(a, {"one": "two", "two": "three", "three": "one"}))
    assert found.swaps[0].names == ("one", "two", "three")
    assert str(found.swaps[0]).startswith("one → two → three → one")


def test_cycles_through_layers_with_nan() -> None:
    a = dense(1)
    a["one/kernel"] = np.where(
        np.arange(a["one/kernel"].size).reshape(a["one/kernel"].shape) == 3, np.nan, a["one/kernel"]
    )
    found = found_between(a, moved(a, {"one": "two", "two": "three", "three": "one"}))
    assert [swap.names for swap in found.swaps] == [("one", "two", "three")]


def test_large_layers_and_two_swaps_at_once() -> None:
    a = dense(1, ("a", "b", "c", "d", "e"), size=80)
    found = found_between(a, moved(a, {"a": "b", "b": "a", "c": "e", "e": "c"}))
    assert sorted(swap.names for swap in found.swaps) == [("a", "b"), ("c", "e")]


def test_layers_with_equal_biases_are_swapped_as_a_whole() -> None:
    a = dense(1)
    for layer in ("one", "two", "three"):
        a[f"{layer}/bias"] = np.zeros(4, np.float32)
    found = found_between(a, moved(a, {"one": "two", "two": "one"}))
    assert (found.swaps[0].names, found.swaps[0].whole) == (("one", "two"), True)


def test_where_only_the_kernels_are_swapped_they_are_named() -> None:
    a = dense(1)
    b = dict(a)
    b["one/kernel"], b["two/kernel"] = a["two/kernel"], a["one/kernel"]
    b["one/bias"] = a["one/bias"] + 1
    found = found_between(a, b)
    assert [swap.names for swap in found.swaps] == [("one/kernel", "two/kernel")]
    assert not found.swaps[0].whole


def test_two_variables_of_one_layer() -> None:
    a = {"cell/kernel": np.arange(9.0).reshape(3, 3), "cell/recurrent_kernel": np.arange(9.0, 18).reshape(3, 3)}
    found = found_between(a, {"cell/kernel": a["cell/recurrent_kernel"], "cell/recurrent_kernel": a["cell/kernel"]})
    assert [swap.names for swap in found.swaps] == [("cell/kernel", "cell/recurrent_kernel")]


def test_equal_first_pages_are_not_enough() -> None:
    rows = np.zeros((3, 50_000), np.float32)
    rows[0, 3_000], rows[1, 3_000] = 1.0, 2.0
    found = found_between({"one/w": rows[0], "two/w": rows[2]}, {"one/w": rows[1], "two/w": rows[0]})
    assert found.swaps == ()


def test_what_was_trained_is_not_called_swapped() -> None:
    a = dense(1)
    assert found_between(a, {name: value + 1 for name, value in a.items()}).swaps == ()
    copied = dict(a)
    copied["two/kernel"], copied["two/bias"] = a["one/kernel"], a["one/bias"]
    assert found_between(a, copied).swaps == ()


def test_a_layer_that_also_has_another_shape_is_not_explained_as_a_whole() -> None:
    a = dense(1)
    b = moved(a, {"one": "two", "two": "one"})
    a["one/scale"], b["one/scale"] = np.ones(3), np.ones(5)
    found = found_between(a, b)
    assert sorted(swap.names for swap in found.swaps) == [("one/bias", "two/bias"), ("one/kernel", "two/kernel")]
    assert not any(swap.whole for swap in found.swaps)


SCOPES = ["net", "a/b/c", "left/right", "x/y/z", "norm_a", "norm_b/norm_a", "0/1/2", "query/key"]
TWINS = [("norm_a", "norm_b"), ("left", "right"), ("x", "y"), ("0", "1"), ("query", "key"), ("dense", "dense_1")]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("twins", TWINS)
def test_a_scope_around_all_of_one_side_hides_no_swap(tmp_path: Path, scope: str, twins: tuple[str, str]) -> None:
    """Whatever words the scope is made of, be they those that tell the two layers apart."""
    rng = np.random.default_rng(5)
    b = {
        f"{layer}/{role}": rng.normal(size=(4, 4)[: 2 - (role == "bias")])
        for layer in twins
        for role in ("kernel", "bias")
    }
    other = dict(zip(twins, twins[::-1], strict=True))
    swapped = {name: b[f"{other[name.partition('/')[0]]}/{name.partition('/')[2]}"] for name in b}
    np.savez(tmp_path / "b.npz", **b)
    for name, values in (("same", b), ("swapped", swapped)):
        np.savez(tmp_path / f"{name}.npz", **{f"{scope}/{each}": value for each, value in values.items()})
    same, found = (ckptkit.diff(tmp_path / f"{name}.npz", tmp_path / "b.npz") for name in ("same", "swapped"))
    assert same.verdict == "identical"
    assert found.verdict == "different"
    back = ckptkit.diff(tmp_path / "b.npz", tmp_path / "swapped.npz")
    assert back.verdict == "different"
