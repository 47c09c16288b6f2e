"""DeepMind's Sonnet, version 1 (variable scopes) and version 2 (`tf.Module` attribute paths)."""

# ruff: noqa: E501  (a table reads best with one variable to a line)

from __future__ import annotations

from ckptkit.conventions.rows import Native, Row

_B = Native("b", ("bias",), "O", optional=True)
_RESET_BEFORE = ("reset_after=False",)
_BOTH = ("kernel", "recurrent_kernel")
_V1 = "sonnet/python/modules"
_V2 = "sonnet/src"
_NO_PEEPHOLES = "peephole connections: the gates would no longer see the cell state"
_NO_PROJECTION = "the projection of the output: the recurrent state would have another size"

SONNET1: tuple[Row, ...] = (
    Row("sonnet1", "Dense", "Linear", (Native("w", ("kernel",), "I O"), _B), f"{_V1}/basic.py, Linear"),
    Row("sonnet1", "Embedding", "Embed", (Native("embeddings", ("embeddings",), "V D"),), f"{_V1}/embed.py, Embed"),
    Row("sonnet1", "Conv1D", "Conv1D", (Native("w", ("kernel",), "X I O"), _B), f"{_V1}/conv.py, _ConvND"),
    Row("sonnet1", "Conv2D", "Conv2D", (Native("w", ("kernel",), "X Y I O"), _B), f"{_V1}/conv.py, _ConvND"),
    Row("sonnet1", "Conv3D", "Conv3D", (Native("w", ("kernel",), "X Y Z I O"), _B), f"{_V1}/conv.py, _ConvND"),
    Row("sonnet1", "Conv1DTranspose", "Conv1DTranspose", (Native("w", ("kernel",), "1 X O I"), _B),
        f"{_V1}/conv.py, _ConvNDTranspose: one dimension is run as two"),
    Row("sonnet1", "Conv2DTranspose", "Conv2DTranspose", (Native("w", ("kernel",), "X Y O I"), _B),
        f"{_V1}/conv.py, _ConvNDTranspose"),
    Row("sonnet1", "Conv3DTranspose", "Conv3DTranspose", (Native("w", ("kernel",), "X Y Z O I"), _B),
        f"{_V1}/conv.py, _ConvNDTranspose"),
    Row("sonnet1", "DepthwiseConv2D", "DepthwiseConv2D",
        (Native("w", ("kernel",), "X Y C M"), Native("b", ("bias",), "C.M", optional=True)), f"{_V1}/conv.py, DepthwiseConv2D"),
    Row("sonnet1", "SeparableConv2D", "SeparableConv2D",
        (Native("w_dw", ("depthwise_kernel",), "X Y C M"), Native("w_pw", ("pointwise_kernel",), "1 1 C.M O"), _B),
        f"{_V1}/conv.py, SeparableConv2D"),
    Row("sonnet1", "BatchNormalization", "BatchNorm",
        (
            Native("moving_mean", ("moving_mean",), "1.. C 1.."),
            Native("moving_variance", ("moving_variance",), "1.. C 1.."),
            Native("beta", ("beta",), "1.. C 1..", optional=True),
            Native("gamma", ("gamma",), "1.. C 1..", optional=True),
        ), f"{_V1}/batch_norm.py, BatchNorm._build: shapes keep the reduced axes"),
    Row("sonnet1", "LayerNormalization", "LayerNorm",
        (Native("gamma", ("gamma",), "C", optional=True), Native("beta", ("beta",), "C", optional=True)),
        f"{_V1}/layer_norm.py, LayerNorm"),
    Row("sonnet1", "SimpleRNN", "VanillaRNN",
        (
            Native("in_to_hidden/w", ("kernel",), "I H"), Native("in_to_hidden/b", ("bias",), "H"),
            Native("hidden_to_hidden/w", ("recurrent_kernel",), "H H"), Native("hidden_to_hidden/b", ("bias",), "H"),
        ), f"{_V1}/basic_rnn.py, VanillaRNN._build: two biases that are added"),
    Row("sonnet1", "LSTM", "LSTM",
        (Native("w_gates", _BOTH, "I+H igfo*H"), Native("b_gates", ("bias",), "igf^o*H")),
        f"{_V1}/gated_rnn.py, LSTM._build"),
    Row("sonnet1", "LSTM", "LSTM(peepholes)",
        (
            Native("w_gates", _BOTH, "I+H igfo*H"), Native("b_gates", ("bias",), "igf^o*H"),
            Native("w_f_diag", ("peephole_f",), "H"), Native("w_i_diag", ("peephole_i",), "H"), Native("w_o_diag", ("peephole_o",), "H"),
        ), f"{_V1}/gated_rnn.py, LSTM with use_peepholes", lost=_NO_PEEPHOLES),
    Row("sonnet1", "LSTM", "LSTM(projection)",
        (
            Native("w_gates", _BOTH, "I+H igfo*H"), Native("b_gates", ("bias",), "igf^o*H"),
            Native("w_h_projection", ("projection_kernel",), "H P"),
        ), f"{_V1}/gated_rnn.py, LSTM with projection_size", lost=_NO_PROJECTION),
    Row("sonnet1", "GRU", "GRU",
        (
            Native("wz", ("kernel",), "I -z*H"), Native("uz", ("recurrent_kernel",), "H -z*H"), Native("bz", ("bias",), "-z*H"),
            Native("wr", ("kernel",), "I r*H"), Native("ur", ("recurrent_kernel",), "H r*H"), Native("br", ("bias",), "r*H"),
            Native("wh", ("kernel",), "I n*H"), Native("uh", ("recurrent_kernel",), "H n*H"), Native("bh", ("bias",), "n*H"),
        ), f"{_V1}/gated_rnn.py, GRU._build: the new state is (1 - z) h + z n, Keras's z h + (1 - z) n", options=_RESET_BEFORE),
    Row("sonnet1", "ConvLSTM1D", "Conv1DLSTM",
        (
            Native("conv/w", ("kernel",), "X I igfo*O"), Native("conv/b", ("bias",), "igf^o*O", optional=True),
            Native("conv_1/w", ("recurrent_kernel",), "X O igfo*O"), Native("conv_1/b", ("bias",), "igfo*O", optional=True),
        ), f"{_V1}/gated_rnn.py, ConvLSTM._build: two biases that are added"),
    Row("sonnet1", "ConvLSTM2D", "Conv2DLSTM",
        (
            Native("conv/w", ("kernel",), "X Y I igfo*O"), Native("conv/b", ("bias",), "igf^o*O", optional=True),
            Native("conv_1/w", ("recurrent_kernel",), "X Y O igfo*O"), Native("conv_1/b", ("bias",), "igfo*O", optional=True),
        ), f"{_V1}/gated_rnn.py, ConvLSTM._build: two biases that are added"),
    Row("sonnet1", "VectorQuantizer", "VectorQuantizer", (Native("embedding", ("embeddings",), "D V"),), f"{_V1}/nets/vqvae.py"),
    Row("sonnet1", "VectorQuantizerEMA", "VectorQuantizerEMA",
        (
            Native("embedding", ("embeddings",), "D V"),
            Native("ema_cluster_size", ("ema_cluster_size",), "V"),
            Native("ema_dw", ("ema_dw",), "D V"),
        ), f"{_V1}/nets/vqvae.py, VectorQuantizerEMA"),
)  # fmt: skip

