"""Keras's own conventions: 0.x by position, 1.x, 2.x (with tf.keras and tf_keras) and 3.

Keras 3 is the reference that every other dialect is compared with.
"""

# ruff: noqa: E501  (a table reads best with one variable to a line)

from __future__ import annotations

from ckptkit.conventions.rows import Native, Row

_RESET_AFTER = ("reset_after=True",)
_RESET_BEFORE = ("reset_after=False",)

# ------------------------------------------------------------------------------- what Keras 2 and Keras 3 have in common

_KERNEL_BIAS = (Native("kernel", ("kernel",), "I O"), Native("bias", ("bias",), "O", optional=True))
_EMBEDDINGS = (Native("embeddings", ("embeddings",), "V D"),)
_CONV1D = (Native("kernel", ("kernel",), "X I O"), Native("bias", ("bias",), "O", optional=True))
_CONV2D = (Native("kernel", ("kernel",), "X Y I O"), Native("bias", ("bias",), "O", optional=True))
_CONV3D = (Native("kernel", ("kernel",), "X Y Z I O"), Native("bias", ("bias",), "O", optional=True))
_CONV1D_TRANSPOSE = (Native("kernel", ("kernel",), "X O I"), Native("bias", ("bias",), "O", optional=True))
_CONV2D_TRANSPOSE = (Native("kernel", ("kernel",), "X Y O I"), Native("bias", ("bias",), "O", optional=True))
_CONV3D_TRANSPOSE = (Native("kernel", ("kernel",), "X Y Z O I"), Native("bias", ("bias",), "O", optional=True))
_SEPARABLE1D = (
    Native("depthwise_kernel", ("depthwise_kernel",), "X C M"),
    Native("pointwise_kernel", ("pointwise_kernel",), "1 C.M O"),
    Native("bias", ("bias",), "O", optional=True),
)
_SEPARABLE2D = (
    Native("depthwise_kernel", ("depthwise_kernel",), "X Y C M"),
    Native("pointwise_kernel", ("pointwise_kernel",), "1 1 C.M O"),
    Native("bias", ("bias",), "O", optional=True),
)
_BATCH_NORM = (
    Native("gamma", ("gamma",), "C", optional=True),
    Native("beta", ("beta",), "C", optional=True),
    Native("moving_mean", ("moving_mean",), "C"),
    Native("moving_variance", ("moving_variance",), "C"),
)
_SCALE_CENTER = (Native("gamma", ("gamma",), "C", optional=True), Native("beta", ("beta",), "C", optional=True))
_SIMPLE_RNN = (
    Native("kernel", ("kernel",), "I H"),
    Native("recurrent_kernel", ("recurrent_kernel",), "H H"),
    Native("bias", ("bias",), "H", optional=True),
)
_LSTM = (
    Native("kernel", ("kernel",), "I ifgo*H"),
    Native("recurrent_kernel", ("recurrent_kernel",), "H ifgo*H"),
    Native("bias", ("bias",), "ifgo*H", optional=True),
)
_GRU_RESET_AFTER = (
    Native("kernel", ("kernel",), "I zrn*H"),
    Native("recurrent_kernel", ("recurrent_kernel",), "H zrn*H"),
    Native("bias", ("bias", "recurrent_bias"), "1+1 zrn*H", optional=True),
)
_GRU_RESET_BEFORE = (
    Native("kernel", ("kernel",), "I zrn*H"),
    Native("recurrent_kernel", ("recurrent_kernel",), "H zrn*H"),
    Native("bias", ("bias",), "zrn*H", optional=True),
)
_CONV_LSTM1D = (
    Native("kernel", ("kernel",), "X I ifgo*O"),
    Native("recurrent_kernel", ("recurrent_kernel",), "X O ifgo*O"),
    Native("bias", ("bias",), "ifgo*O", optional=True),
)
_CONV_LSTM2D = (
    Native("kernel", ("kernel",), "X Y I ifgo*O"),
    Native("recurrent_kernel", ("recurrent_kernel",), "X Y O ifgo*O"),
    Native("bias", ("bias",), "ifgo*O", optional=True),
)
_CONV_LSTM3D = (
    Native("kernel", ("kernel",), "X Y Z I ifgo*O"),
    Native("recurrent_kernel", ("recurrent_kernel",), "X Y Z O ifgo*O"),
    Native("bias", ("bias",), "ifgo*O", optional=True),
)
_EINSUM_HEADS = (Native("kernel", ("kernel",), "I N K"), Native("bias", ("bias",), "N K", optional=True))
_EINSUM_MATRIX = (Native("kernel", ("kernel",), "I O"), Native("bias", ("bias",), "O", optional=True))
_EINSUM_OUTPUT = (Native("kernel", ("kernel",), "N K O"), Native("bias", ("bias",), "O", optional=True))
_ATTENTION = (
    Native("query/kernel", ("query/kernel",), "Q N K", aliases=("query_dense/kernel",)),
    Native("query/bias", ("query/bias",), "N K", optional=True, aliases=("query_dense/bias",)),
    Native("key/kernel", ("key/kernel",), "S N K", aliases=("key_dense/kernel",)),
    Native("key/bias", ("key/bias",), "N K", optional=True, aliases=("key_dense/bias",)),
    Native("value/kernel", ("value/kernel",), "V N W", aliases=("value_dense/kernel",)),
    Native("value/bias", ("value/bias",), "N W", optional=True, aliases=("value_dense/bias",)),
    Native("attention_output/kernel", ("attention_output/kernel",), "N W O", aliases=("output_dense/kernel",)),
    Native("attention_output/bias", ("attention_output/bias",), "O", optional=True, aliases=("output_dense/bias",)),
)
_GROUPED_ATTENTION = (
    Native("query/kernel", ("query/kernel",), "Q N K", aliases=("query_dense/kernel",)),
    Native("query/bias", ("query/bias",), "N K", optional=True, aliases=("query_dense/bias",)),
    Native("key/kernel", ("key/kernel",), "S G K", aliases=("key_dense/kernel",)),
    Native("key/bias", ("key/bias",), "G K", optional=True, aliases=("key_dense/bias",)),
    Native("value/kernel", ("value/kernel",), "V G K", aliases=("value_dense/kernel",)),
    Native("value/bias", ("value/bias",), "G K", optional=True, aliases=("value_dense/bias",)),
    Native("attention_output/kernel", ("attention_output/kernel",), "N K O", aliases=("output_dense/kernel",)),
    Native("attention_output/bias", ("attention_output/bias",), "O", optional=True, aliases=("output_dense/bias",)),
)
# What the wrapper owns beside the layer that it wraps.
_VECTOR_U = (Native("vector_u", ("vector_u",), "1 O"),)
_NORMALIZATION = (
    Native("mean", ("mean",), "...", aliases=("adapt_mean",)),
    Native("variance", ("variance",), "...", aliases=("adapt_variance",)),
    Native("count", (), "", kind="state"),
)

