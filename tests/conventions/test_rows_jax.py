"""Flax and Haiku: what NNX calls as linen does, grouped convolutions, and what no weights can make equal."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")
pytest.importorskip("jax", reason="the frameworks are an extra")
pytest.importorskip("flax", reason="the frameworks are an extra")
pytest.importorskip("haiku", reason="the frameworks are an extra")

import flax.linen as nn
import keras

from ckptkit.conventions import ROWS, Row, by_id
from ckptkit.errors import RefusedError
from tests.conventions.jax_subjects import C, M, flax_subject, nnx_subject, variables_subject
from tests.conventions.layers import moved
from tests.conventions.subjects import input_of, keras_subject
from tests.conventions.test_rows_run import agree_there_and_back, reference_of

pytestmark = pytest.mark.jax

# What only linen has, or has under words of its own.
_LINEN = ("ConvLSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell")
SHARED = [row.id for row in ROWS if row.dialect == "flax" and row.class_name not in _LINEN and "nnx" not in row.name]


@pytest.mark.parametrize("name", SHARED)
def test_nnx_agrees_with_the_rows_it_shares_with_linen(name: str) -> None:
    row = by_id(name)
    agree_there_and_back(row, nnx_subject(row), *reference_of(row))


@pytest.mark.parametrize("kind", ["DepthwiseConv1D", "DepthwiseConv2D"])
def test_a_convolution_with_one_group_a_channel_is_a_depthwise_one(kind: str) -> None:
    row = by_id(f"flax/Conv({kind[-2]}d)")
    seen = Row("flax", kind, "like", row.natives, "")  # for its input alone
    module = nn.Conv(C * M, (2, 3)[: int(kind[-2])], feature_group_count=C, padding="VALID")
    subject = variables_subject(seen, module)
    view = by_id(f"keras3/{kind}(as Conv{kind[-2]}D in groups)")
    agree_there_and_back(row, subject, view, keras_subject(keras, kind, seen), input_of(seen))


@pytest.mark.parametrize("name", ["flax/GRUCell(nnx)", "flax/GRUCell"])
def test_a_recurrent_bias_that_has_no_place_is_refused_or_left_behind(name: str) -> None:
    """A bias of the new state inside the reset gate is no sum that another could hold."""
    row = by_id(name)
    subject, (row_b, reference) = flax_subject(row.name, row), reference_of(row)
    reference.randomise(1)
    if name == "flax/GRUCell":  # its gates add both biases
        moved(row_b, reference.values(), row, subject.values())
        return
    with pytest.raises(RefusedError, match="the recurrent bias of gate n in layer/bias would be lost"):
        moved(row_b, reference.values(), row, subject.values())
    subject.assign(moved(row_b, reference.values(), row, subject.values(), allow_unexpected=True))
    x = input_of(row)
    assert np.abs(np.asarray(subject.run(x)) - np.asarray(reference.run(x))).max() > 1e-2
