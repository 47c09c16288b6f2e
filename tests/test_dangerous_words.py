"""Variables of a user's own under every word that training uses: a change of one is a difference, a move takes it along or
names it, and every container keeps it. What optimizers really left is no weight beside them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import RefusedError

WORDS = (
    "states", "metrics", "seed", "count", "iter", "iterations", "global_step", "momentum", "m", "velocity", "rms",
    "accumulator", "Adam", "Momentum", "optimizer", "learning_rate", "decay", "beta1_power", "ema", "average", "total",
    "current_loss_scale", "good_steps", "keras_api", "_all_variables", "slot_variables", "save_counter",
    "num_batches_tracked",
)  # fmt: skip
PLACES = ("{}", "net/{}", "head/{}", "net/a/kernel/{}", "{}/kernel", "optimizer/{}")
SHAPES: tuple[tuple[int, ...], ...] = ((), (7,), (4, 5))
OPTIMIZERS = ("none", "adam", "momentum", "bert", "keras")

Arrays = dict[str, np.ndarray]


def write(path: Path, arrays: Arrays) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    return path


def network() -> Arrays:
    shapes = {"net/a/kernel": (4, 5), "net/a/bias": (5,), "net/b/kernel": (5, 3), "net/b/bias": (3,)}
    return {name: numbers(place, shape) for place, (name, shape) in enumerate(shapes.items())}


def numbers(place: int, shape: tuple[int, ...]) -> np.ndarray:
    return (100 * place + 1 + np.arange(int(np.prod(shape)))).reshape(shape).astype(np.float32)


def left_by(optimizer: str, weights: Mapping[str, np.ndarray]) -> Arrays:
    """What an optimizer keeps for weights, in the names of its framework."""
    forms = {
        "none": (),
        "adam": ("{}/Adam", "{}/Adam_1"),
        "momentum": ("{}/Momentum",),
        "bert": ("{}/adam_m", "{}/adam_v"),
        "keras": ("Adam/{}/m", "Adam/{}/v"),
    }[optimizer]
    left: Arrays = {form.format(name): value / 8 for form in forms for name, value in weights.items()}
    if optimizer == "adam":
        left |= {"beta1_power": np.array(0.9, np.float32), "beta2_power": np.array(0.99, np.float32)}
    if optimizer == "keras":
        left |= {f"Adam/{word}": np.array(0.5, np.float32) for word in ("learning_rate", "decay", "beta_1", "beta_2")}
        left["Adam/iter"] = np.array(3, np.int64)
    elif optimizer != "none":
        left["global_step"] = np.array(3, np.int64)
    return left


def siblings(optimizer: str) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes; those that the optimizer has itself, and its own full set, are none."""
    taken = left_by(optimizer, network()).keys() | network().keys()
    found = ((place.format(word), shape) for word, place, shape in itertools.product(WORDS, PLACES, SHAPES))
    alone = [(name, shape) for name, shape in found if name not in taken]
    return [each for each in alone if not (optimizer == "momentum" and each == ("net/a/kernel/Momentum", (4, 5)))]


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_word_demotes_and_real_slots_are_none(tmp_path: Path, optimizer: str, suffix: str) -> None:
    """All words in one file, each in a scope of its own, so that one file asks for hundreds."""
    left = left_by(optimizer, network())
    own = {f"own_{place}/{name}": numbers(place, shape) for place, (name, shape) in enumerate(siblings(optimizer))}
    with ckptkit.open(write(tmp_path / f"a.{suffix}", network() | left | own)) as checkpoint:
        kinds = {variable.key: variable.kind for variable in checkpoint.spec.variables}
    assert [name for name in (*own, *network()) if kinds[name] != "weight"] == []
    assert [name for name in left if kinds[name] == "weight"] == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_change_of_it_alone_is_seen_and_a_move_takes_it_along_or_names_it(tmp_path: Path, optimizer: str) -> None:
    every = siblings(optimizer)[OPTIMIZERS.index(optimizer) :: 97]
    for place, (name, shape) in enumerate(every):
        file = network() | left_by(optimizer, network()) | {name: numbers(50, shape)}
        a = write(tmp_path / f"a{place}.npz", file)
        b = write(tmp_path / f"b{place}.npz", file | {name: numbers(60, shape)})
        bare = write(tmp_path / f"bare{place}.npz", network())
        found = ckptkit.diff(a, b)
        assert found.verdict == "different", (name, shape)
        assert found.totals.different == 1, (name, shape)
        assert ckptkit.diff(a, a).verdict == "identical"
        out = tmp_path / f"out{place}.npz"
        ckptkit.remap(a, b, out)
        with np.load(out) as moved:
            assert np.array_equal(moved[name], numbers(50, shape)), (name, shape)
        try:
            named = str(ckptkit.plan(a, bare).plan.unexpected)
        except RefusedError as error:
            named = str((error, error.lines))
        assert name.rpartition("/")[2].lstrip("_") in named, (name, shape)
        last = a
        for suffix in ("safetensors", "ckpt", "back.npz"):
            ckptkit.convert(last, tmp_path / f"{place}.{suffix}")
            last = tmp_path / f"{place}.{suffix}"
        with np.load(last) as kept:
            assert np.array_equal(kept[name], numbers(50, shape)), (name, shape)


def test_what_may_be_an_optimizers_refuses_nothing(tmp_path: Path) -> None:
    rate = {"learning_rate": np.array(0.5, np.float32)}
    source = write(tmp_path / "a.npz", network() | left_by("adam", network()) | rate)
    bare = write(tmp_path / "b.npz", network())
    plan = ckptkit.plan(source, bare).plan
    assert (len(plan.steps), plan.unexpected, plan.missing) == (4, ("learning_rate",), ())
    back = ckptkit.plan(bare, source).plan
    assert (len(back.steps), back.unexpected, back.missing) == (4, (), ("learning_rate",))
    assert ckptkit.diff(source, bare).verdict == "different"
    # A run at one rate is no run in which a weight stands still.
    moved = {name: value + 1 for name, value in network().items()}
    later = write(tmp_path / "c.npz", moved | left_by("adam", network()) | rate)
    assert ckptkit.drift([source, later]).clean