_RNN3 = "keras/src/layers/rnn"
_CONV3 = "keras/src/layers/convolutional"

KERAS3: tuple[Row, ...] = (
    Row("keras3", "Dense", "Dense", _KERNEL_BIAS, "keras/src/layers/core/dense.py, Dense.build"),
    Row("keras3", "EinsumDense", "EinsumDense(heads)", _EINSUM_HEADS, "keras/src/layers/core/einsum_dense.py, build"),
    Row("keras3", "EinsumDense", "EinsumDense(output)", _EINSUM_OUTPUT, "keras/src/layers/core/einsum_dense.py, build"),
    Row("keras3", "EinsumDense", "EinsumDense(matrix)", _EINSUM_MATRIX, "keras/src/layers/core/einsum_dense.py, build",
        called=True),
    Row("keras3", "Embedding", "Embedding", _EMBEDDINGS, "keras/src/layers/core/embedding.py, Embedding.build"),
    Row("keras3", "ReversibleEmbedding", "ReversibleEmbedding",
        (*_EMBEDDINGS, Native("reverse_embeddings", ("reverse_embeddings",), "D V", optional=True)),
        "keras/src/layers/core/reversible_embedding.py, ReversibleEmbedding.build; keras_hub's the same"),
    Row("keras3", "PositionEmbedding", "PositionEmbedding",
        (Native("embeddings", ("embeddings",), "V D", aliases=("position_embeddings",)),),
        "keras_hub/src/layers/modeling/position_embedding.py, PositionEmbedding.build"),
    Row("keras3", "Conv1D", "Conv1D", _CONV1D, f"{_CONV3}/base_conv.py, BaseConv.build"),
    Row("keras3", "Conv2D", "Conv2D", _CONV2D, f"{_CONV3}/base_conv.py, BaseConv.build"),
    Row("keras3", "Conv3D", "Conv3D", _CONV3D, f"{_CONV3}/base_conv.py, BaseConv.build"),
    Row("keras3", "Conv1DTranspose", "Conv1DTranspose", _CONV1D_TRANSPOSE, f"{_CONV3}/base_conv_transpose.py, build"),
    Row("keras3", "Conv2DTranspose", "Conv2DTranspose", _CONV2D_TRANSPOSE, f"{_CONV3}/base_conv_transpose.py, build"),
    Row("keras3", "Conv3DTranspose", "Conv3DTranspose", _CONV3D_TRANSPOSE, f"{_CONV3}/base_conv_transpose.py, build"),
    Row("keras3", "DepthwiseConv1D", "DepthwiseConv1D",
        (Native("kernel", ("kernel",), "X C M"), Native("bias", ("bias",), "C.M", optional=True)),
        f"{_CONV3}/base_depthwise_conv.py, build"),
    Row("keras3", "DepthwiseConv2D", "DepthwiseConv2D",
        (Native("kernel", ("kernel",), "X Y C M"), Native("bias", ("bias",), "C.M", optional=True)),
        f"{_CONV3}/base_depthwise_conv.py, build"),
    Row("keras3", "SeparableConv1D", "SeparableConv1D", _SEPARABLE1D, f"{_CONV3}/base_separable_conv.py, build"),
    Row("keras3", "SeparableConv2D", "SeparableConv2D", _SEPARABLE2D, f"{_CONV3}/base_separable_conv.py, build"),
    Row("keras3", "BatchNormalization", "BatchNormalization", _BATCH_NORM,
        "keras/src/layers/normalization/batch_normalization.py, build"),
    Row("keras3", "LayerNormalization", "LayerNormalization", _SCALE_CENTER,
        "keras/src/layers/normalization/layer_normalization.py, build"),
    Row("keras3", "GroupNormalization", "GroupNormalization", _SCALE_CENTER,
        "keras/src/layers/normalization/group_normalization.py, build"),
    Row("keras3", "RMSNormalization", "RMSNormalization", (Native("scale", ("scale",), "C"),),
        "keras/src/layers/normalization/rms_normalization.py, build"),
    Row("keras3", "Normalization", "Normalization", _NORMALIZATION,
        "keras/src/layers/preprocessing/normalization.py, build"),
    Row("keras3", "SpectralNormalization", "SpectralNormalization", _VECTOR_U,
        "keras/src/layers/normalization/spectral_normalization.py, build"),
    Row("keras3", "PReLU", "PReLU", (Native("alpha", ("alpha",), "1.. C"),), "keras/src/layers/activations/prelu.py, build"),
    Row("keras3", "PReLU", "PReLU(unshared)", (Native("alpha", ("alpha",), "..."),),
        "keras/src/layers/activations/prelu.py, build, without shared_axes"),
    Row("keras3", "SimpleRNN", "SimpleRNN", _SIMPLE_RNN, f"{_RNN3}/simple_rnn.py, SimpleRNNCell.build"),
    Row("keras3", "LSTM", "LSTM", _LSTM, f"{_RNN3}/lstm.py, LSTMCell.build; unit_forget_bias is stored in the bias"),
    Row("keras3", "GRU", "GRU", _GRU_RESET_AFTER, f"{_RNN3}/gru.py, GRUCell.build",
        when=(("reset_after", True),), options=_RESET_AFTER),
    Row("keras3", "GRU", "GRU(reset_after=False)", _GRU_RESET_BEFORE, f"{_RNN3}/gru.py, GRUCell.build",
        when=(("reset_after", False),), options=_RESET_BEFORE),
    Row("keras3", "ConvLSTM1D", "ConvLSTM1D", _CONV_LSTM1D, f"{_RNN3}/conv_lstm.py, ConvLSTMCell.build"),
    Row("keras3", "ConvLSTM2D", "ConvLSTM2D", _CONV_LSTM2D, f"{_RNN3}/conv_lstm.py, ConvLSTMCell.build"),
    Row("keras3", "ConvLSTM3D", "ConvLSTM3D", _CONV_LSTM3D, f"{_RNN3}/conv_lstm.py, ConvLSTMCell.build"),
    Row("keras3", "MultiHeadAttention", "MultiHeadAttention", _ATTENTION,
        "keras/src/layers/attention/multi_head_attention.py, build"),
    Row("keras3", "GroupQueryAttention", "GroupQueryAttention", _GROUPED_ATTENTION,
        "keras/src/layers/attention/grouped_query_attention.py, build"),
    Row("keras3", "Attention", "Attention",
        (Native("scale", ("scale",), "", optional=True), Native("concat_score_weight", ("concat_score_weight",), "", optional=True)),
        "keras/src/layers/attention/attention.py, build"),
    Row("keras3", "AdditiveAttention", "AdditiveAttention", (Native("scale", ("scale",), "D", optional=True),),
        "keras/src/layers/attention/additive_attention.py, build"),
)  # fmt: skip

