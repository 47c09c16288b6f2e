"""Layers and variables that every call makes anew: the outputs alone tell that nothing of them is kept."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ckptkit.api.audit import audit
from tests.audit.truth import x

_UNIQUE = itertools.count()


def dense_in_call(K: Any) -> Any:
    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        def call(self, x):
            return K.layers.Dense(2)(self.first(x))

    return Model()


def variable_in_call(K: Any) -> Any:
    class Model(K.Model):
        def call(self, x):
            return x @ tf.Variable(tf.random.uniform((4, 2)))

    return Model()


def get_variable_in_call(K: Any) -> Any:
    class Model(K.Model):
        def call(self, x):
            return x @ tf.compat.v1.get_variable(f"anew{next(_UNIQUE)}", (4, 2))

    return Model()


def replaced_in_call(K: Any) -> Any:
    class Model(K.Model):
        def call(self, x):
            self.dense = K.layers.Dense(2)
            return self.dense(x)

    return Model()


@pytest.mark.parametrize("make", [dense_in_call, variable_in_call, get_variable_in_call, replaced_in_call])
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_keras(framework: str, make: Any) -> None:
    K = pytest.importorskip(framework)
    model = make(K)
    try:
        first, second = model(x()).numpy(), model(x()).numpy()
    except ValueError as error:  # the framework itself refuses: nothing to find
        assert "already exists" in str(error) or "cannot add" in str(error).lower()
        return
    assert not np.array_equal(first, second)
    result = audit(lambda: make(K), x())
    found = [finding for finding in result.findings if finding.kind == "made-each-call"]
    assert found
    for finding in found:
        assert finding.outputs_change
        assert finding.facts is not None
        assert finding.facts.created_at is not None
        assert "test_each_call.py:" in finding.facts.created_at
        assert finding.facts.method == "call"
        assert finding.facts.trained is False
        assert set(finding.facts.saved.values()) <= {False, None}
    shapes = sorted(finding.facts.shape for finding in found if finding.facts is not None)
    assert shapes in ([(4, 2)], [(2,), (3, 2)], [(2,), (4, 2)])


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "tf.function"])
@pytest.mark.parametrize("base", ["tf.Module", "sonnet"])
def test_modules(base: str, compiled: bool) -> None:
    kind = tf.Module if base == "tf.Module" else pytest.importorskip("sonnet").Module

    def call(self, x):
        return x @ tf.Variable(tf.random.uniform((4, 2)))

    Model = type("Model", (kind,), {"__call__": tf.function(call) if compiled else call})
    if not compiled:
        model = Model()
        assert not np.array_equal(model(x()), model(x()))
    result = audit(Model, x())
    assert [finding.kind for finding in result.findings] == ["made-each-call"]
    assert result.findings[0].outputs_change


def test_random_outputs_alone_are_no_finding() -> None:
    import keras

    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    model = keras.Sequential([keras.layers.Dense(2), Noise()])
    assert not np.array_equal(model(x()), model(x()))
    assert audit(lambda: keras.Sequential([keras.layers.Dense(2), Noise()]), x()).findings == ()
