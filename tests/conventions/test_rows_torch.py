"""Every row of PyTorch against Keras 3: both layers run on one input with the same weights, there and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is an extra")
pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import torch

from ckptkit.conventions import Row, by_id, rows_of
from tests.conventions.layers import DIMS, moved
from tests.conventions.subjects import EPSILON, Subject, input_of, keras_subject
from tests.conventions.test_rows_run import apart, reference_row

pytestmark = pytest.mark.torch

I, O, H, C, M, V, D = (DIMS[name] for name in "IOHCMVD")
Array = np.ndarray
nn = torch.nn


class MatrixProduct(nn.Module):
    """What transformers calls Conv1D, as its docstring defines it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(I, O))
        self.bias = nn.Parameter(torch.zeros(O))

    def forward(self, x: Any) -> Any:
        return x @ self.weight + self.bias


class Scale(nn.Module):
    """What timm calls LayerScale: every channel times a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(C))

    def forward(self, x: Any) -> Any:
        return x * self.gamma


MODULES: Mapping[str, Callable[[], Any]] = {
    "Linear": lambda: nn.Linear(I, O),
    "Linear(no bias)": lambda: nn.Linear(I, O, bias=False),
    "Conv1D": lambda: MatrixProduct(),
    "LayerScale": lambda: Scale(),
    "Embedding": lambda: nn.Embedding(V, D),
    "Conv1d": lambda: nn.Conv1d(I, O, 2),
    "Conv2d": lambda: nn.Conv2d(I, O, (2, 3)),
    "Conv3d": lambda: nn.Conv3d(I, O, (2, 3, 4)),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(I, O, 2, stride=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(I, O, (2, 3), stride=2),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(I, O, (2, 3, 4), stride=2),
    "BatchNorm": lambda: nn.BatchNorm2d(C, eps=EPSILON),
    "LayerNorm": lambda: nn.LayerNorm(C, eps=EPSILON),
    "GroupNorm": lambda: nn.GroupNorm(C, C, eps=EPSILON),
    "InstanceNorm": lambda: nn.InstanceNorm2d(C, eps=EPSILON, affine=True),
    "RMSNorm": lambda: nn.RMSNorm(C, eps=keras.layers.RMSNormalization().epsilon),
    "PReLU": lambda: nn.PReLU(C),
    "RNN": lambda: nn.RNN(I, H, batch_first=True),
    "LSTM": lambda: nn.LSTM(I, H, batch_first=True),
    "GRU": lambda: nn.GRU(I, H, batch_first=True),
    "RNNCell": lambda: nn.RNNCell(I, H),
    "LSTMCell": lambda: nn.LSTMCell(I, H),
    "GRUCell": lambda: nn.GRUCell(I, H),
}
CHANNELS_FIRST = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose", "BatchNorm", "GroupNorm", "InstanceNorm", "PReLU")
ROWS = [row.id for row in rows_of("torch") if not row.lost]


class Parameter:
    """A parameter or buffer that is set like a Keras variable."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def numpy(self) -> Array:
        return self.tensor.detach().numpy()

    def assign(self, value: Array) -> None:
        with torch.no_grad():
            self.tensor.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def forward(name: str, module: Any, x: Array) -> Array:
    """The output for an input with the channels last, as such."""
    first = name.startswith(CHANNELS_FIRST)
    given = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1) if first else x))
    with torch.no_grad():
        if name.endswith("Cell"):
            state, outputs = None, []
            for time in range(given.shape[1]):
                state = module(given[:, time], state)
                outputs.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(outputs, 1).numpy()
        output = module(given)
    made = (output[0] if isinstance(output, tuple) else output).numpy()
    return np.moveaxis(made, 1, -1) if first else made


def torch_subject(name: str) -> Subject:
    module = MODULES[name]().eval()
    weights = {
        re.sub(r"_l0$", "", suffix): Parameter(tensor)
        for suffix, tensor in module.state_dict(keep_vars=True).items()
        if suffix != "num_batches_tracked"
    }
    return Subject(weights, lambda x: forward(name, module, x))


def randomise(subject: Subject, seed: int) -> None:
    subject.randomise(seed)
    if "running_var" in subject.weights:
        variance = subject.weights["running_var"]
        variance.assign(np.abs(variance.numpy()) + 0.5)