# Theano convolves where the others correlate, so kernels of files that it wrote are turned in space.
_THEANO = "keras 2.3.1 engine/saving.py, _need_convert_kernel"
_CORRELATES = (("backend", "tensorflow"),)
_CONVOLVES = (("backend", "theano"),)
_CONV1D_TURNED = (Native("kernel", ("kernel",), "~X I O"), Native("bias", ("bias",), "O", optional=True))
_CONV2D_TURNED = (Native("kernel", ("kernel",), "~X ~Y I O"), Native("bias", ("bias",), "O", optional=True))
_CONV3D_TURNED = (Native("kernel", ("kernel",), "~X ~Y ~Z I O"), Native("bias", ("bias",), "O", optional=True))
_CONV2D_TRANSPOSE_TURNED = (Native("kernel", ("kernel",), "~X ~Y O I"), Native("bias", ("bias",), "O", optional=True))
_CONV_LSTM2D_TURNED = (
    Native("kernel", ("kernel",), "~X ~Y I ifgo*O"),
    Native("recurrent_kernel", ("recurrent_kernel",), "~X ~Y O ifgo*O"),
    Native("bias", ("bias",), "ifgo*O", optional=True),
)
_RNN2 = "tf_keras/src/layers/rnn"
_CONV2 = "tf_keras/src/layers/convolutional"
_CUDNN = "tf_keras/src/saving/legacy/hdf5_format.py, _convert_rnn_weights"

