"""PyTorch's modules verified: against Keras and each other, layouts, state, first divergence, loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is an extra")
pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import torch
from keras import layers
from safetensors.torch import save_file
from torch import nn

import ckptkit
from ckptkit.errors import ModelError, RefusedError, UsageError
from tests.moves.torch_networks import NETWORKS, Twin, images, resnet, seq2seq, vgg

pytestmark = pytest.mark.torch


def moved(twin: Twin, folder: Path, **options: Any) -> Twin:
    """The model's weights in the module."""
    twin.randomise(3)
    twin.model.save(folder / "a.keras")
    ckptkit.load_into(twin.module, folder / "a.keras", **options)
    return twin


def test_outputs_follow_the_averages_of_a_normalisation() -> None:
    module, other = (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))
    other.load_state_dict(module.state_dict())
    result = ckptkit.compare_models(module, other, [images(8, 3, 8, 8)])
    assert result.passed
    assert result.coverage is not None
    assert result.coverage.by_outputs == 6


@pytest.mark.parametrize("name", ["vgg", "unet", "vit", "seq2seq_gru", "seq2seq_lstm"])
def test_equal_networks_pass_and_every_weight_is_tested(name: str, tmp_path: Path) -> None:
    twin = moved(NETWORKS[name](), tmp_path)
    for a, b in ((twin.model, twin.module), (twin.module, twin.model)):
        result = ckptkit.compare_models(a, b)
        assert result.passed, result.to_json()
        assert result.coverage is not None
        assert not result.coverage.untested


def test_a_wrong_weight_fails(tmp_path: Path) -> None:
    twin = moved(vgg(), tmp_path)
    with torch.no_grad():
        twin.module.classifier[0].weight[0, 3] += 0.5
    result = ckptkit.compare_models(twin.model, twin.module)
    assert not result.passed
    assert result.first_divergence is not None
    assert result.first_divergence.target == "classifier.0"


@pytest.mark.parametrize("assume", [{"flatten:fc1": "none"}, {"flatten:fc1": "120,1"}])
def test_a_flattened_image_in_the_wrong_order_fails(assume: dict[str, str], tmp_path: Path) -> None:
    twin = moved(vgg(), tmp_path, assume=assume)
    result = ckptkit.compare_models(twin.model, twin.module)
    assert not result.passed


def test_the_layout_is_told_where_one_is_left(tmp_path: Path) -> None:
    twin = moved(vgg(), tmp_path)
    result = ckptkit.compare_models(twin.model, twin.module)
    assert any("channels first" in note for note in result.notes)


class Either(nn.Module):
    """Takes its images either way, and gives other numbers."""

    def forward(self, x: Any) -> Any:
        return x.mean((2, 3))


def test_a_layout_that_shapes_leave_open_is_asked_for() -> None:
    model = keras.Sequential([layers.Input((8, 8, 8)), layers.GlobalAveragePooling2D()])
    with pytest.raises(UsageError, match="channels first and with the channels last"):
        ckptkit.compare_models(model, Either())
    assert ckptkit.compare_models(model, Either(), layouts=(None, "NCHW")).passed
    assert ckptkit.compare_models(model, Either(), layouts=("NHWC", "NCHW")).passed
    assert not ckptkit.compare_models(model, Either(), layouts=("NHWC", "NHWC")).passed


def test_time_may_come_first() -> None:
    module = nn.GRU(5, 4)
    model = keras.Sequential([layers.Input((6, 5)), layers.GRU(4, return_sequences=True)])

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = module

        def forward(self, x: Any) -> Any:
            return self.gru(x)[0]

    first = First()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/a.keras")
        ckptkit.load_into(first, f"{folder}/a.keras")
    assert ckptkit.compare_models(model, first, layouts=("NTC", "TNC")).passed


def test_a_wrong_layout_is_refused() -> None:
    model = keras.Sequential([layers.Input((8, 8, 8)), layers.GlobalAveragePooling2D()])
    for layouts, says in (
        ((None, "NCHH"), "not a layout"),
        (("NHWC", "NCT"), "different axes"),
        (("N", None), "not a"),
    ):
        with pytest.raises(UsageError, match=says):
            ckptkit.compare_models(model, Either(), layouts=layouts)


class Counting(nn.Module):
    """Changes itself whenever it is called, and drops what it is given while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.dropout = nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.dropout(self.linear(x)) + self.calls * 1e-2


def test_state_mode_gradients_and_generators_are_put_back() -> None:
    module = Counting()
    module.train()
    other = Counting()
    other.load_state_dict(module.state_dict())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random, threads = torch.random.get_rng_state(), torch.get_num_threads()
    x = images(8, 4)
    result = ckptkit.compare_models(module, other, [x])
    assert result.passed
    assert module.training
    assert module.dropout.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert module.linear.weight.grad is None
    assert module.linear.weight.requires_grad


class Noisy(nn.Module):
    def __init__(self, size: float) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.size = size

    def forward(self, x: Any) -> Any:
        return self.linear(x) + self.size * torch.randn(3)


def test_samples_are_the_same_on_both_sides() -> None:
    module, other = Noisy(1.0), Noisy(1.0)
    other.load_state_dict(module.state_dict())
    result = ckptkit.compare_models(module, other, [images(8, 4)])
    assert result.passed
    assert any("same samples" in note for note in result.notes)


def factory(folder: Path, text: str) -> str:
    path = folder / "made.py"
    path.write_text(text, encoding="utf-8")
    return f"{path}:make"


MODULE = """
import torch
from torch import nn

