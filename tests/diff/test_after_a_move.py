"""What was moved under a convention is equal to where it came from: the check that people run after a move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import RefusedError

Values = dict[str, np.ndarray]


def store(folder: Path, name: str, values: Values) -> Path:
    path = folder / f"{name}.npz"
    np.savez(path, **values)
    return path


def attentions(blocks: int, *, bias: bool) -> tuple[Values, Values]:
    """The same attentions with one projection each and with three, and a layer that looks like the fused one."""
    random = np.random.default_rng(1)
    fused: Values = {}
    three: Values = {}
    for block in range(blocks):
        kernels = [random.normal(size=(12, 12)).astype("f") for _ in range(3)]
        biases = [random.normal(size=12).astype("f") for _ in range(3)]
        inner = random.normal(size=(12, 36)).astype("f")
        fused[f"h{block}/attn/c_attn/w"] = np.concatenate(kernels, axis=1)[None]
        fused[f"h{block}/mlp/c_fc/w"] = inner[None]
        three[f"block_{block}/mlp/kernel"] = inner
        if bias:
            fused[f"h{block}/attn/c_attn/b"] = np.concatenate(biases)
        for piece, kernel, own in zip(("query", "key", "value"), kernels, biases, strict=True):
            three[f"block_{block}/attention/{piece}/kernel"] = kernel.reshape(12, 3, 4)
            if bias:
                three[f"block_{block}/attention/{piece}/bias"] = own.reshape(3, 4)
    return fused, three


@pytest.mark.parametrize("bias", [True, False])
def test_one_projection_against_three(tmp_path: Path, bias: bool) -> None:
    fused, three = attentions(2, bias=bias)
    one, other = store(tmp_path, "fused", fused), store(tmp_path, "three", three)
    empty = store(tmp_path, "empty", {name: np.zeros_like(value) for name, value in three.items()})
    done = ckptkit.remap(one, empty, tmp_path / "moved.npz")
    for a, b in ((one, done.output), (done.output, one), (one, other), (other, one)):
        found = ckptkit.diff(str(a), str(b))
        assert found.verdict == "identical", (a, b)
        assert not found.only_a
        assert not found.only_b
    assert ckptkit.diff(one, empty).verdict == "different"


def test_one_projection_of_which_a_part_is_another(tmp_path: Path) -> None:
    fused, three = attentions(2, bias=True)
    one = store(tmp_path, "fused", fused)
    query, key = (f"block_1/attention/{piece}/kernel" for piece in ("query", "key"))
    off = store(tmp_path, "off", {**three, key: three[key] + np.float32(1e-3)})
    apart = [pair for pair in ckptkit.diff(one, off).pairs if pair.verdict != "identical"]
    assert [(pair.a_name, pair.b_name) for pair in apart] == [("h1/attn/c_attn/kernel", key)]
    crossed = store(tmp_path, "crossed", {**three, key: three[query], query: three[key]})
    for a, b in ((one, crossed), (crossed, one)):
        assert ckptkit.diff(a, b).verdict == "different"


def test_a_projection_whose_slices_find_no_place_stands_alone(tmp_path: Path) -> None:
    fused, three = attentions(1, bias=True)
    one = store(tmp_path, "fused", fused)
    wider = {name: np.zeros((12, 4, 4), "f") if name.endswith("key/kernel") else value for name, value in three.items()}
    found = ckptkit.diff(one, store(tmp_path, "wider", wider))
    assert found.verdict == "different"
    assert "h0/attn/c_attn/kernel" in [each.name for each in found.only_a]


def tables() -> tuple[Values, Values]:
    """One table for both ways, and the same stored twice."""
    random = np.random.default_rng(2)
    once = {
        "tokens/embeddings": random.normal(size=(19, 5)).astype("f"),
        "body/kernel": random.normal(size=(5, 5)).astype("f"),
    }
    return once, {**once, "logits/kernel": np.ascontiguousarray(once["tokens/embeddings"].T)}


def test_a_table_that_is_stored_once_or_twice(tmp_path: Path) -> None:
    once, twice = tables()
    one, two = store(tmp_path, "once", once), store(tmp_path, "twice", twice)
    for a, b in ((one, two), (two, one)):
        found = ckptkit.diff(a, b)
        assert found.verdict == "identical"
        assert [pair.evidence for pair in found.pairs if pair.evidence == ("tied",)]
    trained = {name: value + np.float32(1) for name, value in twice.items()}
    found = ckptkit.diff(one, store(tmp_path, "trained", trained))
    assert found.verdict == "different"
    assert not found.only_b


@pytest.mark.parametrize("kernel", ["another", "zero"])
def test_a_kernel_that_is_no_copy_is_on_one_side_only(tmp_path: Path, kernel: str) -> None:
    once, twice = tables()
    if kernel == "another":
        twice["logits/kernel"] = twice["logits/kernel"] + np.float32(1e-3)
    else:
        once, twice = ({name: np.zeros_like(value) for name, value in side.items()} for side in (once, twice))
    one, two = store(tmp_path, "once", once), store(tmp_path, "twice", twice)
    for a, b, side in ((one, two, "only_b"), (two, one, "only_a")):
        found = ckptkit.diff(a, b)
        assert found.verdict == "different"
        assert [each.name for each in getattr(found, side)] == ["logits/kernel"]


def test_a_second_copy_is_checked_and_left(tmp_path: Path) -> None:
    """Nobody has to say it where the contents prove it; where they do not, nothing is written."""
    once, twice = tables()
    one, two = store(tmp_path, "once", once), store(tmp_path, "twice", twice)
    done = ckptkit.remap(two, one, tmp_path / "moved.npz")
    assert any("for the same table, transposed" in doubt for step in done.plan.steps for doubt in step.doubts)
    other = store(tmp_path, "other", {**twice, "logits/kernel": twice["logits/kernel"] + np.float32(1e-3)})
    with pytest.raises(RefusedError, match="differ by up to 0.001"):
        ckptkit.remap(other, one, tmp_path / "no.npz")
    assert not (tmp_path / "no.npz").exists()
    assert ckptkit.remap(other, one, tmp_path / "left.npz", allow_unexpected=True).plan.unexpected == ("logits/kernel",)


def test_logits_with_a_bias_and_no_kernel_use_the_table(tmp_path: Path) -> None:
    once, twice = tables()
    one, two = store(tmp_path, "once", once), store(tmp_path, "twice", twice)
    with pytest.raises(RefusedError, match="--assume tied=transposed"):
        ckptkit.plan(one, two)
    bias = {"logits/bias": np.arange(19, dtype="f")}
    one, two = store(tmp_path, "once", {**once, **bias}), store(tmp_path, "twice", {**twice, **bias})
    done = ckptkit.remap(one, two, tmp_path / "moved.npz")
    assert any("no kernel of their own" in doubt for step in done.plan.steps for doubt in step.doubts)
    assert ckptkit.diff(two, done.output or "").verdict == "identical"


def test_two_tables_of_one_shape_or_a_second_kernel_are_not_guessed(tmp_path: Path) -> None:
    once, twice = tables()
    bias = {"logits/bias": np.arange(19, dtype="f")}
    more = {"segments/embeddings": np.ones((19, 5), "f")}
    for extra in (more, {"extra/kernel": np.ones((5, 19), "f")}):
        one = store(tmp_path, "once", {**once, **bias, **(more if extra is more else {})})
        two = store(tmp_path, "twice", {**twice, **bias, **extra})
        with pytest.raises(RefusedError):
            ckptkit.plan(one, two)
