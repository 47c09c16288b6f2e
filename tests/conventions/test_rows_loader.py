"""Keras 0 and 1 and the CuDNN layers against the loader that tf_keras still has for their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import tf_keras
from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

from ckptkit.conventions import ROWS, Row, by_id
from tests.conventions.layers import DIMS, make_layer, move

X, Y, Z, O, H, C, M, V, D = (DIMS[name] for name in "XYZOHCMVD")
L = tf_keras.layers

# Row -> (row of Keras 2 it becomes, the layer into which the loader would put it). Proven by the loader instead of
# by running both: Keras 0 and 1 need Python 3.6 or Theano, the CuDNN layers a GPU.
_TARGETS: Mapping[str, tuple[str, Any]] = {
    "keras1/Dense": ("Dense", lambda: L.Dense(O)),
    "keras1/TimeDistributedDense": ("Dense", lambda: L.TimeDistributed(L.Dense(O))),
    "keras1/Embedding": ("Embedding", lambda: L.Embedding(V, D)),
    "keras1/Convolution1D": ("Conv1D", lambda: L.Conv1D(O, X)),
    "keras1/Convolution1D(th)": ("Conv1D", lambda: L.Conv1D(O, X)),
    "keras1/Convolution2D": ("Conv2D", lambda: L.Conv2D(O, (X, Y))),
    "keras1/Convolution2D(th)": ("Conv2D", lambda: L.Conv2D(O, (X, Y), data_format="channels_first")),
    "keras1/AtrousConvolution2D": ("Conv2D", lambda: L.Conv2D(O, (X, Y))),
    "keras1/AtrousConvolution2D(th)": ("Conv2D", lambda: L.Conv2D(O, (X, Y), data_format="channels_first")),
    "keras1/Convolution3D": ("Conv3D", lambda: L.Conv3D(O, (X, Y, Z))),
    "keras1/Convolution3D(th)": ("Conv3D", lambda: L.Conv3D(O, (X, Y, Z), data_format="channels_first")),
    "keras1/Deconvolution2D": ("Conv2DTranspose", lambda: L.Conv2DTranspose(O, (X, Y))),
    "keras1/Deconvolution2D(th)": (
        "Conv2DTranspose",
        lambda: L.Conv2DTranspose(O, (X, Y), data_format="channels_first"),
    ),
    "keras1/SeparableConvolution2D": ("SeparableConv2D", lambda: L.SeparableConv2D(O, (X, Y), depth_multiplier=M)),
    "keras1/BatchNormalization": ("BatchNormalization", lambda: L.BatchNormalization()),
    "keras1/PReLU": ("PReLU", lambda: L.PReLU()),
    "keras1/SimpleRNN": ("SimpleRNN", lambda: L.SimpleRNN(H)),
    "keras1/LSTM": ("LSTM", lambda: L.LSTM(H)),
    "keras1/LSTM(consume_less=gpu)": ("LSTM", lambda: L.LSTM(H)),
    "keras1/GRU": ("GRU(reset_after=False)", lambda: L.GRU(H, reset_after=False)),
    "keras1/GRU(consume_less=gpu)": ("GRU(reset_after=False)", lambda: L.GRU(H, reset_after=False)),
    "keras1/ConvLSTM2D": ("ConvLSTM2D", lambda: L.ConvLSTM2D(O, (X, Y))),
    "keras0/Dense": ("Dense", lambda: L.Dense(O)),
    "keras0/Embedding": ("Embedding", lambda: L.Embedding(V, D)),
    "keras0/Convolution1D(tensorflow)": ("Conv1D", lambda: L.Conv1D(O, X)),
    "keras0/Convolution2D(tensorflow)": ("Conv2D", lambda: L.Conv2D(O, (X, Y), data_format="channels_first")),
    "keras0/BatchNormalization": ("BatchNormalization", lambda: L.BatchNormalization()),
    "keras0/PReLU": ("PReLU", lambda: L.PReLU()),
    "keras0/SimpleRNN": ("SimpleRNN", lambda: L.SimpleRNN(H)),
    "keras0/LSTM": ("LSTM", lambda: L.LSTM(H)),
    "keras0/GRU": ("GRU(reset_after=False)", lambda: L.GRU(H, reset_after=False)),
    "keras2/CuDNNLSTM": ("LSTM", lambda: L.LSTM(H)),
    "keras2/CuDNNGRU": ("GRU", lambda: L.GRU(H)),
}
LOADED = frozenset(_TARGETS)
INPUTS = {
    "Embedding": (2, 3), "Conv1D": (2, 9, 5), "Conv2D": (2, 9, 9, 5), "Conv3D": (2, 9, 9, 9, 5),
    "Conv2DTranspose": (2, 9, 9, 5), "SeparableConv2D": (2, 9, 9, C), "BatchNormalization": (2, C), "PReLU": (2, C),
    "SimpleRNN": (2, 3, 5), "LSTM": (2, 3, 5), "GRU": (2, 3, 5), "ConvLSTM2D": (2, 3, 9, 9, 5),
    "TimeDistributed": (2, 3, 5),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(_TARGETS))
def test_same_as_the_loader_of_the_framework(name: str) -> None:
    row = by_id(name)
    target_name, make = _TARGETS[name]
    layer = make()
    shape = INPUTS.get(type(layer).__name__, (2, 5))
    first = getattr(layer, "data_format", "") == "channels_first"
    layer.build((shape[0], shape[-1], *shape[1:-1]) if first else shape)
    made = make_layer(row)
    version = "2" if row.dialect == "keras2" else "1"
    wanted = preprocess_weights_for_loading(layer, [value.copy() for value in made.values.values()], version)
    _, found = move(made, make_layer(by_id(f"keras2/{target_name}"), seed=5))
    assert [value.shape for value in wanted] == [value.shape for value in found.values()]
    for theirs, ours in zip(wanted, found.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["keras2/CuDNNLSTM", "keras2/CuDNNGRU"])
def test_into_cudnn_and_out_again_is_the_same(name: str) -> None:
    """The loader's other direction splits a bias otherwise; what it makes of ours says that ours is right."""
    row = by_id(name)
    target_name, make = _TARGETS[name]
    plain = make_layer(by_id(f"keras2/{target_name}"))
    _, cudnn = move(plain, make_layer(row, seed=5))
    layer = make()
    layer.build((2, 3, 5))
    back = preprocess_weights_for_loading(layer, [value.copy() for value in cudnn.values()], "2")
    for theirs, ours in zip(back, plain.values.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_row_of_keras_0_and_1_is_here() -> None:
    rows: set[str] = {row.id for row in ROWS if row.dialect in ("keras0", "keras1")}
    turned = {row.id for row in ROWS if any("~" in native.layout for native in row.natives)}
    assert rows - turned <= LOADED
    assert isinstance(ROWS[0], Row)
