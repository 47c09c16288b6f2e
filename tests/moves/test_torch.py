"""Networks of both frameworks into each other by default options: outputs agree, or the move is refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is an extra")
pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file

import ckptkit
from ckptkit.errors import RefusedError
from tests.moves.torch_networks import NETWORKS, Bert, separable

pytestmark = pytest.mark.torch

# Those that names, shapes and the graph on Keras's side pair by themselves, from a state dict that is in no order.
ANY_ORDER = {
    ("vgg", True, ".keras"), ("vgg", False, ".keras"),
    ("bert", True, ".keras"), ("bert", True, ".weights.h5"),
    ("unet", True, ".keras"), ("unet", True, ".weights.h5"),
    ("vit", True, ".keras"), ("vit", True, ".weights.h5"),
    *((f"seq2seq_{cell}", named, ending) for cell in ("lstm", "gru") for named in (True, False)
      for ending in (".keras", ".weights.h5")),
}  # fmt: skip

# Those that need the order in which modules were registered, which torch.save keeps.
IN_ORDER = {
    ("resnet", True, ".keras"), ("mobilenet", True, ".keras"), ("mobilenet", False, ".keras"), ("unet", False, ".keras"),
    ("vit", False, ".keras"),
}  # fmt: skip


@pytest.mark.parametrize("way", ["to keras", "to torch"])
@pytest.mark.parametrize("kept", [".safetensors", ".pt"])
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "automatic"])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_agree_or_it_is_refused(
    name: str, named: bool, ending: str, kept: str, way: str, tmp_path: Path
) -> None:
    twin = NETWORKS[name](named=named)
    twin.randomise(1)
    state, model = tmp_path / f"a{kept}", tmp_path / f"b{ending}"
    held = {key: value.contiguous() for key, value in twin.module.state_dict().items()}
    save_file(held, state) if kept == ".safetensors" else torch.save(twin.module.state_dict(), state)
    twin.model.save(model) if ending == ".keras" else twin.model.save_weights(model)
    output = tmp_path / f"out{ending if way == 'to keras' else kept}"
    source, template = (state, model) if way == "to keras" else (model, state)
    try:
        ckptkit.remap(source, template, output)
    except RefusedError:
        assert (name, named, ending) not in (ANY_ORDER if kept == ".safetensors" else ANY_ORDER | IN_ORDER)
        return
    if way == "to keras":
        twin.model.load_weights(output)
    else:
        filled = load_file(output) if kept == ".safetensors" else torch.load(output, weights_only=True)
        twin.module.load_state_dict(filled, strict=True)
    assert distance(twin) < 1e-5, "moved wrongly, and not refused"


def distance(twin: Any) -> float:
    ours, theirs = twin.run_torch(), twin.run_keras()
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("way", ["to keras", "to torch"])
@pytest.mark.parametrize(
    ("kept", "ending", "head"),
    [
        (".pt", ".keras", "flatten"),
        (".safetensors", ".keras", "flatten"),
        (".pt", ".weights.h5", "pool"),
        (".safetensors", ".h5", "pool"),
    ],
)
def test_a_separable_convolution_is_two(kept: str, ending: str, head: str, way: str, tmp_path: Path) -> None:
    twin = separable(head=head)
    twin.randomise(1)
    state, model = tmp_path / f"a{kept}", tmp_path / f"b{ending}"
    save_file(twin.module.state_dict(), state) if kept == ".safetensors" else torch.save(
        twin.module.state_dict(), state
    )
    twin.model.save_weights(model) if ending == ".weights.h5" else twin.model.save(model)
    if way == "to keras":
        ckptkit.remap(state, model, tmp_path / f"out{ending}")
        twin.model.load_weights(tmp_path / f"out{ending}")
        source, output = state, tmp_path / f"out{ending}"
    else:
        source, output = model, tmp_path / f"out{kept}"
        ckptkit.remap(source, state, output)
        filled = load_file(output) if kept == ".safetensors" else torch.load(output, weights_only=True)
        twin.module.load_state_dict(filled, strict=True)
    assert distance(twin) < 1e-5
    if head == "pool":
        assert ckptkit.diff(source, output).verdict == "identical"


def test_separable_convolutions_of_tensorflow_1(tmp_path: Path) -> None:
    twin = separable()
    twin.randomise(1)
    prefix = str(tmp_path / "model.ckpt")
    names, values = zip(*((weight.path, weight.numpy()) for weight in twin.model.weights), strict=True)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    torch.save(twin.module.state_dict(), tmp_path / "a.pt")
    ckptkit.remap(prefix, tmp_path / "a.pt", tmp_path / "out.pt")
    twin.module.load_state_dict(torch.load(tmp_path / "out.pt", weights_only=True), strict=True)
    assert distance(twin) < 1e-5


@pytest.mark.parametrize("way", ["to keras", "to torch"])
@pytest.mark.parametrize("kept", [".safetensors", ".pt"])
@pytest.mark.parametrize("between", ["norm", "bias"])
def test_what_lies_between_the_two_is_refused(between: str, kept: str, way: str, tmp_path: Path) -> None:
    twin = separable(between)
    state, model = tmp_path / f"a{kept}", tmp_path / "b.keras"
    save_file(twin.module.state_dict(), state) if kept == ".safetensors" else torch.save(
        twin.module.state_dict(), state
    )
    twin.model.save(model)
    source, template = (state, model) if way == "to keras" else (model, state)
    with pytest.raises(RefusedError):
        ckptkit.remap(source, template, tmp_path / f"out{template.suffix}")


def tf1_name(name: str) -> str:
    """What the published TensorFlow 1 code calls a parameter of Hugging Face's BERT."""
    name = re.sub(r"\.layer\.(\d+)\.", r".layer_\1.", name)
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    name = re.sub(r"(_embeddings)\.weight$", r"\1", name)
    return "bert/" + re.sub(r"\.weight$", ".kernel", name).replace(".", "/")


@pytest.mark.parametrize("way", ["to torch", "to tf1"])
def test_bert_of_tensorflow_1(way: str, tmp_path: Path) -> None:
    module = Bert()
    state = {name: value for name, value in module.state_dict().items() if name != "embeddings.position_ids"}
    random = np.random.default_rng(4)
    values = {name: random.normal(size=tuple(value.shape)).astype("float32") for name, value in state.items()}
    stored = {tf1_name(name): value.T if tf1_name(name).endswith("kernel") else value for name, value in values.items()}

    def write_tf1(values: dict[str, Any]) -> str:
        prefix = str(tmp_path / "model.ckpt")
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=list(values.values())
        )
        return prefix

    if way == "to torch":
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, tmp_path / "b.safetensors")
        ckptkit.remap(write_tf1(stored), tmp_path / "b.safetensors", tmp_path / "out.safetensors")
        found = {name: value.numpy() for name, value in load_file(tmp_path / "out.safetensors").items()}
        assert found.pop("embeddings.position_ids").tolist() == [list(range(17))]
        wanted = values
    else:
        held = {name: torch.from_numpy(value) for name, value in values.items()}
        save_file({**held, "embeddings.position_ids": module.embeddings.position_ids}, tmp_path / "a.safetensors")
        template = write_tf1({name: np.zeros_like(value) for name, value in stored.items()})
        ckptkit.remap(tmp_path / "a.safetensors", template, tmp_path / "out.ckpt")
        reader = tf.train.load_checkpoint(str(tmp_path / "out.ckpt"))
        found = {name: reader.get_tensor(name) for name in stored}
        wanted = stored
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
