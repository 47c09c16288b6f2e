"""Keras 1 and Keras 0 files into Keras 3, by values that NumPy rearranges: their own framework runs nowhere today."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ckptkit import plan, remap
from ckptkit.errors import RefusedError


def stored(path, prefix: str = "") -> dict[str, np.ndarray]:
    """Every dataset of a legacy file by its weight name."""
    found = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name.startswith(prefix):
            found[name.rpartition("/")[2]] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def theano_model(k):
    """The layers of the Keras 1 fixture, as Keras 3 lays them; shapes only, the layers do not feed each other."""
    images, sequence, vector = k.Input((6, 6, 3)), k.Input((4, 5)), k.Input((4,))
    outputs = [k.layers.Conv2D(5, (2, 4))(images), k.layers.LSTM(4)(sequence), k.layers.Dense(6)(vector)]
    return k.Model([images, sequence, vector], outputs)


def test_theano_kernels_and_twelve_arrays(fw, fixtures, mover):
    """`th` ordering on Theano: [out, in, h, w], and turned by 180 degrees; the LSTM's arrays are one for each gate."""
    source = fixtures / "keras1-theano-model" / "model.h5"
    model = theano_model(fw.keras)
    template, output = mover.path(".weights.h5"), mover.path(".weights.h5")
    model.save_weights(template)
    remap(source, template, output, assume={"backend": "theano"})
    model.load_weights(output)
    held = stored(source)
    kernel, bias, w, u, b, dense, dense_bias = (np.asarray(weight) for weight in model.weights)
    turned = held["convolution2d_1_W"][:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, turned)
    np.testing.assert_array_equal(bias, held["convolution2d_1_b"])
    for found, part in ((w, "W"), (u, "U"), (b, "b")):
        np.testing.assert_array_equal(found, np.concatenate([held[f"lstm_1_{part}_{gate}"] for gate in "ifco"], -1))
    np.testing.assert_array_equal(dense, held["dense_1_W"])
    np.testing.assert_array_equal(dense_bias, held["dense_1_b"])


def test_what_the_file_does_not_tell_is_said_to_be_assumed(fw, fixtures, mover):
    """Keras 1 did not store its backend: which way round the kernel lies is a guess that the plan shows."""
    source = fixtures / "keras1-theano-model" / "model.h5"
    template = mover.path(".weights.h5")
    theano_model(fw.keras).save_weights(template)
    steps = plan(source, template).plan.steps
    kernel = next(step for step in steps if step.target.shape == (2, 4, 3, 5))
    assert any("backend=" in doubt for doubt in kernel.doubts)
    assert (
        plan(source, template, assume={"backend": "theano"}).plan
        != plan(source, template, assume={"backend": "tensorflow"}).plan
    )


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_running_statistics_of_keras_1(fw, fixtures, mover, framework):
    """What Keras 1 calls `running_std` was the variance."""
    k = getattr(fw, framework)
    source = fixtures / "keras1-weights" / "weights.h5"
    layers = [k.layers.Conv2D(5, (3, 2)), k.layers.BatchNormalization(), k.layers.Flatten(), k.layers.Dense(6)]
    model = k.Sequential([k.Input((5, 3, 4)), *layers])
    ending = ".weights.h5" if framework == "keras" else ".h5"
    template, output = mover.path(ending), mover.path(ending)
    model.save_weights(template)
    remap(source, template, output)
    model.load_weights(output)
    held = stored(source)
    norm = {weight.name.rpartition("/")[2].removesuffix(":0"): np.asarray(weight) for weight in layers[1].weights}
    for role, old in (
        ("gamma", "gamma"),
        ("beta", "beta"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_std"),
    ):
        np.testing.assert_array_equal(norm[role], held[f"batchnormalization_1_{old}:0"])
    np.testing.assert_array_equal(np.asarray(layers[0].weights[0]), held["convolution2d_1_W:0"])
    np.testing.assert_array_equal(np.asarray(layers[3].weights[0]), held["dense_1_W:0"])


def test_layers_without_names_of_keras_0(fw, fixtures, mover):
    k = fw.keras
    source = fixtures / "keras0-weights" / "weights.h5"
    model = k.Sequential([k.Input((7,)), k.layers.Dense(5), k.layers.Dropout(0.5), k.layers.Dense(3)])
    template, output = mover.path(".weights.h5"), mover.path(".weights.h5")
    model.save_weights(template)
    remap(source, template, output)
    model.load_weights(output)
    with h5py.File(source) as file:
        held = [file[f"layer_{layer}/param_{place}"][()] for layer in (0, 2) for place in (0, 1)]
    for weight, value in zip(model.weights, held, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), value)


def test_another_number_of_filters_is_refused(fw, fixtures, mover):
    k = fw.keras
    images = k.Input((6, 6, 3))
    model = k.Model(images, k.layers.Conv2D(6, (2, 4), name="conv")(images))
    template = mover.path(".weights.h5")
    model.save_weights(template)
    with pytest.raises(RefusedError, match=r"conv/kernel \[2, 4, 3, 6\].*convolution2d_1/kernel \[5, 3, 2, 4\]"):
        plan(fixtures / "keras1-theano-model" / "model.h5", template)