def make():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
"""


def pair(folder: Path) -> tuple[str, str, str]:
    """A Keras model, a state dict with its weights, and what makes the module."""
    model = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(5, name="fc")]
    )
    model.save(folder / "a.keras")
    reference = factory(folder, MODULE)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    save_file(module.state_dict(), folder / "template.safetensors")
    ckptkit.remap(folder / "a.keras", folder / "template.safetensors", folder / "b.safetensors")
    return str(folder / "a.keras"), str(folder / "b.safetensors"), reference


def test_files_are_loaded_by_pytorch_itself(tmp_path: Path) -> None:
    source, target, reference = pair(tmp_path)
    result = ckptkit.verify(source, target, dst_model=reference)
    assert result.passed
    assert "load_state_dict(strict=True)" in result.loaded_by[1]
    assert result.pairing_proven
    assert ckptkit.verify(target, source, src_model=reference).passed


def test_two_modules_need_inputs(tmp_path: Path) -> None:
    _, target, reference = pair(tmp_path)
    with pytest.raises(UsageError, match="does not say what inputs"):
        ckptkit.verify(target, target, src_model=reference, dst_model=reference)
    np.savez(tmp_path / "x.npz", x=images(8, 3, 8, 8))
    assert ckptkit.verify(
        target, target, src_model=reference, dst_model=reference, inputs=str(tmp_path / "x.npz")
    ).passed


def test_a_file_of_another_module_is_refused(tmp_path: Path) -> None:
    source, _, reference = pair(tmp_path)
    save_file({"0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "c.safetensors")
    with pytest.raises(ModelError, match="Missing key"):
        ckptkit.verify(source, tmp_path / "c.safetensors", dst_model=reference)


@pytest.mark.parametrize(
    ("make", "model", "word"),
    [
        (lambda: nn.BatchNorm2d(3, eps=0.1), lambda: layers.BatchNormalization(epsilon=1e-5), "epsilon"),
        (lambda: nn.Conv2d(3, 4, 3, 2, 1), lambda: layers.Conv2D(4, 3, 2, padding="same"), "padding"),
    ],
)
def test_another_setting_is_named(make: Any, model: Any, word: str, tmp_path: Path) -> None:
    module = nn.Sequential()
    module.add_module("first", make())
    module.add_module("last", nn.Conv2d(4 if word == "padding" else 3, 2, 1))
    net = keras.Sequential([layers.Input((8, 8, 3)), model(), layers.Conv2D(2, 1)])
    for weight in net.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) ** 2)
    net.save(tmp_path / "a.keras")
    ckptkit.load_into(module, tmp_path / "a.keras")
    result = ckptkit.compare_models(net, module)
    assert not result.passed
    assert result.first_divergence is not None
    assert f"another {word}" in result.first_divergence.reason


def test_load_into_is_all_or_nothing(tmp_path: Path) -> None:
    twin = vgg()
    twin.model.save(tmp_path / "a.keras")
    other = seq2seq("LSTM").module
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(RefusedError):
        ckptkit.load_into(other, tmp_path / "a.keras")
    save_file({"embedding.weight": torch.zeros(23, 6)}, tmp_path / "part.safetensors")
    with pytest.raises(RefusedError):
        ckptkit.load_into(other, tmp_path / "part.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_load_into_prefers_pytorchs_own_loader(tmp_path: Path) -> None:
    module = resnet().module
    state = {name: torch.rand_like(value.float()).to(value.dtype) for name, value in module.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    done = ckptkit.load_into(module, tmp_path / "a.safetensors")
    assert "load_state_dict" in done.loaded_by
    assert not done.left
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_half_precision_is_seen(tmp_path: Path) -> None:
    module, other = (nn.Linear(4, 3).to(torch.bfloat16) for _ in range(2))
    other.load_state_dict(module.state_dict())

    class Cast(nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x.to(torch.bfloat16)).float()

    result = ckptkit.compare_models(Cast(module), Cast(other), [images(8, 4)])
    assert result.passed


def test_another_momentum_is_named_where_the_outputs_agree(tmp_path: Path) -> None:
    module = nn.Sequential()
    module.add_module("norm", nn.BatchNorm2d(3, eps=1e-3))
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.BatchNormalization()])
    model.save(tmp_path / "a.keras")
    ckptkit.load_into(module, tmp_path / "a.keras")
    result = ckptkit.compare_models(model, module)
    assert result.passed
    assert any("momentum 0.99 against 0.9" in note for note in result.notes)
    module.norm.momentum = 0.01
    assert not any("momentum" in note for note in ckptkit.compare_models(model, module).notes)
