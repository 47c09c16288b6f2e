"""Flax: linen and NNX, whose trees have the same words but for recurrent cells.

A tree of JAX is a dictionary sorted by key, so that there is no order of creation; rows stand in the order of their
source. Attention has no row: its projections are layers of their own, `DenseGeneral` or `LinearGeneral`. A depthwise
convolution is a `Conv` with one group a channel, whose kernel has one input.
"""

# ruff: noqa: E501  (a table reads best with one variable to a line)

from __future__ import annotations

from dataclasses import replace

from ckptkit.conventions.rows import Native, Row

_BIAS = Native("bias", ("bias",), "O", optional=True)
_GAMMA_BETA = (Native("scale", ("gamma",), "C", optional=True), Native("bias", ("beta",), "C", optional=True))
_LAYER_NORM = (replace(_GAMMA_BETA[0], optional=False), _GAMMA_BETA[1])
_RESET_AFTER = ("reset_after=True",)
_LINEAR = "flax/linen/linear.py and flax/nnx/nn/linear.py"
_NORM = "flax/linen/normalization.py and flax/nnx/nn/normalization.py"
_RNN = "flax/linen/recurrent.py"
_RNN_NNX = "flax/nnx/nn/recurrent.py"

# A transposed convolution slides its kernel over the spread input as any other does, which is the gradient's turned
# around; with `transpose_kernel` it is the gradient, as in Keras.
_SLIDES = (("transpose_kernel", False),)
_GRADIENT = (("transpose_kernel", True),)
_TRANSPOSE = f"{_LINEAR}, ConvTranspose over jax.lax.conv_transpose"


def _kernel(layout: str) -> tuple[Native, Native]:
    return Native("kernel", ("kernel",), layout), _BIAS


_LSTM = (
    Native("ii/kernel", ("kernel",), "I i*H"), Native("if/kernel", ("kernel",), "I f*H", aliases=("if_/kernel",)),
    Native("ig/kernel", ("kernel",), "I g*H"), Native("io/kernel", ("kernel",), "I o*H"),
    Native("hi/kernel", ("recurrent_kernel",), "H i*H"), Native("hi/bias", ("bias",), "i*H"),
    Native("hf/kernel", ("recurrent_kernel",), "H f*H"), Native("hf/bias", ("bias",), "f*H"),
    Native("hg/kernel", ("recurrent_kernel",), "H g*H"), Native("hg/bias", ("bias",), "g*H"),
    Native("ho/kernel", ("recurrent_kernel",), "H o*H"), Native("ho/bias", ("bias",), "o*H"),
)  # fmt: skip
_GRU = (
    Native("ir/kernel", ("kernel",), "I r*H"), Native("ir/bias", ("bias+recurrent_bias",), "r*H"),
    Native("iz/kernel", ("kernel",), "I z*H"), Native("iz/bias", ("bias+recurrent_bias",), "z*H"),
    Native("in/kernel", ("kernel",), "I n*H"), Native("in/bias", ("bias",), "n*H"),
    Native("hr/kernel", ("recurrent_kernel",), "H r*H"), Native("hz/kernel", ("recurrent_kernel",), "H z*H"),
    Native("hn/kernel", ("recurrent_kernel",), "H n*H"), Native("hn/bias", ("recurrent_bias",), "n*H"),
)  # fmt: skip


def _conv_lstm(window: str) -> tuple[Native, ...]:
    return (
        Native("ih/kernel", ("kernel",), f"{window} I igfo*O"), Native("ih/bias", ("bias",), "igf^o*O", optional=True),
        Native("hh/kernel", ("recurrent_kernel",), f"{window} O igfo*O"), Native("hh/bias", ("bias",), "igfo*O", optional=True),
    )  # fmt: skip


_CONV_LSTM = f"{_RNN}, ConvLSTMCell: two biases that are added, and 1 to the forget gate when it runs"

