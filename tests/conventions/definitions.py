"""Forward passes written from the published definition, for layers whose framework cannot be installed any more.

`DEFINED` maps the rows that are proven by a definition to why no framework runs them; a test makes sure that the list
holds no row for which one can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ckptkit.conventions import Row
from ckptkit.conventions.layout import UNITS, parse_layout
from tests.conventions.layers import dims_of, shape_of
from tests.conventions.subjects import EPSILON, Box, Subject, _unrolled, sonnet2_subject

Weights = Mapping[str, Any]
_Forward = Callable[[Any, Weights], Any]
sigmoid, tanh = tf.sigmoid, tf.tanh


def _dense(x: Any, w: Weights, kernel: str, bias: str | None = None) -> Any:
    y = x @ w[kernel].numpy()
    return y + w[bias].numpy() if bias else y


def _conv(x: Any, w: Weights, kernel: str, bias: str, **options: Any) -> Any:
    return tf.nn.convolution(x, w[kernel].numpy(), **options) + w[bias].numpy()


def _transposed(x: Any, kernel: Any, bias: Any) -> Any:
    """Stride 2, no padding: the output is as long as it must be for the last window to fit."""
    spatial = [(size - 1) * 2 + width for size, width in zip(x.shape[1:-1], kernel.shape, strict=False)]
    shape = [x.shape[0], *spatial, kernel.shape[-2]]
    return tf.nn.conv_transpose(x, kernel, shape, strides=2, padding="VALID") + bias


def _depthwise(x: Any, kernel: Any) -> Any:
    return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID")


def _separable(x: Any, w: Weights, names: tuple[str, str, str]) -> Any:
    depthwise, pointwise, bias = (w[name].numpy() for name in names)
    return tf.nn.convolution(_depthwise(x, depthwise), pointwise) + bias


def _batch_norm(x: Any, w: Weights) -> Any:
    parts = (w[name].numpy() for name in ("moving_mean", "moving_variance", "beta", "gamma"))
    return tf.nn.batch_normalization(x, *parts, EPSILON)


def _normalised(x: Any, w: Weights, axes: tuple[int, ...]) -> Any:
    mean, variance = tf.nn.moments(tf.constant(x), axes, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, w["beta"].numpy(), w["gamma"].numpy(), EPSILON)


def _prelu(x: Any, alpha: Any) -> Any:
    return np.maximum(x, 0) + alpha * np.minimum(x, 0)


def _lstm_state(x: Any, gates: Any, cell: Any, forget_bias: float) -> tuple[Any, Any]:
    """TensorFlow 1's order of gates: input, new input, forget, output."""
    i, j, f, o = tf.split(gates, 4, axis=-1)
    cell = sigmoid(f + forget_bias) * cell + sigmoid(i) * tanh(j)
    hidden = tanh(cell) * sigmoid(o)
    return hidden, (hidden, cell)


def _lstm(x: Any, w: Weights, kernel: str, bias: str, forget_bias: float) -> Any:
    units = w[bias].numpy().shape[0] // 4

    def step(now: Any, state: Any) -> tuple[Any, Any]:
        hidden, cell = state
        return _lstm_state(now, _dense(tf.concat([now, hidden], 1), w, kernel, bias), cell, forget_bias)

    zero = tf.zeros((len(x), units))
    return _unrolled(step, (zero, zero), x)


def _block_lstm(x: Any, w: Weights) -> Any:
    """TensorFlow's own fused operation, which is what the cell runs."""
    units = w["bias"].numpy().shape[0] // 4
    peephole = tf.zeros(units)

    def step(now: Any, state: Any) -> tuple[Any, Any]:
        cell, hidden = state
        made = tf.raw_ops.LSTMBlockCell(
            x=now, cs_prev=cell, h_prev=hidden, w=w["kernel"].numpy(), b=w["bias"].numpy(), wci=peephole, wcf=peephole,
            wco=peephole, forget_bias=1.0, cell_clip=-1.0, use_peephole=False,
        )  # fmt: skip
        return made.h, (made.cs, made.h)

    zero = tf.zeros((len(x), units))
    return _unrolled(step, (zero, zero), x)


