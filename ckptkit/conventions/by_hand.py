"""Variables that people make themselves under a scope, `get_variable("w")`: the words they use and the shapes they keep.

No framework stands behind these rows, so they count after those of every framework. A bias may keep the axes along
which it is added (`[1, 1, 1, O]`, `[1, O, 1, 1]`), and an embedding may be called what a kernel is.
"""

# ruff: noqa: E501  (a table reads best with one variable to a line)

from __future__ import annotations

from dataclasses import replace

from ckptkit.conventions.rows import Native, Row

_KERNEL_WORDS = ("w", "W", "weights", "weight_matrix")
_BIAS = Native("bias", ("bias",), "1.. O 1..", optional=True, aliases=("b", "B", "biases"))
_GAMMA_WORDS = ("g", "scale")
_BETA_WORDS = ("b", "offset", "shift", "bias")
_MEAN_WORDS = ("mean/EMA", "mean", "mu", "pop_mean", "population_mean", "running_mean", "ema_mean")
_VARIANCE_WORDS = (
    "variance/EMA",
    "variance",
    "var",
    "pop_var",
    "pop_variance",
    "population_variance",
    "running_var",
    "ema_var",
)
_HABIT = "no framework's own: variables made under a scope"


def _kernel(layout: str) -> Native:
    return Native("kernel", ("kernel",), layout, aliases=_KERNEL_WORDS)


_GAMMA = Native("gamma", ("gamma",), "1.. C 1..", optional=True, aliases=_GAMMA_WORDS)
_BETA = Native("beta", ("beta",), "1.. C 1..", optional=True, aliases=_BETA_WORDS)

ROWS: tuple[Row, ...] = (
    Row("by_hand", "Dense", "dense", (_kernel("I O"), _BIAS), _HABIT),
    Row("by_hand", "Conv1D", "conv1d", (_kernel("X I O"), _BIAS), f"{_HABIT}; the projections of GPT-2 are such, of width 1"),
    Row("by_hand", "Conv2D", "conv2d", (_kernel("X Y I O"), _BIAS), f"{_HABIT}; OpenAI Baselines, a2c/utils.py, conv"),
    Row("by_hand", "Conv3D", "conv3d", (_kernel("X Y Z I O"), _BIAS), _HABIT),
    Row("by_hand", "Conv2DTranspose", "conv2d_transpose", (_kernel("X Y O I"), _BIAS), _HABIT),
    Row("by_hand", "DepthwiseConv2D", "depthwise_conv2d",
        (
            Native("kernel", ("kernel",), "X Y C M", aliases=("depthwise_kernel", "depthwise_weights", *_KERNEL_WORDS)),
            Native("bias", ("bias",), "1.. C.M 1..", optional=True, aliases=("b", "B", "biases")),
        ), "tf.nn.depthwise_conv2d over a variable of the user's"),
    Row("by_hand", "BatchNormalization", "batch_norm",
        (
            _GAMMA, _BETA,
            Native("moving_mean", ("moving_mean",), "1.. C 1..", aliases=_MEAN_WORDS),
            Native("moving_variance", ("moving_variance",), "1.. C 1..", aliases=_VARIANCE_WORDS),
        ), f"{_HABIT}; `mean/EMA` is tensorpack's (models/batch_norm.py)"),
    Row("by_hand", "LayerNormalization", "layer_norm", (replace(_GAMMA, optional=False), _BETA), f"{_HABIT}; `g` and `b` are GPT-2's (src/model.py, norm)"),
    Row("by_hand", "Embedding", "embedding",
        (Native("embeddings", ("embeddings",), "V D", aliases=("embedding", "embedding_table", "lookup_table", "table", "w", "W", "weights")),),
        f"{_HABIT}; a table that is looked up by index"),
    Row("by_hand", "LayerScale", "layer_scale", (Native("gamma", ("gamma",), "1.. C 1..", aliases=("layer_scale", "scale")),),
        f"{_HABIT}; one factor for each channel"),
)  # fmt: skip
