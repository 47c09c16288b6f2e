"""The shipped files: the laws of every map hold, and each reads as a person would read it, whole or damaged."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from ckptkit.errors import CkptkitError
from ckptkit.formats import open_contents
from ckptkit.model import CheckpointSpec
from tests.canonical.made import built, kinds, weights
from tests.conftest import FIXTURES
from tests.formats.test_fixtures import CASES, opened

CNN = {
    "conv": "Conv2D", "norm": "BatchNormalization", "depthwise": "DepthwiseConv2D", "separable": "SeparableConv2D",
    "transposed": "Conv2DTranspose", "layer_norm": "LayerNormalization", "head": "Dense",
}  # fmt: skip
RNN = {
    "embedding": "Embedding", "lstm": "LSTM", "both_ways/forward_gru": "GRU", "both_ways/backward_gru": "GRU",
    "old_gru": "GRU", "simple": "SimpleRNN", "head": "Dense",
}  # fmt: skip
MLP = {"hidden": "Dense", "head": "Dense"}
NESTED = {"inner/base": "Dense", "inner/innermost/tip": "Dense", "head": "Dense"}
SCOPES = {f"feed_forward_{tower}/dense_{layer}": "Dense" for tower in ("x", "y", "shared") for layer in "ab"}

# Case -> where the order comes from, and the layers in it.
READ_AS: dict[str, tuple[str, dict[str, str]]] = {
    "keras0-weights": ("stored", {"layer_0": "Dense", "layer_2": "Dense"}),
    "keras1-theano-model": ("stored", {"convolution2d_1": "Conv2D", "lstm_1": "LSTM", "dense_1": "Dense"}),
    "keras1-weights": (
        "stored", {"convolution2d_1": "Conv2D", "batchnormalization_1": "BatchNormalization", "dense_1": "Dense"},
    ),
    "keras2-split-attributes": ("stored", {f"dense_{number}": "Dense" for number in range(3, 12)}),
    "keras213-windows-archive": ("config", {"first": "Dense", "simple_rnn": "SimpleRNN"}),
    "keras3-cnn-archive": ("config", CNN),
    "keras3-cnn-sharded": ("file-layout", CNN),
    "keras3-cnn-weights": ("file-layout", CNN),
    "keras3-exported": ("object-graph", MLP),
    "keras3-many-archive": ("config", {f"dense_{n}" if n else "dense": "Dense" for n in range(12)}),
    "keras3-many-weights": ("file-layout", {f"dense_{n}" if n else "dense": "Dense" for n in range(12)}),
    "keras3-mlp-archive": ("config", MLP),
    "keras3-mlp-checkpoint": ("object-graph", MLP),
    "keras3-mlp-h5": ("stored", MLP),
    "keras3-mlp-weights": ("file-layout", MLP),
    "keras3-nested-archive": ("config", NESTED),
    "keras3-nested-weights": ("file-layout", NESTED),
    "keras3-rnn-archive": ("config", RNN),
    "keras3-rnn-checkpoint": ("object-graph", {f"rnn/{name}": kind for name, kind in RNN.items()}),
    "keras3-rnn-weights": ("file-layout", RNN),
    "sonnet2-mlp": ("object-graph", {"module/layers/0": "Dense", "module/layers/1": "Dense"}),
    "sonnet2-rnn": (
        "object-graph",
        {"module/embed": "Embedding", "module/lstm": "LSTM", "module/gru": "GRU", "module/vanilla": "SimpleRNN"},
    ),
    "tf-keras-cnn-h5": ("stored", CNN),
    "tf-keras-nested-h5": ("stored", NESTED),
    "tf-keras-nested-saved-model": ("object-graph", NESTED),
    "tf-keras-rnn-weights-h5": ("stored", RNN),
    "tf-keras-slash-weights-h5": ("stored", {"block/first": "Dense", "block/second": "Dense"}),
    "tf1-layers-adam": (
        "meta-graph", {"conv": "Conv2D", "norm": "BatchNormalization", "separable": "SeparableConv2D", "head": "Dense"},
    ),
    "tf1-saved-model": ("meta-graph", {"first": "Dense", "second": "Dense"}),
    "tf1-scopes": ("meta-graph", SCOPES),
    "tf1-scopes-v1": ("meta-graph", SCOPES),
    "tf1-seq2seq": (
        "meta-graph",
        {
            "embedding": "Embedding", "encoder/cell": "GRU", "decoder/decoder/cell": "GRU",
            "decoder/decoder/out_layer": "Dense",
        },
    ),
}  # fmt: skip

SAME_NETWORK = [
    ("keras3-cnn-archive", "keras3-cnn-weights"),
    ("keras3-mlp-h5", "keras3-mlp-checkpoint"),
    ("keras3-rnn-archive", "tf-keras-rnn-h5"),
    ("tf-keras-nested-h5", "tf-keras-nested-saved-model"),
    ("tf-module-checkpoint", "tf-module-saved-model"),
    ("tf1-scopes", "tf1-scopes-v1"),
]

WITH_SLOTS = [
    "keras3-mlp-archive", "keras3-mlp-checkpoint", "keras3-mlp-h5", "keras3-mlp-weights", "tf-keras-mlp-archive",
    "tf-keras-mlp-checkpoint", "tf-keras-mlp-h5", "tf1-layers-adam",
]  # fmt: skip


def spec_of(path: str) -> CheckpointSpec:
    contents, source = open_contents(path)
    source.close()
    return built(contents)


@pytest.mark.parametrize("case", CASES)
def test_every_weight_is_in_one_layer(case: str) -> None:
    spec = spec_of(opened(case))
    listed = [name for layer in spec.layers for name in layer.variables]
    assert len(listed) == len(set(listed))
    assert {variable.name for variable in spec.variables if variable.kind == "weight"} <= set(listed)
    assert len({variable.name for variable in spec.variables}) == len(spec.variables)


@pytest.mark.parametrize("case", READ_AS)
def test_layers(case: str) -> None:
    spec = spec_of(opened(case))
    order, layers = READ_AS[case]
    assert spec.order_source == order
    assert list(kinds(spec).items()) == list(layers.items())
    assert all(variable.role for variable in spec.variables if variable.kind == "weight")


@pytest.mark.parametrize(("one", "other"), SAME_NETWORK)
def test_two_containers_of_one_network_have_the_same_names(one: str, other: str) -> None:
    assert weights(spec_of(opened(one))) == weights(spec_of(opened(other)))


@pytest.mark.parametrize("case", WITH_SLOTS)
def test_slots_find_their_weights(case: str) -> None:
    spec = spec_of(opened(case))
    by_name = {variable.name: variable for variable in spec.variables}
    slots = [variable for variable in spec.variables if variable.kind == "slot"]
    assert slots
    assert all(slot.slot_of and by_name[slot.slot_of].shape == slot.shape for slot in slots)


def test_damaged_files_never_break_the_map(tmp_path: Path) -> None:
    """What a reader still makes of a file that was cut or overwritten in places."""
    rng = random.Random(15)
    readable = 0
    for case, line in CASES.items():
        shutil.copytree(FIXTURES / case, folder := tmp_path / case)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".json"]
        for _ in range(6):
            damaged = rng.choice(files)
            whole = damaged.read_bytes()
            data = bytearray(whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.3 else whole)
            for _ in range(rng.randrange(1, 4) if data else 0):
                data[rng.randrange(len(data))] = rng.randrange(256)
            damaged.write_bytes(data)
            try:
                spec_of(str(folder / line["open"]) if line["open"] else str(folder))
                readable += 1
            except CkptkitError:
                pass
            damaged.write_bytes(whole)
    assert readable > 50
