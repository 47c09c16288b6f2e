"""A program for one backend of Keras: archives become runs that Keras loads. Prints what was held against Keras."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import ckptkit


@keras.saving.register_keras_serializable("runs")
class Tower(keras.Model):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.stem = layers.Dense(5, activation="relu")
        self.rest = [layers.Dense(5), layers.BatchNormalization()]
        self.head = layers.Dense(3, name="last")

    def call(self, x: Any) -> Any:
        x = self.stem(x)
        for layer in self.rest:
            x = layer(x)
        return self.head(x)


@keras.saving.register_keras_serializable("runs")
class Gain(layers.Layer):
    def build(self, shape: Any) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")

    def call(self, x: Any) -> Any:
        return x * self.gain


def inner(name: str) -> keras.Model:
    x = keras.Input((4,))
    y = layers.BatchNormalization(name=f"{name}_norm")(layers.Dense(6, activation="relu", name=f"{name}_in")(x))
    return keras.Model(x, layers.Dense(4, name=f"{name}_out")(y), name=name)


def functional() -> keras.Model:
    x, shared, nested = keras.Input((4,)), layers.Dense(4), inner("nested")
    frozen = inner("frozen")
    frozen.trainable = False
    y = layers.Dropout(0.3)(frozen(nested(shared(shared(x)))))
    sequential = keras.Sequential([layers.Dense(7), keras.Sequential([layers.Dense(6)])])
    z = layers.Reshape((2, 2, 1))(y)
    z = layers.PReLU()(layers.SpectralNormalization(layers.Conv2D(4, 1))(z))
    z = layers.Reshape((4, 5))(layers.SeparableConv2D(5, 1)(layers.DepthwiseConv2D(1)(z)))
    z = layers.EinsumDense("abc,cd->abd", (None, 2), bias_axes="d")(layers.MultiHeadAttention(2, 3)(z, z))
    return keras.Model(x, layers.Concatenate()([layers.Dense(3)(sequential(y)), layers.Flatten()(z)]))


def recurrent() -> keras.Model:
    return keras.Sequential([
        keras.Input((5, 4)), layers.TimeDistributed(layers.Dense(6)),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.GRU(4, return_sequences=True), layers.RNN([layers.LSTMCell(3), layers.GRUCell(5)]), layers.Dense(2),
    ], name="net")  # fmt: skip


def subclassed() -> keras.Model:
    model = Tower()
    model(np.zeros((1, 4), "float32"))
    return model


def nameless() -> keras.Model:
    x = keras.Input((4,))
    return keras.Model(x, Gain()(layers.Dense(3)(x)))


LOADED = (recurrent,) if keras.backend.backend() == "jax" else (functional, recurrent, subclassed)


def filled(make: Callable[[], keras.Model], seed: int) -> keras.Model:
    """A compiled model whose weights are all drawn, with an optimizer that has slots."""
    keras.utils.clear_session()
    model = make()
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.1, 1, value.shape).astype(value.dtype) for value in model.get_weights()])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        if variable.shape:
            variable.assign(random.uniform(0.1, 1, variable.shape).astype("float32"))
    return model


def inputs_of(model: keras.Model) -> np.ndarray:
    shape = (2, *(model.inputs[0].shape[1:] if getattr(model, "inputs", None) else (4,)))
    return np.random.default_rng(9).normal(size=shape).astype("float32")


def output(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model(inputs)))


def state_of(model: keras.Model) -> list[np.ndarray]:
    """All weights, and the optimizer's variables."""
    kept = [*model.weights, *(model.optimizer.variables if model.optimizer else [])]
    return [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in kept]


def check(make: Callable[[], keras.Model], folder: Path, ending: str) -> None:
    name, run = folder / f"{make.__name__}{ending}", folder / f"{make.__name__}{ending}-run"
    made = filled(make, 1)
    made.save(name)
    converted = ckptkit.convert(name, run, to="orbax")
    assert not any("does not load" in note for note in converted.notes), converted.notes
    assert ckptkit.diff(name, run).verdict == "identical", name
    expected, inputs = output(made, inputs_of(made)), inputs_of(made)
    slots = not any("optimizer" in note and "have no name" in note for note in converted.notes)

    keras.utils.clear_session()
    loaded = keras.models.load_model(run)
    assert np.array_equal(output(loaded, inputs), expected), f"load_model {name}"
    count = len(state_of(made)) if slots else len(made.weights)
    pairs = list(zip(state_of(made)[:count], state_of(loaded)[:count], strict=True))
    assert all(np.array_equal(one, other) for one, other in pairs), f"load_model {name}"

    other = filled(make, 2)  # by the same code, which names some variables otherwise
    other.load_weights(run)
    assert np.array_equal(output(other, inputs), expected), f"load_weights {name}"
    assert all(np.array_equal(a, b) for a, b in zip(state_of(made)[:count], state_of(other)[:count], strict=True)), name

    back = folder / f"back-{make.__name__}{ending}"
    ckptkit.remap(run, like=name, output=back, slots=True)
    assert ckptkit.diff(name, back).verdict == "identical", name
    print(make.__name__, ending)


def main(folder: Path) -> None:
    """All checks; what cannot be known is said."""
    for make in LOADED:
        check(make, folder, ".keras")
    if len(LOADED) > 1:
        check(recurrent, folder, ".h5")
    filled(nameless, 1).save(folder / "nameless.keras")
    (note,) = ckptkit.convert(folder / "nameless.keras", folder / "nameless", to="orbax").notes
    assert "does not load this tree" in note
    assert "gain/vars/0" in note


if __name__ == "__main__":
    main(Path(sys.argv[1]))
