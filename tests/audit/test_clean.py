"""Models of the usual kinds lose nothing, and the audit says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ckptkit.api.audit import audit
from ckptkit.auditing import Audit


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def functional(K):
    inputs = K.Input((4,))
    hidden = K.layers.Dense(5, activation="relu")(inputs)
    return K.Model(inputs, K.layers.Dense(3, activation="softmax")(hidden))


def sequential(K):
    return K.Sequential([K.Input((4,)), K.layers.Dense(5, "relu"), K.layers.Dense(3)])


def compiled(K):
    model = functional(K)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def convolutional(K):
    return K.Sequential(
        [
            K.Input((8, 8, 2)),
            K.layers.Conv2D(3, 3, padding="same"),
            K.layers.BatchNormalization(),
            K.layers.ReLU(),
            K.layers.DepthwiseConv2D(3),
            K.layers.GlobalAveragePooling2D(),
            K.layers.Dropout(0.5),
            K.layers.Dense(2),
        ]
    )


def recurrent(K):
    return K.Sequential([K.Input((5, 3)), K.layers.LSTM(4, return_sequences=True), K.layers.GRU(2)])


def bidirectional(K):
    return K.Sequential([K.Input((5,)), K.layers.Embedding(7, 3), K.layers.Bidirectional(K.layers.LSTM(4))])


def attention(K):
    inputs = K.Input((5, 6))
    x = K.layers.MultiHeadAttention(2, 3)(inputs, inputs)
    x = K.layers.LayerNormalization()(x + inputs)
    return K.Model(inputs, K.layers.Dense(2)(x))


def siamese(K):
    inner = K.Sequential([K.layers.Dense(5), K.layers.Dense(3)])
    left, right = K.Input((4,)), K.Input((4,))
    return K.Model([left, right], K.layers.Concatenate()([inner(left), inner(right)]))


def nested(K):
    inner = functional(K)
    inputs = K.Input((4,))
    return K.Model(inputs, K.layers.Dense(2)(inner(inputs)))


def two_heads(K):
    inputs = K.Input((4,))
    hidden = K.layers.Dense(5)(inputs)
    return K.Model(inputs, {"a": K.layers.Dense(2)(hidden), "b": K.layers.Dense(3)(hidden)})


def embedding_without_gradient_to_inputs(K):
    words, numbers = K.Input((6,), dtype="int32"), K.Input((3,))
    x = K.layers.Flatten()(K.layers.Embedding(9, 4)(words))
    return K.Model([words, numbers], K.layers.Dense(1)(K.layers.Concatenate()([x, numbers])))


def noisy(K):
    return K.Sequential([K.Input((4,)), K.layers.GaussianNoise(0.5), K.layers.Dense(5), K.layers.Dropout(0.5)])


def zero_head(K):
    return K.Sequential([K.Input((4,)), K.layers.Dense(5), K.layers.Dense(2, kernel_initializer="zeros")])


def mixed_precision(K):
    return K.Sequential(
        [K.Input((4,)), K.layers.Dense(5, dtype="mixed_bfloat16"), K.layers.Dense(3, dtype="mixed_bfloat16")]
    )


def transfer(K):
    base = functional(K)
    base.trainable = False
    return K.Sequential([K.Input((4,)), base, K.layers.Dense(2)])


MODELS = (
    functional,
    sequential,
    compiled,
    convolutional,
    recurrent,
    bidirectional,
    attention,
    siamese,
    nested,
    two_heads,
    embedding_without_gradient_to_inputs,
    noisy,
    zero_head,
    mixed_precision,
    transfer,
)


def assert_clean(result: Audit) -> None:
    assert [finding.message for finding in result.findings] == []
    assert result.clean
    assert result.notes == ()
    assert all(facts.created_at is None or "site-packages" not in facts.created_at for facts in result.variables)


@pytest.mark.parametrize("make", MODELS)
def test_keras_models_that_say_what_they_take(K: Any, make: Any) -> None:
    result = audit(lambda: make(K))
    assert_clean(result)
    assert len(result.variables) == len(make(K).weights)


@pytest.mark.parametrize("make", [functional, convolutional, recurrent, compiled])
def test_a_live_model_is_left_as_found(K: Any, make: Any) -> None:
    model = make(K)
    before = [weight.numpy() for weight in model.weights]
    flags = [layer.trainable for layer in model.layers]
    assert_clean(audit(model))
    assert all(np.array_equal(old, weight.numpy()) for old, weight in zip(before, model.weights, strict=True))
    assert flags == [layer.trainable for layer in model.layers]


def subclassed(K):
    class Block(K.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = K.layers.Dense(4)
            self.norm = K.layers.LayerNormalization()

        def call(self, x):
            return self.norm(x + self.dense(x))

    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.blocks = (Block(), Block())
            self.head = K.layers.Dense(2)
            self.drop = K.layers.Dropout(0.5)

        def call(self, x, training=None):
            for block in self.blocks:
                x = block(x)
            return self.head(self.drop(x, training=training))

    return Model()


def one_layer(K):
    return K.layers.Dense(3)


@pytest.mark.parametrize("make", [subclassed, one_layer])
def test_keras_models_that_need_a_shape(K: Any, make: Any) -> None:
    result = audit(lambda: make(K), input_shapes=["2,4"])
    assert_clean(result)
    assert result.variables


@pytest.mark.parametrize("container", [list, dict])
def test_containers_that_tf_keras_walks(container: type) -> None:
    tf_keras = pytest.importorskip("tf_keras")

    class Model(tf_keras.Model):
        def __init__(self):
            super().__init__()
            layers = [tf_keras.layers.Dense(3), tf_keras.layers.Dense(2)]
            self.blocks = layers if container is list else dict(zip("ab", layers, strict=True))

        def call(self, x):
            for layer in self.blocks.values() if container is dict else self.blocks:
                x = layer(x)
            return x

    assert_clean(audit(Model, input_shapes=[(2, 4)]))


def normalized(K):
    return K.Sequential([K.Input((4,)), K.layers.Normalization(), K.layers.Dense(2)])


def test_statistics_that_only_adapt_reads_are_no_orphans(K: Any) -> None:
    assert_clean(audit(lambda: normalized(K)))


def test_sonnet_modules_that_want_is_training() -> None:
    snt = pytest.importorskip("sonnet")
    assert_clean(audit(lambda: snt.nets.VectorQuantizerEMA(4, 5, 0.25, 0.9), input_shapes=["3,2,4"]))


def test_sonnet() -> None:
    snt = pytest.importorskip("sonnet")

    class Nested(snt.Module):
        def __init__(self):
            super().__init__()
            self.blocks = [snt.Linear(5), snt.nets.MLP([4, 3])]
            self.heads = {"a": snt.Linear(2)}

        def __call__(self, x):
            for block in self.blocks:
                x = block(x)
            return self.heads["a"](x)

    for make in (
        lambda: snt.nets.MLP([5, 3]),
        lambda: snt.BatchNorm(create_scale=True, create_offset=True),
        lambda: snt.LSTM(3),
        lambda: snt.GRU(3),
        Nested,
    ):
        assert_clean(audit(make, input_shapes=["2,4"]))
