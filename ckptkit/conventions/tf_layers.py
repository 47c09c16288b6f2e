"""`tf.layers` and `variable_scope`: TensorFlow 1's own layers."""

from __future__ import annotations

from ckptkit.conventions.rows import Native, Row

_BIAS = Native("bias", ("bias",), "O", optional=True)
_SOURCE = "tensorflow/python/layers, subclasses of the Keras layers of the release"

ROWS: tuple[Row, ...] = (
    Row("tf_layers", "Dense", "dense", (Native("kernel", ("kernel",), "I O"), _BIAS), _SOURCE),
    Row("tf_layers", "Conv1D", "conv1d", (Native("kernel", ("kernel",), "X I O"), _BIAS), _SOURCE),
    Row("tf_layers", "Conv2D", "conv2d", (Native("kernel", ("kernel",), "X Y I O"), _BIAS), _SOURCE),
    Row("tf_layers", "Conv3D", "conv3d", (Native("kernel", ("kernel",), "X Y Z I O"), _BIAS), _SOURCE),
    Row("tf_layers", "Conv2DTranspose", "conv2d_transpose", (Native("kernel", ("kernel",), "X Y O I"), _BIAS), _SOURCE),
    Row("tf_layers", "Conv3DTranspose", "conv3d_transpose", (Native("kernel", ("kernel",), "X Y Z O I"), _BIAS), _SOURCE),
    Row("tf_layers", "SeparableConv1D", "separable_conv1d",
        (
            Native("depthwise_kernel", ("depthwise_kernel",), "X C M"),
            Native("pointwise_kernel", ("pointwise_kernel",), "1 C.M O"),
            _BIAS,
        ), _SOURCE),
    Row("tf_layers", "SeparableConv2D", "separable_conv2d",
        (
            Native("depthwise_kernel", ("depthwise_kernel",), "X Y C M"),
            Native("pointwise_kernel", ("pointwise_kernel",), "1 1 C.M O"),
            _BIAS,
        ), _SOURCE),
    Row("tf_layers", "BatchNormalization", "batch_normalization",
        (
            Native("gamma", ("gamma",), "C", optional=True),
            Native("beta", ("beta",), "C", optional=True),
            Native("moving_mean", ("moving_mean",), "C"),
            Native("moving_variance", ("moving_variance",), "C"),
        ), _SOURCE),
    Row("tf_layers", "LayerNormalization", "layer_norm",
        (Native("beta", ("beta",), "C", optional=True), Native("gamma", ("gamma",), "C", optional=True)),
        "tf.contrib.layers.layer_norm inside a variable_scope, which makes beta first"),
)  # fmt: skip
