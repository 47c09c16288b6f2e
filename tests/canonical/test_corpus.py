"""Real files and malformed ones: the laws of every map hold, and real ones read as a person would read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptkit.errors import CkptkitError
from ckptkit.formats import open_contents
from ckptkit.model import CheckpointSpec
from tests.canonical.made import built, kinds, weights


def _path(corpus: Path, name: str) -> Path:
    """The path that a person would type for a case."""
    case = next(case for case in json.loads((corpus / "MANIFEST.json").read_text()) if case["name"] == name)
    folder = corpus / name
    if case.get("prefix"):
        return folder / case["prefix"]
    if case["format"].startswith("savedmodel"):
        return folder
    files = [file["path"] for file in case["files"]]
    return folder / next(file for file in files if Path(file).name != "checkpoint" and not file.endswith(".meta"))


def _built(path: Path) -> CheckpointSpec:
    contents, source = open_contents(str(path))
    source.close()
    return built(contents)


def test_every_real_file_has_a_map(corpus: Path) -> None:
    unexplained = {}
    for case in json.loads((corpus / "MANIFEST.json").read_text()):
        if case.get("expect") == "error":
            continue
        spec = _built(_path(corpus, case["name"]))
        weights_of_layers = [variable for variable in spec.variables if variable.layer and variable.kind == "weight"]
        lost = [variable for variable in spec.variables if variable.kind == "weight" and not variable.layer]
        assert not lost, case["name"]
        nameless = sum(variable.role is None for variable in weights_of_layers)
        if nameless:
            unexplained[case["name"]] = nameless
    # Roles that no table has: biases of linear models, GPT's `g`, `wpe`, t2t's normalisation, plain scalars.
    assert sum(unexplained.values()) < 140, unexplained


@pytest.mark.parametrize(
    ("name", "source", "layers"),
    [
        ("keras1-tfscope-model", "stored", {"dense_1/xxx/yyy": "Dense", "dense_2": "Dense"}),
        ("keras-simple-rnn-theano-1", "stored", {"simplernn_1": "SimpleRNN"}),
        ("keras-embedding-conv1d-tensorflow-1", "stored", {"embedding_1": "Embedding", "convolution1d_1": "Conv1D"}),
        ("keras0-param-layout", "stored", {"layer_0": "Dense", "layer_3": "Dense", "layer_6": "Dense"}),
        ("keras3-lstm-cell", "config", {"lstm": "LSTM"}),
        (
            "keras3-snake-cnn",
            "file-layout",
            {"conv2d": "Conv2D", "conv2d_1": "Conv2D", "dense": "Dense", "dense_1": "Dense"},
        ),
        ("keras3-nested-container", "file-layout", {"d_0": "Dense", "d_1": "Dense", "d_2": "Dense", "dense": "Dense"}),
        ("sonnet2-gru", "object-graph", {"module": "GRU"}),
        ("sonnet2-depthwise", "object-graph", {"module": "DepthwiseConv2D"}),
        ("sonnet2-conv2d-lstm", "object-graph", {"module": "ConvLSTM2D"}),
        ("tf2-lso-savedmodel", "object-graph", {"dense": "Dense"}),
        ("tf1-v1-softmax-2015", "natural", {"root": "Dense"}),
        ("tf1-a3c", "meta-graph", {"hidden_layer": "Dense", "output_layer": "Dense", "value_layer": "Dense"}),
    ],
)
def test_layers_of_real_files(corpus: Path, name: str, source: str, layers: dict[str, str]) -> None:
    spec = _built(_path(corpus, name))
    assert spec.order_source == source
    assert list(kinds(spec).items()) == list(layers.items())


def test_two_containers_of_one_network_have_the_same_names(corpus: Path) -> None:
    stored, saved = _built(_path(corpus, "dtln-500h-h5")), _built(_path(corpus, "dtln-500h-savedmodel"))
    assert weights(stored) == weights(saved)
    assert sum(variable.kind == "state" for variable in saved.variables) == 8


def test_slots_of_real_files_find_their_weights(corpus: Path) -> None:
    for name in (
        "tf1-bert-tiny",
        "tf1-slim-mtcnn-pnet",
        "keras29-mlp",
        "keras20-xception-tiny",
        "savedmodel-basic-pitch",
    ):
        spec = _built(_path(corpus, name))
        by_name = {variable.name: variable for variable in spec.variables}
        slots = [variable for variable in spec.variables if variable.kind == "slot"]
        assert slots, name
        assert all(slot.slot_of and by_name[slot.slot_of].shape == slot.shape for slot in slots), name


def test_malformed_files_never_break_the_map(hostile_dir: Path) -> None:
    cases = json.loads((hostile_dir / "expectations.json").read_text())
    opened = 0
    for case in cases["cases"] if isinstance(cases, dict) else cases:
        try:
            contents, source = open_contents(str(hostile_dir / case["arg"]))
        except CkptkitError:
            continue
        source.close()
        built(contents)
        opened += 1
    assert opened
