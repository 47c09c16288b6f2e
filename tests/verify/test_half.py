"""Models in half precision: an error of one per cent in a kernel is found, and rounding is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

import ckptkit
from tests.verify.models import chain, multiply


def normalised(K, dtype, names=("a", "b")):
    """A perceptron of width 128 with a LayerNormalization behind every layer."""
    L = K.layers
    layers = []
    for name in names:
        layers += [
            L.Dense(128, dtype=dtype, name=name), L.LayerNormalization(dtype=dtype), L.Activation("relu", dtype=dtype),
        ]  # fmt: skip
    return chain(K, (48,), *layers, L.Dense(10, dtype=dtype, name="top"))


def filled(model, seed=0):
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        size = tuple(variable.shape)
        values = generator.normal(size=size) / (8 if len(size) > 1 else 4)
        variable.assign(values + (1.0 if "gamma" in variable.name else 0.0))
    return model


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_one_per_cent_on_any_kernel_fails_and_equal_weights_pass(fw, dtype) -> None:
    a, b = filled(normalised(fw.keras, dtype)), filled(normalised(fw.keras, dtype))
    result = ckptkit.compare_models(a, b)
    assert result.complete
    assert [output.passed for output in result.outputs] == [True, True]
    assert "computed in float32" in result.outputs[1].name
    for name in ("a", "b", "top"):
        kernel = b.get_layer(name).kernel
        before = kernel.numpy()
        kernel.assign(before.astype("float32") * 1.01)
        assert not ckptkit.compare_models(a, b).passed, name
        kernel.assign(before)


def test_two_frameworks_in_float16_agree(fw) -> None:
    a, b = filled(normalised(fw.keras, "float16")), normalised(fw.tf_keras, "float16")
    b.set_weights(a.get_weights())
    assert ckptkit.compare_models(a, b).passed
    assert ckptkit.compare_models(b, a).passed
    multiply(a.get_layer("b").bias, 1.02)
    assert not ckptkit.compare_models(a, b).passed


def test_loops_are_widened_too(fw) -> None:
    L = fw.keras.layers

    def make():
        return chain(fw.keras, (9, 5), L.LSTM(16, dtype="float16", unroll=False), L.Dense(3, dtype="float16"))

    a = make()
    b = fw.keras.models.clone_model(a)
    b.set_weights(a.get_weights())
    result = ckptkit.compare_models(a, b)
    assert result.passed
    assert len(result.outputs) == 2
    multiply(b.layers[1].cell.recurrent_kernel, 1.01)
    assert not ckptkit.compare_models(a, b).passed


def test_where_one_side_is_half_it_is_said_what_cannot_be_told(fw) -> None:
    a, b = filled(normalised(fw.keras, "float16")), normalised(fw.keras, "float32")
    b.set_weights([np.asarray(value, "float32") for value in a.get_weights()])
    result = ckptkit.compare_models(a, b)
    assert result.passed
    assert len(result.outputs) == 1
    assert any("one per cent" in note and "only one side computes in float16" in note for note in result.notes)


def test_float32_needs_none_of_this(fw) -> None:
    a = filled(normalised(fw.keras, "float32"))
    result = ckptkit.compare_models(a, a)
    assert len(result.outputs) == 1
    assert not any("float" in note for note in result.notes)
