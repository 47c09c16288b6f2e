"""Flat names: where the scope ends, whose names they are, slots, counters and the order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptkit.canonical import Maps
from ckptkit.model import CheckpointSpec, Contents, KerasV3, MetaGraph, MetaVariable
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
    ("prefix", "words"),
    [
        ("", ("Adam", "Adam_1")),
        ("", ("adam_m", "adam_v")),
        ("", ("RMSProp", "RMSProp_1")),
        ("", ("Momentum",)),
        ("", ("ExponentialMovingAverage",)),
        ("", ("EMA",)),
        ("", ("ema_weights",)),
        ("OptimizeLoss/", ("Adam", "Adam_1")),
        ("training/Adagrad/", ("accumulator",)),
    ],
)
def test_slots(prefix: str, words: tuple[str, ...]) -> None:
    beside = {f"{prefix}net/d/kernel/{word}": (3, 4) for word in words}
    spec = built(flat({"net/d/kernel": (3, 4), **beside}))
    assert slots(spec) == {f"net/d/kernel/{word}": "net/d/kernel" for word in words}
    assert weights(spec) == ["net/d/kernel"]


@pytest.mark.parametrize(
    "names",
    [
        # Half of a set, no weight above it, words that no Saver's optimizer uses, another shape.
        ("net/d/kernel", "net/d/kernel/Adam"),
        ("net/Adam", "net/Adam_1"),
        ("memory", "memory/m", "memory/v", "memory/linear"),
        ("net/momentum", "net/velocity"),
    ],
)
def test_a_word_alone_makes_no_slot(names: tuple[str, ...]) -> None:
    assert len(weights(built(flat(named(list(names), (3, 4)))))) == len(names)
    below = {"net/d/kernel": (3, 4), "net/d/kernel/Adam": (3, 5), "net/d/kernel/Adam_1": (3, 5)}
    assert len(weights(built(flat(below)))) == 3


def test_what_a_graph_says_is_trained_is_no_slot() -> None:
    names = ["net/w", "net/w/Momentum"]
    assert slots(built(flat(named(names, (3, 4)))))
    assert not slots(built(flat(named(names, (3, 4)), created=names)))


def test_untrained_scalars_are_weights_unless_they_count() -> None:
    tensors = [
        tensor("fc/kernel", (3, 4)),
        *(tensor(f"fc/{word}", ()) for word in ("act_quant/min", "momentum", "learning_rate")),
    ]
    flags = tuple(MetaVariable(each.key, bool(each.shape)) for each in tensors)
    contents = Contents("tensor-bundle", None, tuple(tensors), None, MetaGraph(flags))
    # A word that no layer has and the graph's flag say together that it is a setting; `momentum` may be a layer's.
    assert [v.name for v in built(contents).variables if v.kind == "state"] == ["fc/learning_rate"]
    assert len(weights(built(replace(contents, meta_graph=None)))) == 4
    powers = [tensor("beta1_power", ()), tensor("beta2_power", ())]
    adam = built(replace(contents, tensors=(*tensors[:1], *powers), meta_graph=None))
    assert _doubtful(adam) == ["beta1_power", "beta2_power"]
    slots_of = [tensor(f"fc/kernel/{slot}", (3, 4)) for slot in ("Adam", "Adam_1")]
    adam = built(replace(contents, tensors=(*tensors[:1], *powers, *slots_of), meta_graph=None))
    assert weights(adam) == ["fc/kernel"]
    assert len(weights(built(replace(contents, tensors=(*tensors[:1], powers[0]), meta_graph=None)))) == 2


def test_what_holds_no_numbers_is_metadata() -> None:
    tensors = (tensor("iterator", (2,), "variant"), tensor("names", (3,), "string"), tensor("d/kernel", (3, 4)))
    spec = built(Contents("tensor-bundle", None, tensors))
    assert {v.name: v.kind for v in spec.variables} == {
        "d/kernel": "weight",
        "iterator": "metadata",
        "names": "metadata",
    }


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
    steps = tensor("training/Ftrl/iter", (), "int64")
    spec = built(replace(contents, tensors=(*contents.tensors, tensor("gain/scale", ()), steps, *settings)))
    assert sorted(weights(spec)) == ["gain/scale", "norm/beta", "norm/gamma"]
    assert sorted(v.key for v in spec.variables if v.kind == "state") == sorted(each.key for each in (steps, *settings))


@pytest.mark.parametrize("container", ["tensor-bundle", "npz", "safetensors"])
@pytest.mark.parametrize("scope", ["Adam", "SGD", "Momentum", "Ftrl", "RMSProp", "optimizer"])
def test_an_optimizers_name_alone_demotes_nothing(container: str, scope: str) -> None:
    """A scalar in such a scope that counts no steps; the twin of a layer; a vector below another."""
    tensors = [tensor("net/kernel", (4, 5)), tensor("net/bias", (5,)), tensor(f"{scope}/net/kernel", (4, 5))]
    tensors += [tensor(f"{scope}/scale", ()), tensor("memory", (7,)), tensor(f"memory/{scope}", (7,))]
    assert len(weights(built(Contents(container, None, tuple(tensors))))) == len(tensors)


@pytest.mark.parametrize("word", ["decay", "momentum", "rho", "epsilon", "beta_1", "beta1_power"])
def test_what_an_optimizer_left_beside_demotes_no_scalar(word: str) -> None:
    """Slots say that somebody trained, not that such a scalar is the optimizer's; its own slots say that it is not."""
    slots_of = [tensor(f"net/kernel/{slot}", (4, 5)) for slot in ("Adam", "Adam_1")]
    file = (tensor("net/kernel", (4, 5)), *slots_of, tensor(f"head/{word}", ()))
    if word != "beta1_power":
        assert len(weights(built(Contents("tensor-bundle", None, file)))) == 2
    own = [tensor(f"head/{word}/{slot}", ()) for slot in ("Adam", "Adam_1")]
    assert len(weights(built(Contents("tensor-bundle", None, (*file, *own))))) == 2