KERAS2: tuple[Row, ...] = (
    Row("keras2", "Dense", "Dense", _KERNEL_BIAS, "tf_keras/src/layers/core/dense.py, build"),
    Row("keras2", "EinsumDense", "EinsumDense(heads)", _EINSUM_HEADS, "tf_keras/src/layers/core/einsum_dense.py, build"),
    Row("keras2", "EinsumDense", "EinsumDense(output)", _EINSUM_OUTPUT, "tf_keras/src/layers/core/einsum_dense.py, build"),
    Row("keras2", "EinsumDense", "EinsumDense(matrix)", _EINSUM_MATRIX, "tf_keras/src/layers/core/einsum_dense.py, build",
        called=True),
    Row("keras2", "Embedding", "Embedding", _EMBEDDINGS, "tf_keras/src/layers/core/embedding.py, build"),
    Row("keras2", "Conv1D", "Conv1D", _CONV1D, f"{_CONV2}/base_conv.py, build", when=_CORRELATES),
    Row("keras2", "Conv1D", "Conv1D(theano)", _CONV1D_TURNED, _THEANO, when=_CONVOLVES),
    Row("keras2", "Conv2D", "Conv2D", _CONV2D, f"{_CONV2}/base_conv.py, build", when=_CORRELATES),
    Row("keras2", "Conv2D", "Conv2D(theano)", _CONV2D_TURNED, _THEANO, when=_CONVOLVES),
    Row("keras2", "Conv3D", "Conv3D", _CONV3D, f"{_CONV2}/base_conv.py, build", when=_CORRELATES),
    Row("keras2", "Conv3D", "Conv3D(theano)", _CONV3D_TURNED, _THEANO, when=_CONVOLVES),
    Row("keras2", "Conv1DTranspose", "Conv1DTranspose", _CONV1D_TRANSPOSE, f"{_CONV2}/conv1d_transpose.py, build"),
    Row("keras2", "Conv2DTranspose", "Conv2DTranspose", _CONV2D_TRANSPOSE, f"{_CONV2}/conv2d_transpose.py, build", when=_CORRELATES),
    Row("keras2", "Conv2DTranspose", "Conv2DTranspose(theano)", _CONV2D_TRANSPOSE_TURNED, _THEANO, when=_CONVOLVES),
    Row("keras2", "Conv3DTranspose", "Conv3DTranspose", _CONV3D_TRANSPOSE, f"{_CONV2}/conv3d_transpose.py, build"),
    Row("keras2", "DepthwiseConv1D", "DepthwiseConv1D",
        (Native("depthwise_kernel", ("kernel",), "X C M"), Native("bias", ("bias",), "C.M", optional=True)),
        f"{_CONV2}/base_depthwise_conv.py, build"),
    Row("keras2", "DepthwiseConv2D", "DepthwiseConv2D",
        (Native("depthwise_kernel", ("kernel",), "X Y C M"), Native("bias", ("bias",), "C.M", optional=True)),
        f"{_CONV2}/base_depthwise_conv.py, build"),
    Row("keras2", "SeparableConv1D", "SeparableConv1D", _SEPARABLE1D, f"{_CONV2}/base_separable_conv.py, build"),
    Row("keras2", "SeparableConv2D", "SeparableConv2D", _SEPARABLE2D, f"{_CONV2}/base_separable_conv.py, build"),
    Row("keras2", "BatchNormalization", "BatchNormalization", _BATCH_NORM,
        "tf_keras/src/layers/normalization/batch_normalization.py, build"),
    Row("keras2", "LayerNormalization", "LayerNormalization", _SCALE_CENTER,
        "tf_keras/src/layers/normalization/layer_normalization.py, build"),
    Row("keras2", "GroupNormalization", "GroupNormalization", _SCALE_CENTER,
        "tf_keras/src/layers/normalization/group_normalization.py, build"),
    Row("keras2", "Normalization", "Normalization", _NORMALIZATION,
        "tf_keras/src/layers/preprocessing/normalization.py, build"),
    Row("keras2", "SpectralNormalization", "SpectralNormalization", _VECTOR_U,
        "tf_keras/src/layers/normalization/spectral_normalization.py, build"),
    Row("keras2", "PReLU", "PReLU", (Native("alpha", ("alpha",), "1.. C"),), "tf_keras/src/layers/activation/prelu.py, build"),
    Row("keras2", "PReLU", "PReLU(unshared)", (Native("alpha", ("alpha",), "..."),),
        "tf_keras/src/layers/activation/prelu.py, build, without shared_axes"),
    Row("keras2", "SimpleRNN", "SimpleRNN", _SIMPLE_RNN, f"{_RNN2}/simple_rnn.py, SimpleRNNCell.build"),
    Row("keras2", "LSTM", "LSTM", _LSTM, f"{_RNN2}/lstm.py, LSTMCell.build"),
    Row("keras2", "GRU", "GRU", _GRU_RESET_AFTER, f"{_RNN2}/gru.py, GRUCell.build",
        when=(("reset_after", True),), options=_RESET_AFTER),
    Row("keras2", "GRU", "GRU(reset_after=False)", _GRU_RESET_BEFORE, f"{_RNN2}/gru.py, GRUCell.build",
        when=(("reset_after", False),), options=_RESET_BEFORE),
    Row("keras2", "LSTM", "CuDNNLSTM",
        (
            Native("kernel", ("kernel",), "I ifgo*H @ * I"),
            Native("recurrent_kernel", ("recurrent_kernel",), "H ifgo*H @ * H"),
            Native("bias", ("bias", "bias"), "ifgo*H+ifgo*H"),
        ), _CUDNN),
    Row("keras2", "GRU", "CuDNNGRU",
        (
            Native("kernel", ("kernel",), "I zrn*H @ * I"),
            Native("recurrent_kernel", ("recurrent_kernel",), "H zrn*H @ * H"),
            Native("bias", ("bias", "recurrent_bias"), "zrn*H+zrn*H"),
        ), _CUDNN, options=_RESET_AFTER),
    Row("keras2", "ConvLSTM1D", "ConvLSTM1D", _CONV_LSTM1D, f"{_RNN2}/base_conv_lstm.py, ConvLSTMCell.build"),
    Row("keras2", "ConvLSTM2D", "ConvLSTM2D", _CONV_LSTM2D, f"{_RNN2}/base_conv_lstm.py, ConvLSTMCell.build", when=_CORRELATES),
    Row("keras2", "ConvLSTM2D", "ConvLSTM2D(theano)", _CONV_LSTM2D_TURNED, _THEANO, when=_CONVOLVES),
    Row("keras2", "ConvLSTM3D", "ConvLSTM3D", _CONV_LSTM3D, f"{_RNN2}/base_conv_lstm.py, ConvLSTMCell.build"),
    Row("keras2", "MultiHeadAttention", "MultiHeadAttention", _ATTENTION,
        "tf_keras/src/layers/attention/multi_head_attention.py, _build_from_signature"),
    Row("keras2", "Attention", "Attention",
        (Native("scale", ("scale",), "", optional=True), Native("concat_score_weight", ("concat_score_weight",), "", optional=True)),
        "tf_keras/src/layers/attention/attention.py, build"),
    Row("keras2", "AdditiveAttention", "AdditiveAttention", (Native("scale", ("scale",), "D", optional=True),),
        "tf_keras/src/layers/attention/additive_attention.py, build"),
)  # fmt: skip

