"""PyTorch's modules: names of `state_dict`, channels first, outputs before inputs.

A recurrent module holds all of its layers and directions (`weight_ih_l1_reverse`); here each of them is a layer of its own,
called by what is left of the name. The same goes for the projections of `MultiheadAttention`: `in_proj_weight` is the
`weight` of `in_proj`.
"""

# ruff: noqa: E501  (a table reads best with one variable to a line)

from __future__ import annotations

from dataclasses import replace

from ckptkit.conventions.rows import Native, Row

DIALECT = "torch"

# How a square matrix with a bias lies: nothing in a layer of that shape tells it, the others of the file do.
LINEAR = "linear"
OUTPUTS_FIRST = "outputs_first"
INPUTS_FIRST = "inputs_first"

_BIAS = Native("bias", ("bias",), "O", optional=True)
_SCALE_SHIFT = (
    Native("weight", ("gamma",), "C", optional=True, aliases=("gamma",)),
    Native("bias", ("beta",), "C", optional=True, aliases=("beta",)),
)
_RNN = (
    Native("weight_ih", ("kernel",), "H I"),
    Native("weight_hh", ("recurrent_kernel",), "H' H"),
    Native("bias_ih", ("bias",), "H", optional=True),
    Native("bias_hh", ("bias",), "H", optional=True),
)
_LSTM = (
    Native("weight_ih", ("kernel",), "ifgo*H I"),
    Native("weight_hh", ("recurrent_kernel",), "ifgo*H H"),
    Native("bias_ih", ("bias",), "ifgo*H", optional=True),
    Native("bias_hh", ("bias",), "ifgo*H", optional=True),
)
_GRU = (
    Native("weight_ih", ("kernel",), "rzn*H I"),
    Native("weight_hh", ("recurrent_kernel",), "rzn*H H"),
    Native("bias_ih", ("bias",), "rzn*H", optional=True),
    Native("bias_hh", ("recurrent_bias",), "rzn*H", optional=True),
)
_RESET_AFTER = ("reset_after=True",)
_NO_PROJECTION = "the projection of the output: the recurrent state would have another size"
_SUMMED = "two biases that are added"
_NN = "torch/nn/modules"
_UTILS = "torch/nn/utils"
_LENGTH = "weight normalisation: the kernel is its direction times its length, which no plan computes; `torch.nn.utils.remove_weight_norm` or `parametrize.remove_parametrizations` does"
_SPECTRUM = "spectral normalisation: the kernel is divided by its largest singular value, which no plan computes; `torch.nn.utils.remove_spectral_norm` or `parametrize.remove_parametrizations` does"