_SCALE_OFFSET = (
    Native("scale", ("gamma",), "C 1..", optional=True),
    Native("offset", ("beta",), "C 1..", optional=True),
)
_AVERAGES = (
    Native("moving_mean/average", ("moving_mean",), "1.. C 1.."),
    Native("moving_mean/hidden", (), "...", optional=True, kind="state", aliases=("moving_mean/_hidden",)),
    Native("moving_mean/counter", (), "", optional=True, kind="state", aliases=("moving_mean/_counter",)),
    Native("moving_variance/average", ("moving_variance",), "1.. C 1.."),
    Native("moving_variance/hidden", (), "...", optional=True, kind="state", aliases=("moving_variance/_hidden",)),
    Native("moving_variance/counter", (), "", optional=True, kind="state", aliases=("moving_variance/_counter",)),
)
_LSTM = (
    Native("w_i", ("kernel",), "I ifgo*H", aliases=("_w_i",)),
    Native("w_h", ("recurrent_kernel",), "H ifgo*H", aliases=("_w_h",)),
    Native("b", ("bias",), "ifgo*H"),
)
_GRU = (
    Native("w_i", ("kernel",), "I -zrn*H", aliases=("_w_i",)),
    Native("w_h", ("recurrent_kernel",), "H -zrn*H", aliases=("_w_h",)),
    Native("b", ("bias",), "-zrn*H"),
)

