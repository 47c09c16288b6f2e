"""Small models of every framework for the tests of this folder, alike in what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np


def chain(K: Any, shape: tuple[int, ...], *layers: Any, dtype: str = "float32") -> Any:
    """The functional model of a list of layers."""
    inputs = tensor = K.Input(shape, dtype=dtype)
    for layer in layers:
        tensor = layer(tensor)
    return K.Model(inputs, tensor)


def scramble(model: Any, seed: int) -> Any:
    """Give every variable that a model lists random values; vectors positive, matrices small."""
    generator = np.random.default_rng(seed)
    for variable in model.weights if hasattr(model, "weights") else model.variables:
        if "float" in str(getattr(variable.dtype, "name", variable.dtype)):
            size = tuple(variable.shape)
            values = generator.uniform(0.2, 0.9, size) if len(size) < 2 else generator.normal(size=size) * 0.4
            variable.assign(values.astype("float32"))
    return model


def pair(make: Any, *, same: bool = True) -> tuple[Any, Any]:
    """Two models that `make` makes, of equal weights or of others."""
    one, other = scramble(make(), 0), scramble(make(), 0 if same else 1)
    return one, other


def multiply(variable: Any, factor: float) -> None:
    """Multiply the values of a variable."""
    variable.assign(variable.numpy() * np.float32(factor))