def _doubtful(spec: CheckpointSpec) -> list[str]:
    return [variable.name for variable in spec.variables if variable.doubtful and variable.kind == "weight"]


@pytest.mark.parametrize("word", ["learning_rate", "iter", "iterations", "global_step", "save_counter", "beta1_power"])
def test_a_scalar_that_no_optimizer_follows_is_doubtful_where_one_left_slots(word: str) -> None:
    file = [tensor("net/kernel", (4, 5)), tensor(word, ())]
    plain = built(Contents("tensor-bundle", None, tuple(file)))
    assert sorted(weights(plain)) == sorted(["net/kernel", word])
    assert not _doubtful(plain)
    file += [tensor(f"net/kernel/{slot}", (4, 5)) for slot in ("Adam", "Adam_1")]
    assert _doubtful(built(Contents("tensor-bundle", None, tuple(file)))) == [word]


@pytest.mark.parametrize("beside", ["iter", "slots", "nothing"])
def test_settings_are_those_of_an_optimizer_that_counts_or_has_slots_in_its_scope(beside: str) -> None:
    weights_of = {"net/kernel": (4, 5), "net/bias": (5,), "head/kernel": (5, 3), "head/bias": (3,)}
    file = [tensor(name, shape) for name, shape in weights_of.items()]
    file += [tensor(f"training/Adagrad/{word}", ()) for word in ("learning_rate", "gain")]
    if beside == "iter":
        file.append(tensor("training/Adagrad/iter", (), "int64"))
    if beside == "slots":
        file += [tensor(f"training/Adagrad/{name}/accumulator", shape) for name, shape in weights_of.items()]
    spec = built(Contents("tensor-bundle", None, tuple(file)))
    state = [v.name for v in spec.variables if v.kind == "state" and v.dtype == "float32"]
    assert state == ([] if beside == "nothing" else ["training/Adagrad/learning_rate"])
    assert _doubtful(spec) == ([] if beside == "nothing" else ["training/Adagrad/gain"])


