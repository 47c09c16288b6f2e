"""Live layers of every framework that runs here, and forward passes written from the published definition of the rest.

A subject is a layer whose weights can be read and set by the suffixes of its row, and which can be run. All layers of
one kind take the same input.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from ckptkit.conventions import Row
from tests.conventions.layers import DIMS, dims_of

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import sonnet
import tensorflow as tf
import tf_keras

I, O, H, C, M, V, D = (DIMS[name] for name in "IOHCMVD")
N, K = DIMS["N"], DIMS["K"]
EPSILON = 1e-3
TIME = 4

Array = np.ndarray
v1 = tf.compat.v1


@dataclass
class Box:
    """An array that is set like a framework's variable."""

    value: Array

    def numpy(self) -> Array:
        return self.value

    def assign(self, value: Array) -> None:
        self.value = value


@dataclass
class Subject:
    """A layer: its variables by suffix, and how to run it."""

    weights: Mapping[str, Any]
    run: Callable[[Array], Any]

    def values(self) -> dict[str, Array]:
        return {suffix: np.asarray(weight.numpy()) for suffix, weight in self.weights.items()}

    def assign(self, values: Mapping[str, Array]) -> None:
        assert values.keys() == self.weights.keys()
        for suffix, weight in self.weights.items():
            weight.assign(values[suffix])

    def randomise(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        for suffix, weight in self.weights.items():
            value = random.normal(size=weight.numpy().shape).astype(np.float32)
            positive = "var" in suffix or (suffix in ("running_std", "param_3") and len(self.weights) == 4)
            weight.assign(np.abs(value) + 0.5 if positive else value)


def input_of(row: Row) -> Array:
    """The input of all layers of a row's kind: [2, …], with pairwise different sizes."""
    inputs, kind = dims_of(row)["I"], row.name if row.name.startswith("Depthwise") else row.kind
    shapes: dict[str, tuple[int, ...]] = {
        "Dense": (2, inputs),
        "EinsumDense": (2, 6, N, K) if "output" in row.name else (2, 6, I),
        "Conv1D": (2, 9, I),
        "Conv2D": (2, 9, 8, I),
        "Conv3D": (2, 9, 8, 7, I),
        "Conv1DTranspose": (2, 9, I),
        "Conv2DTranspose": (2, 9, 8, I),
        "Conv3DTranspose": (2, 5, 4, 6, I),
        "DepthwiseConv1D": (2, 9, C),
        "DepthwiseConv2D": (2, 9, 8, C),
        "SeparableConv1D": (2, 9, C),
        "SeparableConv2D": (2, 9, 8, C),
        "SimpleRNN": (2, TIME, I),
        "LSTM": (2, TIME, I),
        "GRU": (2, TIME, I),
        "ConvLSTM1D": (2, TIME, 6, I),
        "ConvLSTM2D": (2, TIME, 6, 5, I),
        "ConvLSTM3D": (2, TIME, 4, 5, 6, I),
        "MultiHeadAttention": (2, 6, DIMS["Q"]),
        "GroupQueryAttention": (2, 6, DIMS["Q"]),
        "Attention": (2, 6, D),
        "AdditiveAttention": (2, 6, D),
        "VectorQuantizer": (20, D),
        "PositionEmbedding": (2, V, D),
        "VectorQuantizerEMA": (20, D),
    }
    if kind in ("Embedding", "ReversibleEmbedding"):
        return np.arange(V).reshape(1, V)[:, ::-1].copy()
    return np.random.default_rng(7).normal(size=shapes.get(kind, (2, 3, 4, C))).astype(np.float32)


# ---------------------------------------------------------------------------------------------- Keras 3 and tf_keras


def _keras_layers(lib: Any, outputs: int) -> dict[str, Callable[[], Any]]:
    """Row name -> a layer of Keras 3 or tf_keras."""
    layers = lib.layers
    rnn = {"return_sequences": True}
    made: dict[str, Callable[[], Any]] = {
        "Dense": lambda: layers.Dense(outputs),
        "EinsumDense(heads)": lambda: layers.EinsumDense("abc,cde->abde", (None, N, K), bias_axes="de"),
        "EinsumDense(heads as Dense)": lambda: layers.EinsumDense("ac,cde->ade", (N, K), bias_axes="de"),
        "EinsumDense(matrix)": lambda: layers.EinsumDense("abc,cd->abd", (None, O), bias_axes="d"),
        "EinsumDense(output)": lambda: layers.EinsumDense("abcd,cde->abe", (None, O), bias_axes="e"),
        "EinsumDense(output as Dense)": lambda: layers.EinsumDense("acd,cde->ae", (O,), bias_axes="e"),
        "Embedding": lambda: layers.Embedding(V, D),
        "Conv1D": lambda: layers.Conv1D(O, 2),
        "Conv2D": lambda: layers.Conv2D(O, (2, 3)),
        "Conv3D": lambda: layers.Conv3D(O, (2, 3, 4)),
        "Conv1DTranspose": lambda: layers.Conv1DTranspose(O, 2, strides=2),
        "Conv2DTranspose": lambda: layers.Conv2DTranspose(O, (2, 3), strides=2),
        "Conv3DTranspose": lambda: layers.Conv3DTranspose(O, (2, 3, 4), strides=2),
        "DepthwiseConv1D": lambda: layers.DepthwiseConv1D(2, depth_multiplier=M),
        "DepthwiseConv2D": lambda: layers.DepthwiseConv2D((2, 3), depth_multiplier=M),
        "SeparableConv1D": lambda: layers.SeparableConv1D(O, 2, depth_multiplier=M),
        "SeparableConv2D": lambda: layers.SeparableConv2D(O, (2, 3), depth_multiplier=M),
        "BatchNormalization": lambda: layers.BatchNormalization(epsilon=EPSILON),
        "LayerNormalization": lambda: layers.LayerNormalization(epsilon=EPSILON),
        "GroupNormalization": lambda: layers.GroupNormalization(groups=C, epsilon=EPSILON),
        "Normalization": lambda: layers.Normalization(),
        "PReLU": lambda: layers.PReLU(shared_axes=[1, 2]),
        "PReLU(unshared)": lambda: layers.PReLU(),
        "PReLU(one slope)": lambda: layers.PReLU(shared_axes=[1, 2, 3]),
        "SimpleRNN": lambda: layers.SimpleRNN(H, **rnn),
        "SimpleRNN(relu)": lambda: layers.SimpleRNN(H, activation="relu", **rnn),
        "LSTM": lambda: layers.LSTM(H, **rnn),
        "GRU": lambda: layers.GRU(H, **rnn),
        "GRU(reset_after=False)": lambda: layers.GRU(H, reset_after=False, **rnn),
        "ConvLSTM1D": lambda: layers.ConvLSTM1D(O, 2, padding="same", recurrent_activation="sigmoid", **rnn),
        "ConvLSTM2D": lambda: layers.ConvLSTM2D(O, (2, 3), padding="same", recurrent_activation="sigmoid", **rnn),
        "ConvLSTM3D": lambda: layers.ConvLSTM3D(O, (2, 3, 4), padding="same", recurrent_activation="sigmoid", **rnn),
        "MultiHeadAttention": lambda: layers.MultiHeadAttention(N, K, value_dim=DIMS["W"], output_shape=O),
        "Attention": lambda: layers.Attention(use_scale=True, score_mode="concat"),
        "AdditiveAttention": lambda: layers.AdditiveAttention(),
    }
    made["LayerScale"] = lambda: import_module(f"{lib.__name__}.src.applications.convnext").LayerScale(0.5, C)
    if lib is keras:
        made["RMSNormalization"] = lambda: layers.RMSNormalization()
        made["ReversibleEmbedding"] = lambda: _Both(layers.ReversibleEmbedding(V, D, tie_weights=False))
        made["PositionEmbedding"] = lambda: _Positions()
        made["GroupQueryAttention"] = lambda: layers.GroupQueryAttention(K, 2, 1)
    return made


class _Both:
    """A reversible embedding run both ways, so that both of its tables matter."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, x: Array) -> Any:
        within = self.inner(x)
        return keras.ops.concatenate([within, self.inner(within, reverse=True)], axis=-1)


class _Positions(keras.layers.Layer):
    """keras_hub's PositionEmbedding as its page defines it: a table, of which every place gets its row."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.position_embeddings = self.add_weight(name="embeddings", shape=shape[1:])

    def call(self, x: Any) -> Any:
        return x * 0 + self.position_embeddings


def _suffix(layer: Any, variable: Any, lib: Any) -> str:
    """A variable's name below its layer: the last word, or the last two where sub-layers have their own."""
    path = variable.path if lib is keras else variable.name.partition(":")[0]
    if type(layer).__name__ == "LayerScale":  # it gives its variable no name
        return "gamma"
    words = path.split("/")
    nested = {"query", "key", "value", "attention_output"} & set(words[-2:-1])
    return "/".join(words[-2:]) if nested else words[-1]


def keras_subject(lib: Any, name: str, row: Row) -> Subject:
    """The layer called `name` of Keras 3 or tf_keras, of the sizes of `row`."""
    layer = _keras_layers(lib, dims_of(row)["O"])[name]()

    def run(x: Array) -> Any:
        if "Attention" in name:
            values = np.flip(x, axis=1).copy()
            return layer(x, values) if "Head" in name or "Group" in name else layer([x, values])
        return layer(x)

    run(input_of(row))
    layer = getattr(layer, "inner", layer)
    weights = {_suffix(layer, variable, lib): variable for variable in layer.weights}
    states = ("count", "seed_generator_state")
    return Subject({suffix: weight for suffix, weight in weights.items() if suffix not in states}, run)


# ------------------------------------------------------------------------------- tf.layers, tf.nn.rnn_cell and Sonnet 2


def _with_names(variables: Any) -> dict[str, Any]:
    return {variable.name.partition(":")[0].rpartition("/")[2]: variable for variable in variables}


def tf_layers_subject(name: str, row: Row) -> Subject:
    layers = v1.layers
    layer = {
        "dense": lambda: layers.Dense(O),
        "conv1d": lambda: layers.Conv1D(O, 2),
        "conv2d": lambda: layers.Conv2D(O, (2, 3)),
        "conv3d": lambda: layers.Conv3D(O, (2, 3, 4)),
        "conv2d_transpose": lambda: layers.Conv2DTranspose(O, (2, 3), strides=2),
        "conv3d_transpose": lambda: layers.Conv3DTranspose(O, (2, 3, 4), strides=2),
        "separable_conv1d": lambda: layers.SeparableConv1D(O, 2, depth_multiplier=M),
        "separable_conv2d": lambda: layers.SeparableConv2D(O, (2, 3), depth_multiplier=M),
        "batch_normalization": lambda: layers.BatchNormalization(epsilon=EPSILON),
    }[name]()
    layer(input_of(row))
    return Subject(_with_names(layer.variables), layer)


def _unrolled(step: Callable[[Any, Any], tuple[Any, Any]], state: Any, x: Array) -> Any:
    outputs = []
    for time in range(x.shape[1]):
        output, state = step(tf.constant(x[:, time]), state)
        outputs.append(output)
    return tf.stack(outputs, axis=1)


def rnn_cell_subject(name: str, row: Row) -> Subject:
    cells = v1.nn.rnn_cell
    make = {
        "BasicRNNCell": lambda: cells.BasicRNNCell(H),
        "BasicLSTMCell": lambda: cells.BasicLSTMCell(H),
        "LSTMCell": lambda: cells.LSTMCell(H),
        "GRUCell": lambda: cells.GRUCell(H),
    }[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # every one of these cells calls itself deprecated
        cell = make()

    def run(x: Array) -> Any:
        return _unrolled(cell, cell.zero_state(len(x), tf.float32), x)

    run(input_of(row))
    names = {
        "/".join(words[-2:] if words[-2] in ("gates", "candidate") else words[-1:]): variable
        for variable in cell.variables
        for words in [variable.name.partition(":")[0].split("/")]
    }
    return Subject(names, run)


def sonnet2_subject(name: str, row: Row) -> Subject:
    module = {
        "Linear": lambda: sonnet.Linear(O),
        "Embed": lambda: sonnet.Embed(V, D),
        "Conv1D": lambda: sonnet.Conv1D(O, 2, padding="VALID"),
        "Conv2D": lambda: sonnet.Conv2D(O, (2, 3), padding="VALID"),
        "Conv3D": lambda: sonnet.Conv3D(O, (2, 3, 4), padding="VALID"),
        "Conv1DTranspose": lambda: sonnet.Conv1DTranspose(O, 2, (18,), stride=2, padding="VALID"),
        "Conv2DTranspose": lambda: sonnet.Conv2DTranspose(O, (2, 3), (18, 17), stride=2, padding="VALID"),
        "Conv3DTranspose": lambda: sonnet.Conv3DTranspose(O, (2, 3, 4), (10, 9, 14), stride=2, padding="VALID"),
        "DepthwiseConv2D": lambda: sonnet.DepthwiseConv2D((2, 3), channel_multiplier=M, padding="VALID"),
        "BatchNorm": lambda: sonnet.BatchNorm(True, True, eps=EPSILON),
        "LayerNorm": lambda: sonnet.LayerNorm(-1, True, True, eps=EPSILON),
        "GroupNorm": lambda: sonnet.GroupNorm(C, eps=EPSILON),
        "InstanceNorm": lambda: sonnet.InstanceNorm(True, True, eps=EPSILON),
        "VanillaRNN": lambda: sonnet.VanillaRNN(H),
        "LSTM": lambda: sonnet.LSTM(H),
        "UnrolledLSTM": lambda: sonnet.UnrolledLSTM(H),
        "GRU": lambda: sonnet.GRU(H),
        "Conv1DLSTM": lambda: sonnet.Conv1DLSTM((6, I), O, 2),
        "Conv2DLSTM": lambda: sonnet.Conv2DLSTM((6, 5, I), O, (2, 3)),
        "Conv3DLSTM": lambda: sonnet.Conv3DLSTM((4, 5, 6, I), O, (2, 3, 4)),
        "VectorQuantizer": lambda: sonnet.nets.VectorQuantizer(D, V, 0.25),
        "VectorQuantizerEMA": lambda: sonnet.nets.VectorQuantizerEMA(D, V, 0.25, 0.9),
    }[name]()

    def run(x: Array) -> Any:
        if name == "UnrolledLSTM":
            outputs, _ = module(tf.constant(np.swapaxes(x, 0, 1).copy()), module.initial_state(len(x)))
            return tf.transpose(outputs, (1, 0, 2))
        if isinstance(module, sonnet.RNNCore):
            return _unrolled(module, module.initial_state(len(x)), x)
        if name in ("BatchNorm",) or name.startswith("VectorQuantizer"):
            output = module(tf.constant(x), is_training=False)
            return output["quantize"] if isinstance(output, dict) else output
        return module(tf.constant(x))

    run(input_of(row))
    weights: dict[str, Any] = {}
    for path, variable in _paths(module):
        if not path.endswith(("hidden", "counter")):
            weights[path] = variable
    return Subject(weights, run)


def _paths(module: Any, prefix: str = "") -> Any:
    """(attribute path without leading underscores, variable) of a Sonnet module."""
    for name, value in vars(module).items():
        path = f"{prefix}{name.lstrip('_')}"
        if isinstance(value, tf.Variable):
            yield path, value
        elif isinstance(value, sonnet.Module):
            yield from _paths(value, f"{path}/")


def _flax_subject(name: str, row: Row) -> Subject:
    pytest.importorskip("flax", reason="the frameworks are an extra")
    from tests.conventions.jax_subjects import flax_subject

    return flax_subject(name, row)


def _haiku_subject(name: str, row: Row) -> Subject:
    pytest.importorskip("haiku", reason="the frameworks are an extra")
    from tests.conventions.jax_subjects import haiku_subject

    return haiku_subject(name, row)


RUNNABLE: Mapping[str, Callable[[str, Row], Subject]] = {
    "keras3": lambda name, row: keras_subject(keras, name, row),
    "keras2": lambda name, row: keras_subject(tf_keras, name, row),
    "tf_layers": tf_layers_subject,
    "rnn_cell": rnn_cell_subject,
    "sonnet2": sonnet2_subject,
    "flax": _flax_subject,
    "haiku": _haiku_subject,
}
