"""Quantized layers with adapters: into their like, what the adapter would change refused; and what is no quantized layer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import RefusedError
from tests.moves.test_sweep import CONTAINERS, save, scramble

MERGED, APART = ("w.weights.h5", "m.keras"), ("m.h5", "checkpoint")


def adapted(fw: SimpleNamespace, mode: str, folder: Path, name: str, seed: int) -> Any:
    """A quantized model with an adapter, in every container."""
    live = fw.keras.Sequential([fw.keras.Input((8,)), fw.keras.layers.Dense(6), fw.keras.layers.Dense(4)])
    scramble(live, seed)
    live.quantize(mode)
    for layer in live.layers:
        layer.enable_lora(2)
        for factor in (layer.lora_kernel_a, layer.lora_kernel_b):
            factor.assign(np.random.default_rng(seed).normal(size=factor.shape))
    assert all(save(fw.tf, "keras", live, str(folder / f"{name}-{c}")) for c in CONTAINERS)
    return live


def load(fw: SimpleNamespace, live: Any, path: str) -> None:
    if path.endswith("checkpoint"):
        fw.tf.train.Checkpoint(model=live).read(path).expect_partial()
    else:
        live.load_weights(path)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_layer_with_an_adapter(mode: str, fw: SimpleNamespace, tmp_path: Path) -> None:
    source = adapted(fw, mode, tmp_path, "one", 1)
    target = adapted(fw, mode, tmp_path, "two", 2)
    x = np.random.default_rng(3).normal(size=(5, 8)).astype("float32")
    wanted = {"apart": np.array(source(x))}
    load(fw, target, str(tmp_path / "one-w.weights.h5"))
    wanted["merged"] = np.array(target(x))
    for a in CONTAINERS:
        for b in CONTAINERS:
            one, two, out = (tmp_path / f"one-{a}", tmp_path / f"two-{b}", tmp_path / f"{a}-to-{b}")
            if a in APART and b in MERGED:
                with pytest.raises(RefusedError, match="quantized"):
                    ckptkit.remap(one, two, out)
                continue
            ckptkit.remap(one, two, out)
            scramble(target, 4)
            load(fw, target, str(out))
            held = wanted["apart" if a in APART else "merged"]
            np.testing.assert_array_equal(np.array(target(x)), held, f"{a} -> {b}")


def test_integers_and_floats_do_not_meet(fw: SimpleNamespace, tmp_path: Path) -> None:
    adapted(fw, "int8", tmp_path, "one", 1)
    plain = fw.keras.Sequential([fw.keras.Input((8,)), fw.keras.layers.Dense(6), fw.keras.layers.Dense(4)])
    for container in CONTAINERS:
        assert save(fw.tf, "keras", plain, str(tmp_path / f"plain-{container}"))
        for pair in (("one", "plain"), ("plain", "one")):
            source, target = (tmp_path / f"{side}-{container}" for side in pair)
            with pytest.raises(RefusedError, match="quantized"):
                ckptkit.remap(source, target, tmp_path / f"out-{container}")


def test_a_counter_makes_no_quantized_layer(fw: SimpleNamespace, tmp_path: Path) -> None:
    class Seen(fw.keras.layers.Layer):
        """Two vectors and how many rows they are of."""

        def build(self, shape: Any) -> None:
            self.low, self.high = (self.add_weight(shape=(8,), name=name) for name in ("low", "high"))
            self.rows = self.add_weight(shape=(), dtype="int32", name="rows", initializer="zeros")

        def call(self, x: Any) -> Any:
            return (x - self.low) / (self.high - self.low)

    class Net(fw.keras.Model):
        def __init__(self, *layers: Any) -> None:
            super().__init__()
            self.front, self.back = layers

        def call(self, x: Any) -> Any:
            return self.back(self.front(x))

    dense = fw.keras.layers.Dense
    for name, net in (("one", Net(Seen(), dense(4))), ("two", Net(dense(8), dense(4)))):
        net(np.zeros((1, 8), "float32"))
        net.save_weights(tmp_path / f"{name}.weights.h5")
    with pytest.raises(RefusedError) as caught:
        ckptkit.remap(tmp_path / "one.weights.h5", tmp_path / "two.weights.h5", tmp_path / "out.weights.h5")
    assert "quantized" not in str(caught.value)