def test_slots_in_an_optimizers_scope_come_in_full_sets() -> None:
    file = dict.fromkeys(
        ["a/w", "b/w", "c/w", "Adam/a/w/m", "Adam/a/w/v", "Adam/b/w/m", "Adam/b/w/v", "Adam/c/w/m"], (3, 4)
    )
    spec = built(Contents("npz", None, tuple(tensor(name, shape) for name, shape in file.items())))
    assert slots(spec).keys() == {"a/kernel/m", "a/kernel/v", "b/kernel/m", "b/kernel/v"}
    alone = built(flat(named(["a/w", "b/w", "optimizer/a/w/momentum"], (3, 4))))
    assert len(weights(alone)) == 3


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
    spec = built(flat({"encoder.layer.0.kernel": (3, 4), "encoder.layer.0.bias": (4,)}, container="safetensors"))
    assert weights(spec) == ["encoder/layer/0/kernel", "encoder/layer/0/bias"]
    assert roles(spec, "encoder/layer/0") == ["kernel", "bias"]


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


def test_places_are_read_as_in_the_file_that_they_come_from() -> None:
    shapes = {"a/ln/vars/0": (5,), "a/ln/vars/1": (5,), "b/vars/0": (4, 5), "b/vars/1": (5,), "c/vars/7": (3, 3)}
    spec = built(flat(shapes, container="safetensors"))
    assert {item.name: item.kind for item in spec.layers} == {"a/ln": None, "b": "Dense", "c/vars": None}
    assert weights(spec) == ["a/ln/vars/0", "a/ln/vars/1", "b/kernel", "b/bias", "c/vars/7"]


@pytest.mark.parametrize(
    ("layers", "ordered"),
    [
        (("dense", "dense_1", "dense_10"), [True, True, True]),
        (("h0", "h1", "head"), [True, True, False]),
        (("key", "query"), [False, False]),
        # Which of two series comes first, nothing tells.
        (("a_1", "a_2", "b_1", "b_2"), [False] * 4),
    ],
)
def test_numbers_in_one_scope_are_an_order_and_words_are_none(layers: tuple[str, ...], ordered: list[bool]) -> None:
    names = [f"net/{layer}/kernel" for layer in layers]
    spec = built(flat(named(names, (3, 3))))
    assert [item.ordered for item in spec.layers] == ordered
    assert all(item.ordered for item in built(flat(named(names, (3, 3)), created=names[::-1])).layers)


def test_checkpoints_of_one_run_share_a_map() -> None:
    shapes = {"net/a/kernel": (7, 4), "net/b/kernel": (4, 4)}
    maps = Maps()
    first = maps.build(flat(shapes), "one")
    again = maps.build(flat(dict(shapes)), "two")
    assert again.layers is first.layers
    assert again.variables is first.variables
    assert (first.path, again.path) == ("one", "two")


def test_a_configuration_that_is_nested_too_deep_to_be_compared_is_told_otherwise() -> None:
    nested: list[dict[str, object]] = [{}, {}]
    for _ in range(5000):
        nested = [{"config": each} for each in nested]
    one, other = (replace(flat({"vars/0": (7, 4)}), structure=KerasV3((), None, config)) for config in nested)
    maps = Maps()
    assert maps.build(one, "").variables is not maps.build(other, "").variables


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (flat({"a/kernel": (7, 4)}), flat({"a/kernel": (4, 7)})),
        (flat({"a/kernel": (7, 4)}), flat({"b/kernel": (7, 4)})),
        (flat({"a/kernel": (7, 4), "b/w": (4,)}), flat({"b/w": (4,), "a/kernel": (7, 4)})),
        (flat({"a/kernel": (7, 4)}), flat({"a/kernel": (7, 4)}, created=["a/kernel"])),
        # Graphs may differ in what is read later.
        (flat({"a/kernel": (7, 4)}, created=["a/kernel"]), flat({"a/kernel": (7, 4)}, created=["a/kernel"])),
        # Equal to Python, and not to whoever is shown the architecture.
        *(
            tuple(replace(flat({"vars/0": (7, 4)}), structure=KerasV3((), None, {"use_bias": bias})) for bias in sides)
            for sides in ((1, True), (0, False), (1, 1.0))
        ),
    ],
)
def test_what_is_told_otherwise_has_a_map_of_its_own(one: Contents, other: Contents) -> None:
    maps = Maps()
    first = maps.build(one, "")
    assert maps.build(other, "").variables is not first.variables
