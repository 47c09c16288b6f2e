"""Models with vocabularies, made once for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def fw() -> SimpleNamespace:
    """TensorFlow, Keras 3 and tf_keras."""
    pytest.importorskip("tensorflow", reason="the frameworks are an extra")
    import keras
    import tensorflow as tf
    import tf_keras

    return SimpleNamespace(tf=tf, keras=keras, tf_keras=tf_keras)


@pytest.fixture(scope="session")
def build(fw: SimpleNamespace) -> Callable[..., Any]:
    """Makes a model: a lookup, an embedding of `rows` rows and a Dense, with random weights of their own."""

    def make(
        words: Sequence[Any], rows: int, lookup: str = "StringLookup", keras: Any = None, seed: int = 1, **options: Any
    ) -> Any:
        keras = keras or fw.keras
        inputs = keras.Input((1,), dtype="int64" if lookup == "IntegerLookup" else "string")
        if lookup == "TextVectorization":
            options.setdefault("output_sequence_length", 3)
        layer = getattr(keras.layers, lookup)(name="words", **options)
        layer.set_vocabulary(list(words))
        found = layer(inputs)
        if options.get("output_mode", "int") == "int":
            found = keras.layers.Embedding(rows, 2, name="table")(found)
        model = keras.Model(inputs, keras.layers.Dense(3, name="head")(found))
        random = np.random.default_rng(seed)
        for weight in model.weights:
            if "float" in str(getattr(weight, "dtype", "")):  # tf_keras lists the vocabulary among the weights
                weight.assign(random.normal(size=weight.shape))
        return model

    return make
