"""Values in another order are another checkpoint: what a diff of two files says of them, under names that say little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.differences import Diff

Values = dict[str, np.ndarray]
RNG = np.random.default_rng(11)


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def blocks(value: np.ndarray, order: tuple[int, ...], axis: int = -1) -> np.ndarray:
    cut = np.split(value, len(order), axis=axis)
    return np.concatenate([cut[number] for number in order], axis=axis)


def under(scope: str, given: Mapping[str, np.ndarray]) -> Values:
    return {f"{scope}/{name}": value for name, value in given.items()}


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Diff]:
    def call(a: Values, b: Values, **options: str) -> Diff:
        for name, side in (("a.npz", a), ("b.npz", b)):
            np.savez(tmp_path / name, **side)
        return ckptkit.diff(tmp_path / "a.npz", tmp_path / "b.npz", **options)

    return call


GRU = {"gru/kernel": values(6, 15), "gru/recurrent_kernel": values(5, 15), "gru/bias": values(2, 15)}
LSTM = {"lstm/kernel": values(6, 20), "lstm/recurrent_kernel": values(5, 20), "lstm/bias": values(20)}
SQUARE = {"inner/kernel": values(7, 7), "inner/bias": values(7), "head/kernel": values(7, 3)}
HEADS = {"attention/query/kernel": values(9, 5, 4)}
CONVOLUTION = {"up/kernel": values(3, 3, 4, 4), "up/bias": values(4)}

CASES: dict[str, tuple[Values, Values, str]] = {
    "gates of a GRU": (
        GRU, {name: blocks(value, (1, 2, 0)) for name, value in GRU.items()},
        "holds b's values with gates in the order 2 0 1",
    ),
    "gates of an LSTM": (
        LSTM, {name: blocks(value, (0, 2, 1, 3)) for name, value in LSTM.items()},
        "holds b's values with gates in the order 0 2 1 3",
    ),
    "a square kernel": (SQUARE, {**SQUARE, "inner/kernel": SQUARE["inner/kernel"].T}, "holds b's values transposed"),
    "heads": (
        HEADS, {name: blocks(value, (3, 1, 2, 0), 2) for name, value in HEADS.items()},
        "holds b's values with 4 blocks of axis 2 in the order 3 1 2 0",
    ),
    "a kernel turned round": (
        CONVOLUTION, {**CONVOLUTION, "up/kernel": CONVOLUTION["up/kernel"][::-1, ::-1]},
        "holds b's values flipped along axes 0 1",
    ),
    "a kernel with its channels exchanged": (
        CONVOLUTION, {**CONVOLUTION, "up/kernel": CONVOLUTION["up/kernel"].transpose(0, 1, 3, 2)},
        "holds b's values transposed (0 1 3 2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("scope", ["", "net", "model/net"])
@pytest.mark.parametrize("case", CASES)
def test_a_rearrangement_is_no_equality_and_is_said(case: str, scope: str, compare: Callable[..., Diff]) -> None:
    a, b, words = CASES[case]
    found = compare(under(scope, a) if scope else a, b)
    assert found.verdict == "different"
    moved = [pair for pair in found.pairs if pair.status != "identical"]
    assert {(pair.status, pair.note) for pair in moved} == {("rearranged", words)}
    assert found.totals.rearranged == len(moved) == sum(not np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("case", CASES)
def test_by_value_says_how_one_was_made_of_the_other(case: str, compare: Callable[..., Diff]) -> None:
    a, b, _ = CASES[case]
    foreign = {f"net.{number}.w": value for number, value in enumerate(b.values())}
    assert compare(a, foreign, by="value").verdict == "identical"
    assert compare(a, foreign).verdict == "different"


def test_a_remap_by_value_turns_a_kernel_round(tmp_path: Path) -> None:
    a, b, _ = CASES["a kernel turned round"]
    np.savez(tmp_path / "a.npz", **a)
    np.savez(tmp_path / "b.npz", **{f"x/{name}": value for name, value in b.items()})
    done = ckptkit.remap(tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "c.npz", by="value")
    with ckptkit.open(done.output) as written:
        assert np.array_equal(written["x/up/kernel"].read(), b["up/kernel"])


def test_values_in_no_known_order_are_only_different(compare: Callable[..., Diff]) -> None:
    kernel = values(6, 5)
    shuffled = np.random.default_rng(0).permutation(kernel.reshape(-1)).reshape(6, 5)
    pair = compare({"net/d/kernel": kernel}, {"d/kernel": shuffled}).pairs[0]
    assert (pair.status, pair.note) == ("different", None)


def test_a_kernel_of_another_layout_is_no_mere_difference_of_shape(compare: Callable[..., Diff]) -> None:
    kernel = values(6, 5)
    found = compare({"d/kernel": kernel, "d/bias": values(5)}, {"d/kernel": kernel.T, "d/bias": values(6)})
    notes = {pair.b_name: (pair.status, pair.note) for pair in found.pairs}
    assert notes["d/kernel"] == ("rearranged", "holds b's values transposed")
    assert found.verdict == "different"


LAYERS = {
    layer: {"kernel": values(6, 6), "bias": values(6)} for layer in ("left", "right", "third")
} | {"head": {"kernel": values(6, 2), "bias": values(2)}}  # fmt: skip


def flat(layers: Mapping[str, Values], scope: str = "") -> Values:
    return {f"{scope}{layer}/{role}": value for layer, own in layers.items() for role, value in own.items()}


def exchanged(roles: tuple[str, ...], layers: tuple[str, ...] = ("left", "right")) -> dict[str, Values]:
    """`LAYERS` with the values of some roles moved on along a cycle of layers."""
    after = dict(zip(layers, (*layers[1:], layers[0]), strict=True))
    return {
        layer: {role: LAYERS[after.get(layer, layer) if role in roles else layer][role] for role in own}
        for layer, own in LAYERS.items()
    }


@pytest.mark.parametrize("scope", ["net/", "model/net/"])
@pytest.mark.parametrize("roles", [("kernel", "bias"), ("bias",), ("kernel",)])
@pytest.mark.parametrize("layers", [("left", "right"), ("left", "right", "third")])
def test_a_swap_is_found_under_another_scope(
    scope: str, roles: tuple[str, ...], layers: tuple[str, ...], compare: Callable[..., Diff]
) -> None:
    found = compare(flat(LAYERS, scope), flat(exchanged(roles, layers)))
    assert found.verdict == "different"
    assert [sorted(swap.names) for swap in found.swaps] == [sorted(f"{scope}{layer}" for layer in layers)]
    assert compare(flat(LAYERS, scope), flat(LAYERS)).verdict == "identical"


def foreign(layers: Mapping[str, Values]) -> Values:
    """The values under names that say nothing."""
    return {f"u{number}/{role}": value for number, own in enumerate(layers.values()) for role, value in own.items()}


def test_contents_decide_where_names_say_nothing(compare: Callable[..., Diff]) -> None:
    assert compare(flat(LAYERS), foreign(LAYERS)).verdict == "identical"
    assert compare(flat(LAYERS), foreign(dict(reversed(LAYERS.items())))).verdict == "identical"


@pytest.mark.parametrize("role", ["kernel", "bias"])
def test_half_exchanged_layers_are_different_also_under_names_that_say_nothing(
    role: str, compare: Callable[..., Diff]
) -> None:
    found = compare(flat(LAYERS), foreign(exchanged((role,))))
    assert found.verdict == "different"
    assert any("not layer by layer" in group.why for group in found.ambiguous)


def test_constants_stay_with_their_names(compare: Callable[..., Diff]) -> None:
    norms = {f"norm_{n}": {"gamma": np.full(6, 1.0 + n), "beta": np.full(6, 0.5 - n)} for n in range(3)}
    turned = {**norms, "norm_0": norms["norm_1"], "norm_1": norms["norm_0"]}
    assert compare(flat(norms, "net/"), flat(norms)).verdict == "identical"
    found = compare(flat(norms, "net/"), flat(turned))
    assert (found.verdict, len(found.swaps)) == ("different", 1)