_LOADER = "tf_keras/src/saving/legacy/hdf5_format.py, preprocess_weights_for_loading (version 1)"
_TURNED = "keras 1.2 utils/layer_utils.py, convert_all_kernels_in_model"
_B = Native("b", ("bias",), "O", optional=True)
_TH = (("dim_ordering", "th"),)
_TF = (("dim_ordering", "tf"),)

KERAS1: tuple[Row, ...] = (
    Row("keras1", "Dense", "Dense", (Native("W", ("kernel",), "I O"), _B), "keras 1.2 layers/core.py, Dense.build"),
    Row("keras1", "Dense", "TimeDistributedDense", (Native("W", ("kernel",), "I O"), _B), "keras 1.2 layers/core.py"),
    Row("keras1", "Embedding", "Embedding", (Native("W", ("embeddings",), "V D"),), "keras 1.2 layers/embeddings.py"),
    Row("keras1", "Conv1D", "Convolution1D", (Native("W", ("kernel",), "X 1 I O"), _B), _LOADER, when=_CORRELATES),
    Row("keras1", "Conv1D", "Convolution1D(theano)", (Native("W", ("kernel",), "~X 1 I O"), _B), _TURNED, when=_CONVOLVES),
    Row("keras1", "Conv1D", "Convolution1D(th)", (Native("W", ("kernel",), "O I X 1"), _B), _LOADER, when=_CORRELATES),
    Row("keras1", "Conv1D", "Convolution1D(th, theano)", (Native("W", ("kernel",), "O I ~X 1"), _B), _TURNED, when=_CONVOLVES),
    Row("keras1", "Conv2D", "Convolution2D", (Native("W", ("kernel",), "X Y I O"), _B), _LOADER, when=(*_TF, *_CORRELATES)),
    Row("keras1", "Conv2D", "Convolution2D(theano)", (Native("W", ("kernel",), "~X ~Y I O"), _B), _TURNED, when=(*_TF, *_CONVOLVES)),
    Row("keras1", "Conv2D", "Convolution2D(th)", (Native("W", ("kernel",), "O I X Y"), _B), _LOADER, when=(*_TH, *_CORRELATES)),
    Row("keras1", "Conv2D", "Convolution2D(th, theano)", (Native("W", ("kernel",), "O I ~X ~Y"), _B), _TURNED, when=(*_TH, *_CONVOLVES)),
    Row("keras1", "Conv2D", "AtrousConvolution2D", (Native("W", ("kernel",), "X Y I O"), _B), _LOADER, when=(*_TF, *_CORRELATES)),
    Row("keras1", "Conv2D", "AtrousConvolution2D(theano)", (Native("W", ("kernel",), "~X ~Y I O"), _B), _TURNED, when=(*_TF, *_CONVOLVES)),
    Row("keras1", "Conv2D", "AtrousConvolution2D(th)", (Native("W", ("kernel",), "O I X Y"), _B), _LOADER, when=(*_TH, *_CORRELATES)),
    Row("keras1", "Conv2D", "AtrousConvolution2D(th, theano)", (Native("W", ("kernel",), "O I ~X ~Y"), _B), _TURNED, when=(*_TH, *_CONVOLVES)),
    Row("keras1", "Conv3D", "Convolution3D", (Native("W", ("kernel",), "X Y Z I O"), _B), _LOADER, when=(*_TF, *_CORRELATES)),
    Row("keras1", "Conv3D", "Convolution3D(theano)", (Native("W", ("kernel",), "~X ~Y ~Z I O"), _B), _TURNED, when=(*_TF, *_CONVOLVES)),
    Row("keras1", "Conv3D", "Convolution3D(th)", (Native("W", ("kernel",), "O I X Y Z"), _B), _LOADER, when=(*_TH, *_CORRELATES)),
    Row("keras1", "Conv3D", "Convolution3D(th, theano)", (Native("W", ("kernel",), "O I ~X ~Y ~Z"), _B), _TURNED, when=(*_TH, *_CONVOLVES)),
    Row("keras1", "Conv2DTranspose", "Deconvolution2D", (Native("W", ("kernel",), "X Y I O"), _B), _LOADER, when=(*_TF, *_CORRELATES)),
    Row("keras1", "Conv2DTranspose", "Deconvolution2D(theano)", (Native("W", ("kernel",), "~X ~Y I O"), _B), _TURNED, when=(*_TF, *_CONVOLVES)),
    Row("keras1", "Conv2DTranspose", "Deconvolution2D(th)", (Native("W", ("kernel",), "O I X Y"), _B), _LOADER, when=(*_TH, *_CORRELATES)),
    Row("keras1", "Conv2DTranspose", "Deconvolution2D(th, theano)", (Native("W", ("kernel",), "O I ~X ~Y"), _B), _TURNED, when=(*_TH, *_CONVOLVES)),
    Row("keras1", "SeparableConv2D", "SeparableConvolution2D",
        (
            Native("depthwise_kernel", ("depthwise_kernel",), "X Y C M"),
            Native("pointwise_kernel", ("pointwise_kernel",), "1 1 C.M O"),
            _B,
        ), "keras 1.2 layers/convolutional.py, SeparableConvolution2D.build"),
    Row("keras1", "BatchNormalization", "BatchNormalization",
        (
            Native("gamma", ("gamma",), "C"),
            Native("beta", ("beta",), "C"),
            Native("running_mean", ("moving_mean",), "C"),
            Native("running_std", ("moving_variance",), "C"),
        ), "keras 1.2 layers/normalization.py; running_std is updated with, and used as, the variance"),
    Row("keras1", "PReLU", "PReLU", (Native("alpha", ("alpha",), "1.. C", aliases=("alphas",)),),
        "keras 1.2 layers/advanced_activations.py, PReLU.build"),
    Row("keras1", "SimpleRNN", "SimpleRNN",
        (Native("W", ("kernel",), "I H"), Native("U", ("recurrent_kernel",), "H H"), Native("b", ("bias",), "H")),
        "keras 1.2 layers/recurrent.py, SimpleRNN.build"),
    Row("keras1", "LSTM", "LSTM",
        (
            Native("W_i", ("kernel",), "I i*H"), Native("U_i", ("recurrent_kernel",), "H i*H"), Native("b_i", ("bias",), "i*H"),
            Native("W_c", ("kernel",), "I g*H"), Native("U_c", ("recurrent_kernel",), "H g*H"), Native("b_c", ("bias",), "g*H"),
            Native("W_f", ("kernel",), "I f*H"), Native("U_f", ("recurrent_kernel",), "H f*H"), Native("b_f", ("bias",), "f*H"),
            Native("W_o", ("kernel",), "I o*H"), Native("U_o", ("recurrent_kernel",), "H o*H"), Native("b_o", ("bias",), "o*H"),
        ), _LOADER),
    Row("keras1", "LSTM", "LSTM(consume_less=gpu)",
        (
            Native("W", ("kernel",), "I ifgo*H"),
            Native("U", ("recurrent_kernel",), "H ifgo*H"),
            Native("b", ("bias",), "ifgo*H"),
        ), "keras 1.2 layers/recurrent.py, LSTM.build", when=(("consume_less", "gpu"),)),
    Row("keras1", "GRU", "GRU",
        (
            Native("W_z", ("kernel",), "I z*H"), Native("U_z", ("recurrent_kernel",), "H z*H"), Native("b_z", ("bias",), "z*H"),
            Native("W_r", ("kernel",), "I r*H"), Native("U_r", ("recurrent_kernel",), "H r*H"), Native("b_r", ("bias",), "r*H"),
            Native("W_h", ("kernel",), "I n*H"), Native("U_h", ("recurrent_kernel",), "H n*H"), Native("b_h", ("bias",), "n*H"),
        ), _LOADER, options=_RESET_BEFORE),
    Row("keras1", "GRU", "GRU(consume_less=gpu)",
        (
            Native("W", ("kernel",), "I zrn*H"),
            Native("U", ("recurrent_kernel",), "H zrn*H"),
            Native("b", ("bias",), "zrn*H"),
        ), "keras 1.2 layers/recurrent.py, GRU.build", when=(("consume_less", "gpu"),), options=_RESET_BEFORE),
    Row("keras1", "ConvLSTM2D", "ConvLSTM2D",
        (
            Native("W_i", ("kernel",), "X Y I i*O"), Native("U_i", ("recurrent_kernel",), "X Y O i*O"), Native("b_i", ("bias",), "i*O"),
            Native("W_c", ("kernel",), "X Y I g*O"), Native("U_c", ("recurrent_kernel",), "X Y O g*O"), Native("b_c", ("bias",), "g*O"),
            Native("W_f", ("kernel",), "X Y I f*O"), Native("U_f", ("recurrent_kernel",), "X Y O f*O"), Native("b_f", ("bias",), "f*O"),
            Native("W_o", ("kernel",), "X Y I o*O"), Native("U_o", ("recurrent_kernel",), "X Y O o*O"), Native("b_o", ("bias",), "o*O"),
        ), _LOADER, when=_TF),
)  # fmt: skip