SONNET2: tuple[Row, ...] = (
    Row("sonnet2", "Dense", "Linear", (Native("w", ("kernel",), "I O"), _B), f"{_V2}/linear.py, Linear._initialize"),
    Row("sonnet2", "Embedding", "Embed", (Native("embeddings", ("embeddings",), "V D"),), f"{_V2}/embed.py, Embed"),
    Row("sonnet2", "Conv1D", "Conv1D", (Native("w", ("kernel",), "X I O"), _B), f"{_V2}/conv.py, ConvND._make_w"),
    Row("sonnet2", "Conv2D", "Conv2D", (Native("w", ("kernel",), "X Y I O"), _B), f"{_V2}/conv.py, ConvND._make_w"),
    Row("sonnet2", "Conv3D", "Conv3D", (Native("w", ("kernel",), "X Y Z I O"), _B), f"{_V2}/conv.py, ConvND._make_w"),
    Row("sonnet2", "Conv1DTranspose", "Conv1DTranspose", (Native("w", ("kernel",), "X O I"), _B), f"{_V2}/conv_transpose.py, _make_w"),
    Row("sonnet2", "Conv2DTranspose", "Conv2DTranspose", (Native("w", ("kernel",), "X Y O I"), _B), f"{_V2}/conv_transpose.py, _make_w"),
    Row("sonnet2", "Conv3DTranspose", "Conv3DTranspose", (Native("w", ("kernel",), "X Y Z O I"), _B), f"{_V2}/conv_transpose.py, _make_w"),
    Row("sonnet2", "DepthwiseConv2D", "DepthwiseConv2D",
        (Native("w", ("kernel",), "X Y C M"), Native("b", ("bias",), "C.M", optional=True)),
        f"{_V2}/depthwise_conv.py, DepthwiseConv2D._initialize"),
    Row("sonnet2", "BatchNormalization", "BatchNorm", (*_AVERAGES, *_SCALE_OFFSET), f"{_V2}/batch_norm.py, BaseBatchNorm"),
    Row("sonnet2", "LayerNormalization", "LayerNorm", _SCALE_OFFSET, f"{_V2}/axis_norm.py, LayerNorm"),
    Row("sonnet2", "GroupNormalization", "GroupNorm", _SCALE_OFFSET, f"{_V2}/group_norm.py, GroupNorm"),
    Row("sonnet2", "GroupNormalization", "InstanceNorm", _SCALE_OFFSET,
        f"{_V2}/axis_norm.py, InstanceNorm; a group per channel"),
    Row("sonnet2", "SimpleRNN", "VanillaRNN",
        (
            Native("input_to_hidden/w", ("kernel",), "I H", aliases=("_input_to_hidden/w",)),
            Native("hidden_to_hidden/w", ("recurrent_kernel",), "H H", aliases=("_hidden_to_hidden/w",)),
            Native("b", ("bias",), "H", aliases=("_b",)),
        ), f"{_V2}/recurrent.py, VanillaRNN"),
    Row("sonnet2", "LSTM", "LSTM", _LSTM, f"{_V2}/recurrent.py, LSTM._initialize; forget_bias is stored in b"),
    Row("sonnet2", "LSTM", "LSTM(projection)",
        (
            Native("w_i", ("kernel",), "I ifgo*H", aliases=("_w_i",)),
            Native("w_h", ("recurrent_kernel",), "P ifgo*H", aliases=("_w_h",)),
            Native("b", ("bias",), "ifgo*H"),
            Native("projection", ("projection_kernel",), "H P"),
        ), f"{_V2}/recurrent.py, LSTM with projection_size", lost=_NO_PROJECTION),
    Row("sonnet2", "LSTM", "UnrolledLSTM", _LSTM, f"{_V2}/recurrent.py, UnrolledLSTM._initialize"),
    Row("sonnet2", "GRU", "GRU", _GRU,
        f"{_V2}/recurrent.py, GRU: the new state is (1 - z) h + z n, Keras's z h + (1 - z) n", options=_RESET_BEFORE),
    Row("sonnet2", "ConvLSTM1D", "Conv1DLSTM",
        (
            Native("input_to_hidden/w", ("kernel",), "X I ifgo*O", aliases=("_input_to_hidden/w",)),
            Native("hidden_to_hidden/w", ("recurrent_kernel",), "X O ifgo*O", aliases=("_hidden_to_hidden/w",)),
            Native("b", ("bias",), "ifgo*O"),
        ), f"{_V2}/recurrent.py, _ConvNDLSTM"),
    Row("sonnet2", "ConvLSTM2D", "Conv2DLSTM",
        (
            Native("input_to_hidden/w", ("kernel",), "X Y I ifgo*O", aliases=("_input_to_hidden/w",)),
            Native("hidden_to_hidden/w", ("recurrent_kernel",), "X Y O ifgo*O", aliases=("_hidden_to_hidden/w",)),
            Native("b", ("bias",), "ifgo*O"),
        ), f"{_V2}/recurrent.py, _ConvNDLSTM"),
    Row("sonnet2", "ConvLSTM3D", "Conv3DLSTM",
        (
            Native("input_to_hidden/w", ("kernel",), "X Y Z I ifgo*O", aliases=("_input_to_hidden/w",)),
            Native("hidden_to_hidden/w", ("recurrent_kernel",), "X Y Z O ifgo*O", aliases=("_hidden_to_hidden/w",)),
            Native("b", ("bias",), "ifgo*O"),
        ), f"{_V2}/recurrent.py, _ConvNDLSTM"),
    Row("sonnet2", "VectorQuantizer", "VectorQuantizer", (Native("embeddings", ("embeddings",), "D V"),), f"{_V2}/nets/vqvae.py"),
    Row("sonnet2", "VectorQuantizerEMA", "VectorQuantizerEMA",
        (
            Native("embeddings", ("embeddings",), "D V"),
            Native("ema_cluster_size/average", ("ema_cluster_size",), "V"),
            Native("ema_cluster_size/hidden", (), "...", kind="state", aliases=("ema_cluster_size/_hidden",)),
            Native("ema_cluster_size/counter", (), "", kind="state", aliases=("ema_cluster_size/_counter",)),
            Native("ema_dw/average", ("ema_dw",), "D V"),
            Native("ema_dw/hidden", (), "...", kind="state", aliases=("ema_dw/_hidden",)),
            Native("ema_dw/counter", (), "", kind="state", aliases=("ema_dw/_counter",)),
        ), f"{_V2}/nets/vqvae.py, VectorQuantizerEMA"),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*SONNET1, *SONNET2)