def _block_gru(x: Any, w: Weights) -> Any:
    names = {"w_ru": "w_ru", "w_c": "w_c", "b_ru": "b_ru", "b_c": "b_c"}

    def step(now: Any, hidden: Any) -> tuple[Any, Any]:
        made = tf.raw_ops.GRUBlockCell(x=now, h_prev=hidden, **{to: w[name].numpy() for to, name in names.items()})
        return made.h, made.h

    return _unrolled(step, tf.zeros((len(x), w["b_c"].numpy().shape[0])), x)


def _conv_lstm(x: Any, w: Weights) -> Any:
    outputs = w["biases"].numpy().shape[0] // 4

    def step(now: Any, state: Any) -> tuple[Any, Any]:
        hidden, cell = state
        gates = _conv(tf.concat([now, hidden], -1), w, "kernel", "biases", padding="SAME")
        return _lstm_state(now, gates, cell, 1.0)

    zero = tf.zeros((len(x), *x.shape[2:-1], outputs))
    return _unrolled(step, (zero, zero), x)


def _sonnet_conv_lstm(x: Any, w: Weights) -> Any:
    outputs = w["conv/b"].numpy().shape[0] // 4

    def step(now: Any, state: Any) -> tuple[Any, Any]:
        hidden, cell = state
        gates = _conv(now, w, "conv/w", "conv/b", padding="SAME") + _conv(
            hidden, w, "conv_1/w", "conv_1/b", padding="SAME"
        )
        return _lstm_state(now, gates, cell, 1.0)

    zero = tf.zeros((len(x), *x.shape[2:-1], outputs))
    return _unrolled(step, (zero, zero), x)


def _cudnn_gru(x: Any, w: Weights) -> Any:
    """r and u see both; the reset gate is applied after the recurrent product."""

    def step(now: Any, hidden: Any) -> tuple[Any, Any]:
        r, u = tf.split(sigmoid(_dense(tf.concat([now, hidden], 1), w, "gates/kernel", "gates/bias")), 2, axis=1)
        within = "candidate/input_projection/kernel", "candidate/input_projection/bias"
        before = "candidate/hidden_projection/kernel", "candidate/hidden_projection/bias"
        new = tanh(_dense(now, w, *within) + r * _dense(hidden, w, *before))
        hidden = (1 - u) * new + u * hidden
        return hidden, hidden

    units = w["candidate/input_projection/bias"].numpy().shape[0]
    return _unrolled(step, tf.zeros((len(x), units)), x)


def _sonnet_gru(x: Any, w: Weights) -> Any:
    def step(now: Any, hidden: Any) -> tuple[Any, Any]:
        z = sigmoid(_dense(now, w, "wz", "bz") + _dense(hidden, w, "uz"))
        r = sigmoid(_dense(now, w, "wr", "br") + _dense(hidden, w, "ur"))
        new = tanh(_dense(now, w, "wh", "bh") + _dense(r * hidden, w, "uh"))
        hidden = (1 - z) * hidden + z * new
        return hidden, hidden

    return _unrolled(step, tf.zeros((len(x), w["bh"].numpy().shape[0])), x)


def _sonnet_rnn(x: Any, w: Weights) -> Any:
    def step(now: Any, hidden: Any) -> tuple[Any, Any]:
        inside = _dense(now, w, "in_to_hidden/w", "in_to_hidden/b")
        hidden = tanh(inside + _dense(hidden, w, "hidden_to_hidden/w", "hidden_to_hidden/b"))
        return hidden, hidden

    return _unrolled(step, tf.zeros((len(x), w["in_to_hidden/b"].numpy().shape[0])), x)