def _normed(kind: str, name: str, layout: str) -> tuple[Row, Row]:
    """A layer whose kernel is computed when it runs: by its direction and length, or by its largest singular value."""
    return (
        Row(DIALECT, kind, f"{name}(weight norm)",
            (
                _BIAS,
                Native("weight_g", ("weight_norm_length",), "O 1..", aliases=("parametrizations/weight/original0",)),
                Native("weight_v", ("weight_norm_direction",), layout, aliases=("parametrizations/weight/original1",)),
            ), f"{_UTILS}/weight_norm.py, WeightNorm; parametrizations.py, weight_norm", lost=_LENGTH),
        Row(DIALECT, kind, f"{name}(spectral norm)",
            (
                _BIAS,
                Native("weight_orig", ("spectral_norm_weight",), layout, aliases=("parametrizations/weight/original",)),
                Native("weight_u", ("spectral_norm_left",), "O", aliases=("parametrizations/weight/0/_u",)),
                Native("weight_v", ("spectral_norm_right",), "R", aliases=("parametrizations/weight/0/_v",)),
            ), f"{_UTILS}/spectral_norm.py, SpectralNorm; parametrizations.py, spectral_norm", lost=_SPECTRUM),
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    Row(DIALECT, "Dense", "Linear", (Native("weight", ("kernel",), "O I"), replace(_BIAS, optional=False)), f"{_NN}/linear.py, Linear",
        when=((LINEAR, OUTPUTS_FIRST),)),
    Row(DIALECT, "Dense", "Linear(no bias)", (Native("weight", ("kernel",), "O I"),), f"{_NN}/linear.py, Linear"),
    Row(DIALECT, "Dense", "Conv1D", (Native("weight", ("kernel",), "I O"), replace(_BIAS, optional=False)),
        "transformers/pytorch_utils.py, Conv1D: a matrix product, whose weight lies as TensorFlow's", when=((LINEAR, INPUTS_FIRST),)),
    Row(DIALECT, "Embedding", "Embedding", (Native("weight", ("embeddings",), "V D"),), f"{_NN}/sparse.py, Embedding and EmbeddingBag"),
    Row(DIALECT, "Conv1D", "Conv1d", (Native("weight", ("kernel",), "O I X"), _BIAS), f"{_NN}/conv.py, _ConvNd; with groups, I is that of one"),
    Row(DIALECT, "Conv2D", "Conv2d", (Native("weight", ("kernel",), "O I X Y"), _BIAS), f"{_NN}/conv.py, _ConvNd"),
    Row(DIALECT, "Conv3D", "Conv3d", (Native("weight", ("kernel",), "O I X Y Z"), _BIAS), f"{_NN}/conv.py, _ConvNd"),
    Row(DIALECT, "Conv1DTranspose", "ConvTranspose1d", (Native("weight", ("kernel",), "I O X"), _BIAS), f"{_NN}/conv.py, _ConvTransposeNd; neither it nor Keras's turns the kernel"),
    Row(DIALECT, "Conv2DTranspose", "ConvTranspose2d", (Native("weight", ("kernel",), "I O X Y"), _BIAS), f"{_NN}/conv.py, _ConvTransposeNd"),
    Row(DIALECT, "Conv3DTranspose", "ConvTranspose3d", (Native("weight", ("kernel",), "I O X Y Z"), _BIAS), f"{_NN}/conv.py, _ConvTransposeNd"),
    Row(DIALECT, "BatchNormalization", "BatchNorm",
        (
            *_SCALE_SHIFT,
            Native("running_mean", ("moving_mean",), "C"),
            Native("running_var", ("moving_variance",), "C"),
            Native("num_batches_tracked", (), "", optional=True, kind="state"),
        ), f"{_NN}/batchnorm.py, _NormBase"),
    Row(DIALECT, "LayerNormalization", "LayerNorm", _SCALE_SHIFT, f"{_NN}/normalization.py, LayerNorm; `gamma` and `beta` in files of pytorch-pretrained-bert"),
    Row(DIALECT, "GroupNormalization", "GroupNorm", _SCALE_SHIFT, f"{_NN}/normalization.py, GroupNorm"),
    Row(DIALECT, "GroupNormalization", "InstanceNorm", _SCALE_SHIFT, f"{_NN}/instancenorm.py, _InstanceNorm with affine; a group per channel"),
    Row(DIALECT, "RMSNormalization", "RMSNorm", (Native("weight", ("scale",), "C"),), f"{_NN}/normalization.py, RMSNorm"),
    Row(DIALECT, "PReLU", "PReLU", (Native("weight", ("alpha",), "C"),), f"{_NN}/activation.py, PReLU: shared along all axes but the channels'"),
    Row(DIALECT, "LayerScale", "LayerScale", (Native("gamma", ("gamma",), "C 1..", aliases=("layer_scale",)),),
        "timm/layers/layer_scale.py, LayerScale; torchvision/models/convnext.py, CNBlock"),
    Row(DIALECT, "SimpleRNN", "RNN", _RNN, f"{_NN}/rnn.py, RNNBase; {_SUMMED}"),
    Row(DIALECT, "LSTM", "LSTM", _LSTM, f"{_NN}/rnn.py, LSTM; {_SUMMED}"),
    Row(DIALECT, "LSTM", "LSTM(projection)",
        (
            Native("weight_ih", ("kernel",), "ifgo*H I"),
            Native("weight_hh", ("recurrent_kernel",), "ifgo*H P"),
            Native("bias_ih", ("bias",), "ifgo*H", optional=True),
            Native("bias_hh", ("bias",), "ifgo*H", optional=True),
            Native("weight_hr", ("projection_kernel",), "P H"),
        ), f"{_NN}/rnn.py, LSTM with proj_size", lost=_NO_PROJECTION),
    Row(DIALECT, "GRU", "GRU", _GRU, f"{_NN}/rnn.py, GRU: the reset gate is applied after the product, so that the biases stay apart",
        options=_RESET_AFTER),
    Row(DIALECT, "SimpleRNN", "RNNCell", _RNN, f"{_NN}/rnn.py, RNNCellBase; {_SUMMED}"),
    Row(DIALECT, "LSTM", "LSTMCell", _LSTM, f"{_NN}/rnn.py, LSTMCell; {_SUMMED}"),
    Row(DIALECT, "GRU", "GRUCell", _GRU, f"{_NN}/rnn.py, GRUCell", options=_RESET_AFTER),
    *_normed("Dense", "Linear", "O I"),
    *_normed("Conv1D", "Conv1d", "O I X"),
    *_normed("Conv2D", "Conv2d", "O I X Y"),
    *_normed("Conv3D", "Conv3d", "O I X Y Z"),
)  # fmt: skip