ROWS: tuple[Row, ...] = (
    Row("flax", "Dense", "Dense", _kernel("I O"), f"{_LINEAR}, Dense and Linear"),
    Row("flax", "EinsumDense", "DenseGeneral(heads)", (Native("kernel", ("kernel",), "I N K"), Native("bias", ("bias",), "N K", optional=True)),
        f"{_LINEAR}, DenseGeneral and LinearGeneral of several features; query, key and value of an attention"),
    Row("flax", "EinsumDense", "DenseGeneral(output)", _kernel("N K O"),
        f"{_LINEAR}, DenseGeneral and LinearGeneral over several axes; `out` of an attention"),
    Row("flax", "Embedding", "Embed", (Native("embedding", ("embeddings",), "V D"),), f"{_LINEAR}, Embed"),
    Row("flax", "Conv1D", "Conv(1d)", _kernel("X I O"), f"{_LINEAR}, Conv"),
    Row("flax", "Conv2D", "Conv(2d)", _kernel("X Y I O"), f"{_LINEAR}, Conv"),
    Row("flax", "Conv3D", "Conv(3d)", _kernel("X Y Z I O"), f"{_LINEAR}, Conv"),
    Row("flax", "Conv1DTranspose", "ConvTranspose(1d)", _kernel("~X I O"), _TRANSPOSE, when=_SLIDES),
    Row("flax", "Conv2DTranspose", "ConvTranspose(2d)", _kernel("~X ~Y I O"), _TRANSPOSE, when=_SLIDES),
    Row("flax", "Conv3DTranspose", "ConvTranspose(3d)", _kernel("~X ~Y ~Z I O"), _TRANSPOSE, when=_SLIDES),
    Row("flax", "Conv1DTranspose", "ConvTranspose(1d, transpose_kernel)", _kernel("X O I"), _TRANSPOSE, when=_GRADIENT),
    Row("flax", "Conv2DTranspose", "ConvTranspose(2d, transpose_kernel)", _kernel("X Y O I"), _TRANSPOSE, when=_GRADIENT),
    Row("flax", "Conv3DTranspose", "ConvTranspose(3d, transpose_kernel)", _kernel("X Y Z O I"), _TRANSPOSE, when=_GRADIENT),
    Row("flax", "BatchNormalization", "BatchNorm",
        (*_GAMMA_BETA, Native("mean", ("moving_mean",), "C"), Native("var", ("moving_variance",), "C")),
        f"{_NORM}, BatchNorm; mean and var are in the collection batch_stats"),
    Row("flax", "LayerNormalization", "LayerNorm", _LAYER_NORM, f"{_NORM}, LayerNorm"),
    Row("flax", "GroupNormalization", "GroupNorm", _LAYER_NORM, f"{_NORM}, GroupNorm"),
    Row("flax", "GroupNormalization", "InstanceNorm", _LAYER_NORM, f"{_NORM}, InstanceNorm; a group per channel"),
    Row("flax", "RMSNormalization", "RMSNorm", (Native("scale", ("scale",), "C"),), f"{_NORM}, RMSNorm"),
    Row("flax", "PReLU", "PReLU", (Native("negative_slope", ("alpha",), "1.."),),
        "flax/linen/activation.py and flax/nnx/nn/activations.py, PReLU: one slope for all", where=(("C", "1"),)),
    Row("flax", "SimpleRNN", "SimpleCell",
        (Native("i/kernel", ("kernel",), "I H"), Native("i/bias", ("bias",), "H"), Native("h/kernel", ("recurrent_kernel",), "H H")),
        f"{_RNN}, SimpleCell"),
    Row("flax", "SimpleRNN", "SimpleCell(nnx)",
        (
            Native("dense_i/kernel", ("kernel",), "I H"), Native("dense_i/bias", ("bias",), "H"),
            Native("dense_h/kernel", ("recurrent_kernel",), "H H"),
        ), f"{_RNN_NNX}, SimpleCell"),
    Row("flax", "LSTM", "LSTMCell", _LSTM, f"{_RNN} and {_RNN_NNX}, LSTMCell; the attribute if_ of NNX"),
    Row("flax", "LSTM", "OptimizedLSTMCell", _LSTM, f"{_RNN}, OptimizedLSTMCell: the variables of LSTMCell"),
    Row("flax", "LSTM", "OptimizedLSTMCell(nnx)",
        (
            Native("dense_i/kernel", ("kernel",), "I ifgo*H"),
            Native("dense_h/kernel", ("recurrent_kernel",), "H ifgo*H"), Native("dense_h/bias", ("bias",), "ifgo*H"),
        ), f"{_RNN_NNX}, OptimizedLSTMCell"),
    Row("flax", "GRU", "GRUCell", _GRU, f"{_RNN}, GRUCell: only the new state has a recurrent bias", options=_RESET_AFTER),
    Row("flax", "GRU", "GRUCell(nnx)",
        (
            Native("dense_i/kernel", ("kernel",), "I rzn*H"), Native("dense_i/bias", ("bias+recurrent_bias", "bias"), "rz*H+n*H"),
            Native("dense_h/kernel", ("recurrent_kernel",), "H rzn*H"),
        ), f"{_RNN_NNX}, GRUCell: no recurrent bias", options=_RESET_AFTER),
    Row("flax", "ConvLSTM1D", "ConvLSTMCell(1d)", _conv_lstm("X"), _CONV_LSTM),
    Row("flax", "ConvLSTM2D", "ConvLSTMCell(2d)", _conv_lstm("X Y"), _CONV_LSTM),
    Row("flax", "ConvLSTM3D", "ConvLSTMCell(3d)", _conv_lstm("X Y Z"), _CONV_LSTM),
)  # fmt: skip