def reference_of(row: Row) -> tuple[Row, Subject]:
    reference = reference_row(row)
    subject = keras_subject(keras, reference.name, row)
    if row.name == "Linear(no bias)":
        layer = keras.layers.Dense(O, use_bias=False)
        layer(input_of(row))
        subject = Subject({"kernel": layer.kernel}, layer)
    return reference, subject


@pytest.mark.parametrize("name", ROWS)
def test_outputs_agree_there_and_back(name: str) -> None:
    row = by_id(name)
    subject = torch_subject(row.name)
    row_b, reference = reference_of(row)
    x = input_of(row)

    randomise(subject, 1)
    reference.assign(moved(row, subject.values(), row_b, reference.values()))
    assert apart(subject.run(x), reference.run(x)) < 1e-5

    reference.randomise(2)
    before = subject.run(x)
    subject.assign(moved(row_b, reference.values(), row, subject.values()))
    assert apart(subject.run(x), reference.run(x)) < 1e-5
    assert apart(subject.run(x), before) > 1e-3, "the weights do not matter to the output: nothing is proven"


@pytest.mark.parametrize("name", ROWS)
def test_names_and_order_are_those_of_the_framework(name: str) -> None:
    row = by_id(name)
    assert list(torch_subject(row.name).weights) == [native.suffix for native in row.natives if native.kind == "weight"]


@pytest.mark.parametrize("name", ["torch/LSTM", "torch/GRU"])
def test_swapped_gates_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = by_id(name)
    swap = {"ifgo": "figo", "rzn": "zrn"}
    natives = tuple(
        replace(native, layout=re.sub("ifgo|rzn", lambda found: swap[found[0]], native.layout))
        for native in row.natives
    )
    wrong = replace(row, name=f"{row.name}(wrong)", natives=natives)
    monkeypatch.setattr("ckptkit.planner.pairs.by_id", lambda sought: wrong if sought == wrong.id else by_id(sought))
    subject, x = torch_subject(row.name), input_of(row)
    row_b, reference = reference_of(row)
    reference.randomise(2)
    subject.assign(moved(row_b, reference.values(), wrong, subject.values()))
    assert apart(subject.run(x), reference.run(x)) > 1e-3


@pytest.mark.parametrize("kind", ["1", "2"])
@pytest.mark.parametrize("multiplier", [1, M])
def test_a_depthwise_convolution_is_one_in_groups(kind: str, multiplier: int) -> None:
    """Keras has a layer for it and `[x, y, c, m]`, PyTorch a convolution of as many groups and `[c.m, 1, x, y]`."""
    size, inputs = ((2, 3), (2, 9, 8, C)) if kind == "2" else ((2,), (2, 9, C))
    row = by_id(f"keras3/DepthwiseConv{kind}D(as Conv{kind}D in groups)")
    other = by_id(f"torch/Conv{kind}d")
    x = np.random.default_rng(3).normal(size=inputs).astype("float32")
    layer = getattr(keras.layers, f"DepthwiseConv{kind}D")(size, depth_multiplier=multiplier)
    layer(x)
    module = getattr(nn, f"Conv{kind}d")(C, C * multiplier, size, groups=C).eval()
    subject = Subject({key: Parameter(value) for key, value in module.named_parameters()}, lambda x: None)

    def held() -> dict[str, Array]:
        return dict(zip(("kernel", "bias"), map(np.asarray, layer.get_weights()), strict=True))

    layer.set_weights([np.random.default_rng(4).normal(size=value.shape) for value in layer.get_weights()])
    subject.assign(moved(row, held(), other, subject.values()))
    assert apart(forward("Conv1d", module, x), layer(x)) < 1e-5
    subject.randomise(5)
    made = moved(other, subject.values(), row, held())
    layer.set_weights([made["kernel"], made["bias"]])
    assert apart(forward("Conv1d", module, x), layer(x)) < 1e-5


def test_convolutions_in_groups_lie_alike() -> None:
    x = np.random.default_rng(3).normal(size=(2, 9, 8, 6)).astype("float32")
    layer = keras.layers.Conv2D(12, (2, 3), groups=3)
    layer(x)
    module = nn.Conv2d(6, 12, (2, 3), groups=3).eval()
    subject = Subject({key: Parameter(value) for key, value in module.named_parameters()}, lambda x: None)
    held = dict(zip(("kernel", "bias"), map(np.asarray, layer.get_weights()), strict=True))
    subject.assign(moved(by_id("keras3/Conv2D"), held, by_id("torch/Conv2d"), subject.values()))
    assert apart(forward("Conv1d", module, x), layer(x)) < 1e-5
