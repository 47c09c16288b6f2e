"""Small models of both Keras generations, every layer named, every dimension different."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

INPUTS = np.linspace(-1, 1, 4 * 7, dtype="float32").reshape(4, 7)


def build(keras: Any, seed: int, *, fitted: bool = True) -> Any:
    """A functional model with BatchNormalization, a nested model and, when `fitted`, optimizer slots.

    Args:
        keras: `keras` (3) or `tf_keras`.
        seed: of its weights.
        fitted: whether it is compiled and trained for a step.
    """
    layers = keras.layers
    inner = keras.Sequential([layers.Dense(6, name="inner_a"), layers.Dense(5, name="inner_b")], name="inner")
    inputs = keras.Input((7,), name="the_input")
    value = layers.Dense(3, name="first")(inputs)
    value = layers.BatchNormalization(name="norm")(value)
    value = inner(value)
    value = layers.Dense(5, name="zebra")(value)
    value = layers.Dense(5, name="apple")(value)
    model = keras.Model(inputs, layers.Dense(2, name="head")(value), name="model")
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    if fitted:
        model.compile("adam", keras.losses.MeanSquaredError())
        model.fit(INPUTS, np.zeros((4, 2)), verbose=0)
    return model


@functools.cache
def trained(keras: Any, seed: int = 1) -> Any:
    """A model of each framework and seed for tests that only read it."""
    return build(keras, seed)


def outputs(model: Any) -> np.ndarray:
    """What the model computes on `INPUTS`."""
    return np.asarray(model(INPUTS, training=False))
