"""Flat names: where the scope ends, whose names they are, slots, counters and the order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.canonical.made import built, flat, kinds, named, roles, slots, tensor, weights


@pytest.mark.parametrize(
    ("words", "dialect"),
    [(("kernel", "bias"), "tf_layers"), (("weights", "biases"), "slim"), (("w", "b"), "sonnet1")],
)
@pytest.mark.parametrize(("shape", "kind"), [((7, 4), "Dense"), ((3, 3, 7, 4), "Conv2D"), ((3, 7, 4), "Conv1D")])
def test_dialects(words: tuple[str, str], dialect: str, shape: tuple[int, ...], kind: str) -> None:
    spec = built(flat({f"net/a_1/{words[1]}": (4,), f"net/a_1/{words[0]}": shape}))
    assert weights(spec) == ["net/a_1/kernel", "net/a_1/bias"]
    assert (spec.layers[0].kind, spec.layers[0].dialect) == (kind, dialect)


def test_words_that_dialects_share_go_with_the_file() -> None:
    norm = {"conv/bn/beta": (4,), "conv/bn/moving_mean": (4,), "conv/bn/moving_variance": (4,)}
    slim = built(flat({"conv/weights": (3, 3, 2, 4), **norm}))
    assert {item.dialect for item in slim.layers} == {"slim"}
    other = built(flat({"conv/kernel": (3, 3, 2, 4), **norm}))
    assert {item.dialect for item in other.layers} == {"tf_layers"}
    assert roles(other, "conv/bn") == ["beta", "moving_mean", "moving_variance"]


def test_cells_have_names_of_several_parts() -> None:
    cell = {"gates/kernel": (8, 10), "gates/bias": (10,), "candidate/kernel": (8, 5), "candidate/bias": (5,)}
    spec = built(flat({f"encoder/cell/{word}": shape for word, shape in cell.items()}))
    assert kinds(spec) == {"encoder/cell": "GRU"}
    assert weights(spec) == [f"encoder/cell/{word}" for word in cell]
    assert roles(spec, "encoder/cell") == ["kernel", "bias", "kernel", "bias"]


def test_a_scope_that_only_looks_like_a_cells_is_a_layer() -> None:
    spec = built(flat({"net/gates/kernel": (8, 10), "net/gates/bias": (10,)}))
    assert kinds(spec) == {"net/gates": "Dense"}


@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        ("rnn/basic_lstm_cell", "LSTM"),
        ("rnn/basic_rnn_cell", "SimpleRNN"),
        ("rnn/cell_0", "LSTM"),
        ("rnn/out", "Dense"),
    ],
)
def test_scopes_tell_cells_from_dense_layers(scope: str, kind: str) -> None:
    spec = built(flat({f"{scope}/kernel": (28, 20), f"{scope}/bias": (20,)}))
    assert kinds(spec) == {scope: kind}


def test_order_of_creation_where_a_graph_tells_it() -> None:
    shapes = named([f"{name}/{word}" for name in ("b", "c", "a") for word in ("bias", "kernel")], (3, 3))
    created = ["c/kernel", "c/bias", "a/kernel", "a/bias", "b/kernel", "b/bias"]
    spec = built(flat(shapes, created))
    assert [item.name for item in spec.layers] == ["c", "a", "b"]
    assert spec.order_source == "meta-graph"


def test_numbers_are_counted_where_it_does_not() -> None:
    spec = built(flat(named(["dense_10/kernel", "dense/kernel", "dense_2/kernel"], (3, 4))))
    assert [item.name for item in spec.layers] == ["dense", "dense_2", "dense_10"]
    assert spec.order_source == "natural"
    plain = built(flat(named(["b/kernel", "a/kernel"], (3, 4))))
    assert plain.order_source == "sorted"
    assert plain.notes


@pytest.mark.parametrize(
    ("slot", "word"),
    [
        ("net/d/kernel/Adam", "Adam"),
        ("net/d/kernel/Adam_1", "Adam_1"),
        ("net/d/kernel/adam_m", "adam_m"),
        ("net/d/kernel/Momentum", "Momentum"),
        ("net/d/kernel/ExponentialMovingAverage", "ExponentialMovingAverage"),
        ("OptimizeLoss/net/d/kernel/Adam", "Adam"),
        ("training/Adagrad/net/d/kernel/accumulator", "accumulator"),
    ],
)
def test_slots(slot: str, word: str) -> None:
    spec = built(flat({"net/d/kernel": (3, 4), slot: (3, 4)}))
    assert slots(spec) == {f"net/d/kernel/{word}": "net/d/kernel"}
    assert weights(spec) == ["net/d/kernel"]


def test_slots_of_weights_that_are_elsewhere() -> None:
    assert slots(built(flat({"net/d/kernel/Adam_1": (3, 4)}))) == {"net/d/kernel/Adam_1": None}


def test_a_weight_below_another_is_no_slot() -> None:
    assert weights(built(flat(named(["a/kernel", "a/kernel/scale_map"], (3, 4))))) == ["a/kernel", "a/kernel/scale_map"]


def test_counters_are_state() -> None:
    spec = built(flat({"global_step": (), "beta1_power_1": (), "train/steps": (), "d/kernel": (3, 4)}))
    assert {variable.name: variable.kind for variable in spec.variables} == {
        "d/kernel": "weight", "global_step": "state", "beta1_power_1": "state", "train/steps": "state",
    }  # fmt: skip


def test_settings_of_an_optimizer_are_state() -> None:
    settings = [tensor(f"training/Ftrl/{word}", ()) for word in ("beta", "l1_regularization_strength", "learning_rate")]
    contents = flat({"norm/gamma": (4,), "norm/beta": (4,)})
    spec = built(replace(contents, tensors=(*contents.tensors, tensor("gain/scale", ()), *settings)))
    assert sorted(weights(spec)) == ["gain/scale", "norm/beta", "norm/gamma"]
    assert sorted(v.key for v in spec.variables if v.kind == "state") == sorted(each.key for each in settings)


def test_variables_without_a_scope() -> None:
    spec = built(flat({"W": (7, 4), "b": (4,), "Variable": (3,), "Variable_1": (3,)}))
    assert weights(spec) == ["Variable", "Variable_1", "root/kernel", "root/bias"]


def test_an_embedding_is_a_layer_wherever_it_stands() -> None:
    spec = built(
        flat({"embedding": (30, 8), "bert/embeddings/word_embeddings": (9, 4), "bert/embeddings/LayerNorm/gamma": (4,)})
    )
    assert kinds(spec)["embedding"] == "Embedding"
    assert "embedding/embeddings" in weights(spec)
    assert "bert/embeddings/word_embeddings/embeddings" in weights(spec)


def test_numbered_words_in_one_scope_are_several_layers() -> None:
    spec = built(flat({"net/weights": (2, 3), "net/biases": (3,), "net/weights_1": (3, 4), "net/biases_1": (4,)}))
    assert weights(spec) == ["net/kernel", "net/bias", "net_1/kernel", "net_1/bias"]


def test_dots_separate_where_there_are_no_slashes() -> None:
    spec = built(flat({"encoder.layer.0.weight": (3, 4), "encoder.layer.0.bias": (4,)}, container="safetensors"))
    assert weights(spec) == ["encoder/layer/0/bias", "encoder/layer/0/weight"]
    assert roles(spec, "encoder/layer/0") == ["bias", None]


def test_output_numbers_and_attributes_are_no_part_of_a_name() -> None:
    spec = built(flat({"d/kernel:0": (3, 4), "m/e/kernel/.ATTRIBUTES/VARIABLE_VALUE": (3, 4)}))
    assert weights(spec) == ["d/kernel", "m/e/kernel"]


def test_hostile_names() -> None:
    names = [
        "",
        "/",
        "//",
        ":0",
        "a//b",
        "/a/b",
        "a/b",
        "\x1b[2J/kernel",
        "9" * 5000,
        "a/" * 3000,
        "root",
        "root/kernel",
        "W",
    ]
    built(flat(named(names, (3, 4))))
