"""SpectralNormalization owns the kernel of what it wraps: two copies in `.weights.h5` and `.keras`, one elsewhere."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, RefusedError
from tests.moves.test_sweep import CONTAINERS, save, scramble, values

TWICE = ("w.weights.h5", "m.keras")


def discriminator(keras: Any) -> Any:
    """Wrapped layers between plain ones of the same shapes, so that a kernel could go to the wrong one."""
    layers = keras.layers
    spectral = layers.SpectralNormalization
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(6),
            spectral(layers.Dense(6)),
            layers.Dense(6),
            spectral(layers.Dense(6, use_bias=False), power_iterations=2),
            layers.Reshape((2, 3, 1)),
            spectral(layers.Conv2D(4, 2)),
            layers.Flatten(),
            spectral(layers.Dense(1)),
        ]
    )


def sides(fw: SimpleNamespace, keras: Any, framework: str, folder: Path) -> tuple[Any, Any]:
    made = []
    for seed, name in enumerate(("one", "two")):
        live = discriminator(keras)
        scramble(live, seed)
        assert all(save(fw.tf, framework, live, str(folder / f"{name}-{c}")) for c in CONTAINERS)
        made.append(live)
    return made[0], made[1]


def test_every_pair_of_containers_computes_the_same(fw: SimpleNamespace, tmp_path: Path) -> None:
    source, target = sides(fw, fw.keras, "keras", tmp_path)
    x = np.random.default_rng(3).normal(size=(5, 6)).astype("float32")
    wanted, trained = np.array(source(x)), values(source)
    for a, b in itertools.product(CONTAINERS, (*CONTAINERS, "live")):
        scramble(target, 7)
        if b == "live":
            ckptkit.load_into(target, tmp_path / f"one-{a}")
        else:
            out = tmp_path / f"{a}-to-{b}"
            ckptkit.remap(tmp_path / f"one-{a}", tmp_path / f"two-{b}", out)
            if b == "checkpoint":
                fw.tf.train.Checkpoint(model=target).read(str(out)).expect_partial()
            else:
                target.load_weights(str(out))
        np.testing.assert_array_equal(np.array(target(x)), wanted, f"{a} -> {b}")
        assert all(map(np.array_equal, values(target), trained)), f"{a} -> {b}"


def test_both_copies_are_written_and_shown(fw: SimpleNamespace, tmp_path: Path) -> None:
    sides(fw, fw.keras, "keras", tmp_path)
    for b in TWICE:
        out = tmp_path / f"out-{b}"
        ckptkit.remap(tmp_path / "one-checkpoint", tmp_path / f"two-{b}", out)
        with ckptkit.open(out) as opened:
            copies = [variable for variable in opened.spec.variables if variable.copy_of]
            assert [copy.kind for copy in copies] == ["state"] * 4
            for copy in copies:
                np.testing.assert_array_equal(opened[copy.name], opened[copy.copy_of or ""])
    shown = ckptkit.inspect(tmp_path / "one-m.keras").spec
    assert {layer.kind for layer in shown.layers} == {"Dense", "Conv2D", "SpectralNormalization"}


def test_keras_takes_the_inner_copy_and_copies_that_differ_are_refused(fw: SimpleNamespace, tmp_path: Path) -> None:
    source, target = sides(fw, fw.keras, "keras", tmp_path)
    with h5py.File(tmp_path / "one-w.weights.h5", "r+") as file:
        file["layers/spectral_normalization/vars/0"][...] = 3.0
    target.load_weights(tmp_path / "one-w.weights.h5")
    assert all(map(np.array_equal, values(target), values(source)))
    with pytest.raises(RefusedError, match="spectral_normalization"):
        ckptkit.remap(tmp_path / "one-w.weights.h5", tmp_path / "two-m.h5", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_a_wrapper_of_the_users_own_keeps_a_kernel_of_its_own(fw: SimpleNamespace, tmp_path: Path) -> None:
    keras = fw.keras

    class Mixed(keras.layers.Wrapper):
        """A kernel of its own, as large as that of the layer inside, and a row."""

        def build(self, shape: Any) -> None:
            super().build(shape)
            self.kernel = self.add_weight(shape=(6, 6), name="kernel")
            self.row = self.add_weight(shape=(1, 6), name="row")

        def call(self, x: Any) -> Any:
            return self.layer(x) + x @ self.kernel + self.row

    made = []
    for seed, name in enumerate(("one", "two")):
        live = keras.Sequential([keras.Input((6,)), Mixed(keras.layers.Dense(6))])
        scramble(live, seed)
        live.save_weights(tmp_path / f"{name}.weights.h5")
        fw.tf.train.Checkpoint(model=live).write(str(tmp_path / name))
        made.append(live)
    ckptkit.remap(tmp_path / "one.weights.h5", tmp_path / "two.weights.h5", tmp_path / "out.weights.h5")
    made[1].load_weights(tmp_path / "out.weights.h5")
    assert all(map(np.array_equal, values(made[1]), values(made[0])))
    try:
        ckptkit.remap(tmp_path / "one", tmp_path / "two.weights.h5", tmp_path / "o2.weights.h5")
    except CkptkitError:
        return
    made[1].load_weights(tmp_path / "o2.weights.h5")
    assert all(map(np.array_equal, values(made[1]), values(made[0])))