def _quantized(x: Any, embeddings: Any) -> Any:
    distances = (x**2).sum(1, keepdims=True) - 2 * x @ embeddings + (embeddings**2).sum(0, keepdims=True)
    return embeddings.T[distances.argmin(axis=1)]


def _by_hand(forward: _Forward) -> tuple[str, _Forward]:
    """A definition over vectors where the row has vectors with the axes kept along which they are added."""
    return _NOBODY, lambda x, w: forward(x, {name: Box(np.squeeze(box.numpy())) for name, box in w.items()})


_NOBODY = "people's own code, which no framework holds"
_CONTRIB = "tensorflow.contrib ended with TensorFlow 1.15, for which there is no Python 3.10"
_SONNET1 = "Sonnet 1 needs TensorFlow 1, for which there is no Python 3.10"

_FORWARD: Mapping[str, tuple[str, _Forward]] = {
    "tf_layers/layer_norm": (_CONTRIB, lambda x, w: _normalised(x, w, (3,))),
    "rnn_cell/LSTMBlockCell": (_CONTRIB, _block_lstm),
    "rnn_cell/CudnnCompatibleLSTMCell": (_CONTRIB, lambda x, w: _lstm(x, w, "kernel", "bias", 0.0)),
    "rnn_cell/GRUBlockCell": (_CONTRIB, _block_gru),
    "rnn_cell/CudnnCompatibleGRUCell": (_CONTRIB, _cudnn_gru),
    "rnn_cell/ConvLSTMCell(1d)": (_CONTRIB, _conv_lstm),
    "rnn_cell/ConvLSTMCell(2d)": (_CONTRIB, _conv_lstm),
    "rnn_cell/ConvLSTMCell(3d)": (_CONTRIB, _conv_lstm),
    "slim/fully_connected": (_CONTRIB, lambda x, w: _dense(x, w, "weights", "biases")),
    "slim/conv1d": (_CONTRIB, lambda x, w: _conv(x, w, "weights", "biases")),
    "slim/conv2d": (_CONTRIB, lambda x, w: _conv(x, w, "weights", "biases")),
    "slim/conv3d": (_CONTRIB, lambda x, w: _conv(x, w, "weights", "biases")),
    "slim/conv2d_transpose": (_CONTRIB, lambda x, w: _transposed(x, w["weights"].numpy(), w["biases"].numpy())),
    "slim/conv3d_transpose": (_CONTRIB, lambda x, w: _transposed(x, w["weights"].numpy(), w["biases"].numpy())),
    "slim/separable_conv2d": (
        _CONTRIB,
        lambda x, w: _separable(x, w, ("depthwise_weights", "pointwise_weights", "biases")),
    ),
    "slim/separable_conv2d(depthwise only)": (
        _CONTRIB,
        lambda x, w: _depthwise(x, w["depthwise_weights"].numpy()) + w["biases"].numpy(),
    ),
    "slim/BatchNorm": (_CONTRIB, _batch_norm),
    "slim/LayerNorm": (_CONTRIB, lambda x, w: _normalised(x, w, (3,))),
    "slim/GroupNorm": (_CONTRIB, lambda x, w: _normalised(x, w, (1, 2))),
    "slim/InstanceNorm": (_CONTRIB, lambda x, w: _normalised(x, w, (1, 2))),
    "slim/embed_sequence": (_CONTRIB, lambda x, w: w["embeddings"].numpy()[x]),
    "slim/prelu": (_CONTRIB, lambda x, w: _prelu(x, w["alpha"].numpy())),
    "sonnet1/Linear": (_SONNET1, lambda x, w: _dense(x, w, "w", "b")),
    "sonnet1/Embed": (_SONNET1, lambda x, w: w["embeddings"].numpy()[x]),
    "sonnet1/Conv1D": (_SONNET1, lambda x, w: _conv(x, w, "w", "b")),
    "sonnet1/Conv2D": (_SONNET1, lambda x, w: _conv(x, w, "w", "b")),
    "sonnet1/Conv3D": (_SONNET1, lambda x, w: _conv(x, w, "w", "b")),
    "sonnet1/Conv1DTranspose": (_SONNET1, lambda x, w: _transposed(x, w["w"].numpy()[0], w["b"].numpy())),
    "sonnet1/Conv2DTranspose": (_SONNET1, lambda x, w: _transposed(x, w["w"].numpy(), w["b"].numpy())),
    "sonnet1/Conv3DTranspose": (_SONNET1, lambda x, w: _transposed(x, w["w"].numpy(), w["b"].numpy())),
    "sonnet1/DepthwiseConv2D": (_SONNET1, lambda x, w: _depthwise(x, w["w"].numpy()) + w["b"].numpy()),
    "sonnet1/SeparableConv2D": (_SONNET1, lambda x, w: _separable(x, w, ("w_dw", "w_pw", "b"))),
    "sonnet1/BatchNorm": (_SONNET1, _batch_norm),
    "sonnet1/LayerNorm": (_SONNET1, lambda x, w: _normalised(x, w, (3,))),
    "sonnet1/VanillaRNN": (_SONNET1, _sonnet_rnn),
    "sonnet1/LSTM": (_SONNET1, lambda x, w: _lstm(x, w, "w_gates", "b_gates", 1.0)),
    "sonnet1/GRU": (_SONNET1, _sonnet_gru),
    "sonnet1/Conv1DLSTM": (_SONNET1, _sonnet_conv_lstm),
    "sonnet1/Conv2DLSTM": (_SONNET1, _sonnet_conv_lstm),
    "sonnet1/VectorQuantizer": (_SONNET1, lambda x, w: _quantized(x, w["embedding"].numpy())),
    "by_hand/dense": _by_hand(lambda x, w: _dense(x, w, "kernel", "bias")),
    "by_hand/conv1d": _by_hand(lambda x, w: _conv(x, w, "kernel", "bias")),
    "by_hand/conv2d": _by_hand(lambda x, w: _conv(x, w, "kernel", "bias")),
    "by_hand/conv3d": _by_hand(lambda x, w: _conv(x, w, "kernel", "bias")),
    "by_hand/conv2d_transpose": _by_hand(lambda x, w: _transposed(x, w["kernel"].numpy(), w["bias"].numpy())),
    "by_hand/depthwise_conv2d": _by_hand(lambda x, w: _depthwise(x, w["kernel"].numpy()) + w["bias"].numpy()),
    "by_hand/batch_norm": _by_hand(_batch_norm),
    "by_hand/layer_norm": _by_hand(lambda x, w: _normalised(x, w, (3,))),
    "by_hand/embedding": _by_hand(lambda x, w: w["embeddings"].numpy()[x]),
    "by_hand/layer_scale": _by_hand(lambda x, w: x * w["gamma"].numpy()),
    "sonnet1/VectorQuantizerEMA": (_SONNET1, lambda x, w: _quantized(x, w["embedding"].numpy())),
}

DEFINED: Mapping[str, str] = {name: reason for name, (reason, _) in _FORWARD.items()}


def defined_subject(row: Row) -> Subject:
    """A subject that runs the published definition."""
    units = 3 if any(axis.word == UNITS for native in row.natives for axis in parse_layout(native.layout).axes) else 0
    weights = {
        native.suffix: Box(np.zeros(shape_of(native.layout, dims_of(row), units=units), np.float32))
        for native in row.natives
    }
    return Subject(weights, lambda x: _FORWARD[row.id][1](x, weights))


def reference_subject(row: Row) -> Subject | None:
    """Sonnet 2's layer for kinds that Keras does not have."""
    if row.kind in ("VectorQuantizer", "VectorQuantizerEMA"):
        return sonnet2_subject(row.kind, row)
    return None