_P1 = Native("param_1", ("bias",), "O")

# Keras 0.x names nothing: `param_N` in the order of the layer's `params`; kernels are `(out, in, h, w)`, and Theano, for
# long the only backend, turns them.
KERAS0: tuple[Row, ...] = (
    Row("keras0", "Dense", "Dense", (Native("param_0", ("kernel",), "I O"), _P1), "keras 0.3 layers/core.py, Dense.build"),
    Row("keras0", "Embedding", "Embedding", (Native("param_0", ("embeddings",), "V D"),), "keras 0.3 layers/embeddings.py"),
    Row("keras0", "Conv1D", "Convolution1D", (Native("param_0", ("kernel",), "O I ~X 1"), _P1), "keras 0.3 layers/convolutional.py", when=_CONVOLVES),
    Row("keras0", "Conv1D", "Convolution1D(tensorflow)", (Native("param_0", ("kernel",), "O I X 1"), _P1), "keras 0.3 layers/convolutional.py", when=_CORRELATES),
    Row("keras0", "Conv2D", "Convolution2D", (Native("param_0", ("kernel",), "O I ~X ~Y"), _P1), "keras 0.3 layers/convolutional.py", when=_CONVOLVES),
    Row("keras0", "Conv2D", "Convolution2D(tensorflow)", (Native("param_0", ("kernel",), "O I X Y"), _P1), "keras 0.3 layers/convolutional.py", when=_CORRELATES),
    Row("keras0", "BatchNormalization", "BatchNormalization",
        (
            Native("param_0", ("gamma",), "C"),
            Native("param_1", ("beta",), "C"),
            Native("param_2", ("moving_mean",), "C"),
            Native("param_3", ("moving_variance",), "C"),
        ), "keras 0.3 layers/normalization.py; running_std holds the variance"),
    Row("keras0", "PReLU", "PReLU", (Native("param_0", ("alpha",), "1.. C"),), "keras 0.3 layers/advanced_activations.py"),
    Row("keras0", "SimpleRNN", "SimpleRNN",
        (Native("param_0", ("kernel",), "I H"), Native("param_1", ("recurrent_kernel",), "H H"), Native("param_2", ("bias",), "H")),
        "keras 0.3 layers/recurrent.py, SimpleRNN.build"),
    Row("keras0", "LSTM", "LSTM",
        (
            Native("param_0", ("kernel",), "I i*H"), Native("param_1", ("recurrent_kernel",), "H i*H"), Native("param_2", ("bias",), "i*H"),
            Native("param_3", ("kernel",), "I g*H"), Native("param_4", ("recurrent_kernel",), "H g*H"), Native("param_5", ("bias",), "g*H"),
            Native("param_6", ("kernel",), "I f*H"), Native("param_7", ("recurrent_kernel",), "H f*H"), Native("param_8", ("bias",), "f*H"),
            Native("param_9", ("kernel",), "I o*H"), Native("param_10", ("recurrent_kernel",), "H o*H"), Native("param_11", ("bias",), "o*H"),
        ), "keras 0.3 layers/recurrent.py, LSTM.build"),
    Row("keras0", "GRU", "GRU",
        (
            Native("param_0", ("kernel",), "I z*H"), Native("param_1", ("recurrent_kernel",), "H z*H"), Native("param_2", ("bias",), "z*H"),
            Native("param_3", ("kernel",), "I r*H"), Native("param_4", ("recurrent_kernel",), "H r*H"), Native("param_5", ("bias",), "r*H"),
            Native("param_6", ("kernel",), "I n*H"), Native("param_7", ("recurrent_kernel",), "H n*H"), Native("param_8", ("bias",), "n*H"),
        ), "keras 0.3 layers/recurrent.py, GRU.build", options=_RESET_BEFORE),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*KERAS3, *KERAS2, *KERAS1, *KERAS0)
