"""`tf.contrib.layers` and slim: `weights` and `biases`; a normaliser is a scope of its own inside the layer's."""

from __future__ import annotations

from ckptkit.conventions.rows import Native, Row

_BIASES = Native("biases", ("bias",), "O", optional=True)
_LAYERS = "tensorflow/contrib/layers/python/layers/layers.py"

ROWS: tuple[Row, ...] = (
    Row("slim", "Dense", "fully_connected", (Native("weights", ("kernel",), "I O"), _BIASES), f"{_LAYERS}, fully_connected"),
    Row("slim", "Conv1D", "conv1d", (Native("weights", ("kernel",), "X I O"), _BIASES), f"{_LAYERS}, convolution"),
    Row("slim", "Conv2D", "conv2d", (Native("weights", ("kernel",), "X Y I O"), _BIASES), f"{_LAYERS}, convolution"),
    Row("slim", "Conv3D", "conv3d", (Native("weights", ("kernel",), "X Y Z I O"), _BIASES), f"{_LAYERS}, convolution"),
    Row("slim", "Conv2DTranspose", "conv2d_transpose", (Native("weights", ("kernel",), "X Y O I"), _BIASES),
        f"{_LAYERS}, convolution2d_transpose"),
    Row("slim", "Conv3DTranspose", "conv3d_transpose", (Native("weights", ("kernel",), "X Y Z O I"), _BIASES),
        f"{_LAYERS}, convolution3d_transpose"),
    Row("slim", "SeparableConv2D", "separable_conv2d",
        (
            Native("depthwise_weights", ("depthwise_kernel",), "X Y C M"),
            Native("pointwise_weights", ("pointwise_kernel",), "1 1 C.M O"),
            _BIASES,
        ), f"{_LAYERS}, separable_convolution2d"),
    Row("slim", "DepthwiseConv2D", "separable_conv2d(depthwise only)",
        (
            Native("depthwise_weights", ("kernel",), "X Y C M"),
            Native("biases", ("bias",), "C.M", optional=True),
        ), f"{_LAYERS}, separable_convolution2d with num_outputs=None"),
    Row("slim", "BatchNormalization", "BatchNorm",
        (
            Native("beta", ("beta",), "C", optional=True),
            Native("gamma", ("gamma",), "C", optional=True),
            Native("moving_mean", ("moving_mean",), "C"),
            Native("moving_variance", ("moving_variance",), "C"),
        ), f"{_LAYERS}, batch_norm; center without scale is its default"),
    Row("slim", "LayerNormalization", "LayerNorm",
        (Native("beta", ("beta",), "C", optional=True), Native("gamma", ("gamma",), "C", optional=True)),
        f"{_LAYERS}, layer_norm"),
    Row("slim", "GroupNormalization", "GroupNorm",
        (Native("beta", ("beta",), "C", optional=True), Native("gamma", ("gamma",), "C", optional=True)),
        "tensorflow/contrib/layers/python/layers/normalization.py, group_norm"),
    Row("slim", "GroupNormalization", "InstanceNorm",
        (Native("beta", ("beta",), "C", optional=True), Native("gamma", ("gamma",), "C", optional=True)),
        "tensorflow/contrib/layers/python/layers/normalization.py, instance_norm; a group per channel"),
    Row("slim", "Embedding", "embed_sequence", (Native("embeddings", ("embeddings",), "V D"),),
        "tensorflow/contrib/layers/python/layers/encoders.py, embed_sequence"),
    Row("slim", "PReLU", "prelu", (Native("alpha", ("alpha",), "1.. C", aliases=("alphas",)),),
        "no layer of slim's own: `get_variable` of one slope per channel, as its users write it"),
)  # fmt: skip
