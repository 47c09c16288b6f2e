"""DeepMind's Haiku: two levels, the module's path and the variable's name; `~` stands for what a constructor made.

The averages of a batch normalisation are in the state, beside the parameters. A tree of JAX is sorted by key.
"""

# ruff: noqa: E501  (a table reads best with one variable to a line)

from __future__ import annotations

from dataclasses import replace

from ckptkit.conventions.rows import Native, Row

_B = Native("b", ("bias",), "O", optional=True)
_BOTH = ("kernel", "recurrent_kernel")
_SRC = "haiku/_src"
_SCALE_OFFSET = (
    Native("scale", ("gamma",), "1.. C", optional=True),
    Native("offset", ("beta",), "1.. C", optional=True),
)
_AXIS_NORM = (
    Native("scale", ("gamma",), "C", optional=True),
    Native("offset", ("beta",), "C", optional=True),
)
_AVERAGES = tuple(
    native
    for name, role in (("mean_ema", "moving_mean"), ("var_ema", "moving_variance"))
    for native in (
        Native(f"{name}/average", (role,), "1.. C"),
        Native(f"{name}/hidden", (), "...", optional=True, kind="state"),
        Native(f"{name}/counter", (), "", optional=True, kind="state"),
    )
)


def _w(layout: str) -> tuple[Native, Native]:
    return Native("w", ("kernel",), layout), _B


def _conv_lstm(window: str) -> tuple[Native, ...]:
    return (
        Native("input_to_hidden/w", ("kernel",), f"{window} I igfo*O"), Native("input_to_hidden/b", ("bias",), "igf^o*O"),
        Native("hidden_to_hidden/w", ("recurrent_kernel",), f"{window} O igfo*O"), Native("hidden_to_hidden/b", ("bias",), "igfo*O"),
    )  # fmt: skip


_CONV_LSTM = f"{_SRC}/recurrent.py, ConvNDLSTM: two biases that are added, and 1 to the forget gate when it runs"
_DEPTHWISE = f"{_SRC}/depthwise_conv.py, DepthwiseConvND: a convolution with one group a channel"

ROWS: tuple[Row, ...] = (
    Row("haiku", "Dense", "Linear", _w("I O"), f"{_SRC}/basic.py, Linear; query, key, value and linear of an attention"),
    Row("haiku", "Embedding", "Embed", (Native("embeddings", ("embeddings",), "V D"),), f"{_SRC}/embed.py, Embed"),
    Row("haiku", "Conv1D", "Conv1D", _w("X I O"), f"{_SRC}/conv.py, ConvND"),
    Row("haiku", "Conv2D", "Conv2D", _w("X Y I O"), f"{_SRC}/conv.py, ConvND"),
    Row("haiku", "Conv3D", "Conv3D", _w("X Y Z I O"), f"{_SRC}/conv.py, ConvND"),
    Row("haiku", "Conv1DTranspose", "Conv1DTranspose", _w("~X O I"), f"{_SRC}/conv.py, ConvNDTranspose over jax.lax.conv_transpose"),
    Row("haiku", "Conv2DTranspose", "Conv2DTranspose", _w("~X ~Y O I"), f"{_SRC}/conv.py, ConvNDTranspose over jax.lax.conv_transpose"),
    Row("haiku", "Conv3DTranspose", "Conv3DTranspose", _w("~X ~Y ~Z O I"), f"{_SRC}/conv.py, ConvNDTranspose over jax.lax.conv_transpose"),
    Row("haiku", "Conv1D", "DepthwiseConv1D", _w("X I O"), _DEPTHWISE, called=True),
    Row("haiku", "Conv2D", "DepthwiseConv2D", _w("X Y I O"), _DEPTHWISE, called=True),
    Row("haiku", "BatchNormalization", "BatchNorm", (*_SCALE_OFFSET, *_AVERAGES),
        f"{_SRC}/batch_norm.py, BatchNorm over ExponentialMovingAverage"),
    Row("haiku", "LayerNormalization", "LayerNorm", (replace(_AXIS_NORM[0], optional=False), _AXIS_NORM[1]), f"{_SRC}/layer_norm.py, LayerNorm"),
    Row("haiku", "GroupNormalization", "GroupNorm", _AXIS_NORM, f"{_SRC}/group_norm.py, GroupNorm"),
    Row("haiku", "GroupNormalization", "InstanceNorm", _AXIS_NORM, f"{_SRC}/layer_norm.py, InstanceNorm; a group per channel"),
    Row("haiku", "RMSNormalization", "RMSNorm", (Native("scale", ("scale",), "C"),), f"{_SRC}/rms_norm.py, RMSNorm"),
    Row("haiku", "SimpleRNN", "VanillaRNN",
        (
            Native("linear/w", ("kernel",), "I H"), Native("linear/b", ("bias",), "H"),
            Native("linear_1/w", ("recurrent_kernel",), "H H"), Native("linear_1/b", ("bias",), "H", optional=True),
        ), f"{_SRC}/recurrent.py, VanillaRNN: two biases that are added; its activation is relu", called=True),
    Row("haiku", "LSTM", "LSTM", (Native("linear/w", _BOTH, "I+H igfo*H"), Native("linear/b", ("bias",), "igf^o*H")),
        f"{_SRC}/recurrent.py, LSTM: 1 is added to the forget gate when it runs", called=True),
    Row("haiku", "GRU", "GRU",
        (Native("w_i", ("kernel",), "I -zrn*H"), Native("w_h", ("recurrent_kernel",), "H -zrn*H"), Native("b", ("bias",), "-zrn*H")),
        f"{_SRC}/recurrent.py, GRU: the new state is (1 - z) h + z n, Keras's z h + (1 - z) n", options=("reset_after=False",)),
    Row("haiku", "ConvLSTM1D", "Conv1DLSTM", _conv_lstm("X"), _CONV_LSTM),
    Row("haiku", "ConvLSTM2D", "Conv2DLSTM", _conv_lstm("X Y"), _CONV_LSTM),
    Row("haiku", "ConvLSTM3D", "Conv3DLSTM", _conv_lstm("X Y Z"), _CONV_LSTM),
)  # fmt: skip
