"""Networks of many repeated blocks, and modules of Sonnet 1 into Sonnet 2.

Sources of the names: the variables of the released Inception-ResNet v2 of tensorflow/models, of the recurrent policies
of openai/baselines, and of Sonnet 1's `snt.nets.MLP` and `snt.LSTM`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.matching.published.scheme import Scheme, Stored, Weights, below, published
from tests.matching.published.sequences import fused_lstm
from tests.matching.published.thinning import thin

SHORT = {"kernel": "w", "bias": "b"}
SLIM = {"kernel": "weights", "bias": "biases"}


def _branches(scope: str, *parts: str) -> Iterator[tuple[str, None]]:
    yield from ((f"{scope}/{part}", None) for part in parts)


def _residual(repeat: str, block: str, ours: str, *parts: str) -> Iterator[tuple[str, str | None]]:
    yield from _branches(f"{repeat}{block}", *parts)
    yield f"{repeat}{block}/Conv2d_1x1", f"{ours}_conv"


def _inception_resnet() -> Iterator[tuple[str, str | None]]:
    """Scopes in the order in which both sides make them, and the names of those layers that have one."""
    stem = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    yield from ((scope, None) for scope in stem)
    yield from _branches(
        "Mixed_5b", "Branch_0/Conv2d_1x1", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_5x5", "Branch_2/Conv2d_0a_1x1",
        "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_0c_3x3", "Branch_3/Conv2d_0b_1x1",
    )  # fmt: skip
    for i in range(1, 11):
        yield from _residual(
            "Repeat/", f"block35_{i}", f"block35_{i}", "Branch_0/Conv2d_1x1", "Branch_1/Conv2d_0a_1x1",
            "Branch_1/Conv2d_0b_3x3", "Branch_2/Conv2d_0a_1x1", "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_0c_3x3",
        )  # fmt: skip
    yield from _branches("Mixed_6a", "Branch_0/Conv2d_1a_3x3", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_3x3",
                         "Branch_1/Conv2d_1a_3x3")  # fmt: skip
    for i in range(1, 21):
        yield from _residual("Repeat_1/", f"block17_{i}", f"block17_{i}", "Branch_0/Conv2d_1x1", "Branch_1/Conv2d_0a_1x1",
                             "Branch_1/Conv2d_0b_1x7", "Branch_1/Conv2d_0c_7x1")  # fmt: skip
    yield from _branches(
        "Mixed_7a", "Branch_0/Conv2d_0a_1x1", "Branch_0/Conv2d_1a_3x3", "Branch_1/Conv2d_0a_1x1",
        "Branch_1/Conv2d_1a_3x3", "Branch_2/Conv2d_0a_1x1", "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_1a_3x3",
    )  # fmt: skip
    for i in range(1, 11):
        repeat, block = ("Repeat_2/", f"block8_{i}") if i < 10 else ("", "Block8")
        yield from _residual(repeat, block, f"block8_{i}", "Branch_0/Conv2d_1x1", "Branch_1/Conv2d_0a_1x1",
                             "Branch_1/Conv2d_0b_1x3", "Branch_1/Conv2d_0c_3x1")  # fmt: skip


@published
def inception_resnet_v2() -> Scheme:
    """Two hundred counted convolutions against three repeats of branches."""
    roles = ("beta", "moving_mean", "moving_variance")

    def build() -> Any:
        with thin("inception_resnet_v2", 16) as application:
            return application.InceptionResNetV2(weights=None, input_shape=(96, 96, 3), classes=11)

    def store(w: Weights) -> Stored:
        root, out, place = "InceptionResnetV2", {}, 0
        for scope, name in _inception_resnet():
            if name is not None:
                out |= below(f"{root}/{scope}", w.layer(name, **SLIM))
                continue
            end, place = f"_{place}" if place else "", place + 1
            out[f"{root}/{scope}/weights"] = w[f"conv2d{end}/kernel"]
            out |= below(f"{root}/{scope}/BatchNorm", w.norm(f"batch_normalization{end}", roles))
        out[f"{root}/Conv2d_7b_1x1/weights"] = w["conv_7b/kernel"]
        out |= below(f"{root}/Conv2d_7b_1x1/BatchNorm", w.norm("conv_7b_bn", roles))
        return {**out, **below(f"{root}/Logits/Logits", w.layer("predictions", **SLIM))}

    return Scheme(build, store, targets=(".weights.h5", ".keras"))


def _linears(count: int) -> dict[str, str]:
    return {f"linear_{i}": f"linear_{i}" for i in range(count)}


@published
def sonnet_1_into_sonnet_2() -> Scheme:
    """Two networks of equal shapes: attributes of a module against scopes."""

    def build() -> Any:
        import sonnet as snt
        import tensorflow as tf

        class Model(snt.Module):
            def __init__(self) -> None:
                super().__init__(name="model")
                self.encoder = snt.nets.MLP([6, 6, 6], name="encoder")
                self.decoder = snt.nets.MLP([6, 6, 6], name="decoder")

            def __call__(self, x: Any) -> Any:
                return self.decoder(self.encoder(x))

        model = Model()
        model(tf.zeros((1, 6)))
        return model

    def store(w: Weights) -> Stored:
        out = {}
        for part in ("encoder", "decoder"):
            for name in _linears(3):
                for role in ("w", "b"):
                    out[f"model/{part}/mlp/{name}/{role}"] = w[f"{part}/{name}/{role}"]
        return out

    return Scheme(build, store, targets=(".ckpt",))


@published
def sonnet_1_cell_into_keras() -> Scheme:
    """Sonnet 1 names the fused kernel `w_gates`."""

    def build() -> Any:
        import keras
        from keras import layers as make

        x = seen = keras.Input((5, 6))
        x = make.LSTM(7, return_sequences=True, name="core")(x)
        return keras.Model(seen, make.Dense(3, name="policy")(x))

    def store(w: Weights) -> Stored:
        fused = fused_lstm(w, "core/lstm_cell")
        out = {"agent/lstm/w_gates": fused["kernel"], "agent/lstm/b_gates": fused["bias"]}
        return {**out, **below("agent/policy_linear", w.layer("policy", **SHORT))}

    return Scheme(build, store, back=("right", "refused"))


@published
def baselines_recurrent_policy() -> Scheme:
    """Baselines' own cell: `wx`, `wh`, `b`, gates i, f, o, u and no forget bias."""

    def build() -> Any:
        import keras
        from keras import layers as make

        x = seen = keras.Input((5, 6))
        x = make.LSTM(7, return_sequences=True, name="lstm")(x)
        return keras.Model(seen, [make.Dense(4, name="policy")(x), make.Dense(1, name="value")(x)])

    def store(w: Weights) -> Stored:
        def gates(value: np.ndarray) -> np.ndarray:
            i, f, c, o = np.split(value, 4, -1)
            return np.concatenate([i, f, o, c], -1)

        cell = "lstm/lstm_cell"
        out = {"ppo2_model/pi/lstm1/wx": gates(w[f"{cell}/kernel"]),
               "ppo2_model/pi/lstm1/wh": gates(w[f"{cell}/recurrent_kernel"]),
               "ppo2_model/pi/lstm1/b": gates(w[f"{cell}/bias"])}  # fmt: skip
        out |= below("ppo2_model/vf", w.layer("value", **SHORT))
        return {**out, **below("ppo2_model/pi", w.layer("policy", **SHORT))}

    # A cell whose gates no table describes yet may be refused; in another order than its own it is wrong.
    return Scheme(build, store, back=("right", "refused"), expect=("right", "refused"))
