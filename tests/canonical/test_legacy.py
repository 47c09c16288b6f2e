"""Keras's legacy layout: layers, roles and order out of stored names, of every generation."""

from __future__ import annotations

import pytest

from ckptkit.model import Contents, LegacyKeras
from tests.canonical.made import built, kinds, layer, legacy, model, roles, slots, tensor, weights


def test_layers_keep_the_stored_order() -> None:
    spec = built(legacy({f"dense_{n}": {f"dense_{n}/kernel:0": (n, 3), f"dense_{n}/bias:0": (3,)} for n in (10, 2, 1)}))
    assert weights(spec) == [f"dense_{n}/{role}" for n in (10, 2, 1) for role in ("kernel", "bias")]
    assert spec.order_source == "stored"
    assert spec.variables[0].key == "dense_10/dense_10/kernel:0"
    assert spec.variables[0].aliases == ("dense_10/kernel:0",)


def test_layers_without_weights_are_listed_apart() -> None:
    config = model(layer("InputLayer", "in"), layer("Dense", "d"), layer("Concatenate", "join"))
    spec = built(legacy({"in": {}, "d": {"d/kernel:0": (2, 3)}, "join": {}}, config=config))
    assert spec.weightless == (("in", "InputLayer"), ("join", "Concatenate"))
    assert [item.name for item in spec.layers] == ["d"]


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("conv", ("conv_4/kernel:0", "conv_4/bias:0")),
        ("conv", ("conv/kernel_1:0", "conv/bias_1:0")),
        ("block/conv", ("global/net/conv/kernel:0", "global/net/conv/bias:0")),
        ("conv", ("kernel:0", "bias:0")),
    ],
)
def test_a_prefix_that_is_not_the_layers_name_does_not_matter(group: str, names: tuple[str, str]) -> None:
    spec = built(legacy({group: {names[0]: (3, 4, 5, 6), names[1]: (6,)}}))
    assert weights(spec) == [f"{group}/kernel", f"{group}/bias"]
    assert kinds(spec) == {group: "Conv2D"}
    assert spec.layers[0].dialect == "keras2"


def test_keras_1_joins_names_by_underscores() -> None:
    spec = built(
        legacy(
            {
                "dense_1": {"dense_1_W": (4, 6), "dense_1_b": (6,)},
                "batchnormalization_1": {
                    f"batchnormalization_1_{w}": (6,) for w in ("gamma", "beta", "running_mean", "running_std")
                },
                "embedding_1": {"embedding_1_W:0": (4, 5)},
                "dense_1/x": {"global/dense_1/x_W:0": (4, 6), "global/dense_1/x_b:0": (6,)},
            },
            version=None,
            config=model(
                layer("Dense", "dense_1"),
                layer("BatchNormalization", "batchnormalization_1"),
                layer("Embedding", "embedding_1"),
            ),
        )
    )
    assert weights(spec)[:2] == ["dense_1/kernel", "dense_1/bias"]
    assert roles(spec, "batchnormalization_1") == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert roles(spec, "embedding_1") == ["embeddings"]
    assert roles(spec, "dense_1/x") == ["kernel", "bias"]
    assert {item.dialect for item in spec.layers} == {"keras1"}


def test_gates_of_keras_1_keep_their_words() -> None:
    gates = {
        f"lstm_1_{word}_{gate}": shape for gate in "icfo" for word, shape in (("W", (3, 5)), ("U", (5, 5)), ("b", (5,)))
    }
    spec = built(legacy({"lstm_1": gates}, version=None))
    assert weights(spec)[:3] == ["lstm_1/W_i", "lstm_1/U_i", "lstm_1/b_i"]
    assert roles(spec, "lstm_1") == ["kernel", "recurrent_kernel", "bias"] * 4
    assert kinds(spec) == {"lstm_1": "LSTM"}


def test_both_directions_of_keras_1_are_layers() -> None:
    gates = {
        f"{way}_lstm_1_{word}_{gate}": shape
        for way in ("forward", "backward")
        for gate in "icfo"
        for word, shape in (("W", (3, 5)), ("U", (5, 5)), ("b", (5,)))
    }
    spec = built(legacy({"bidirectional_1": gates}, version="1.2.2"))
    assert kinds(spec) == {"bidirectional_1/forward_lstm_1": "LSTM", "bidirectional_1/backward_lstm_1": "LSTM"}
    assert all(len(item.variables) == 12 for item in spec.layers)


def test_keras_0_has_positions_only() -> None:
    spec = built(
        legacy(
            {
                "layer_0": {"param_0": (7, 4), "param_1": (4,)},
                "layer_1": {},
                "layer_2": {"param_0": (4,), "param_1": (4,), "param_2": (4,), "param_3": (4,)},
                "layer_3": {"param_0": (6, 4, 3, 2), "param_1": (6,)},
            },
            version=None,
        )
    )
    assert kinds(spec) == {"layer_0": "Dense", "layer_2": "BatchNormalization", "layer_3": "Conv2D"}
    assert weights(spec)[:3] == ["layer_0/kernel", "layer_0/bias", "layer_2/gamma"]
    assert {item.dialect for item in spec.layers} == {"keras0"}


@pytest.mark.parametrize(("gates", "kind"), [(4, "LSTM"), (3, "GRU"), (1, "SimpleRNN")])
def test_shapes_tell_recurrent_layers_apart(gates: int, kind: str) -> None:
    shapes = {
        "r/cell/kernel:0": (3, gates * 5),
        "r/cell/recurrent_kernel:0": (5, gates * 5),
        "r/cell/bias:0": (gates * 5,),
    }
    spec = built(legacy({"r": shapes}))
    assert kinds(spec) == {"r": kind}
    assert weights(spec) == ["r/kernel", "r/recurrent_kernel", "r/bias"]


def test_nested_models_name_their_layers_and_order_them_by_the_architecture() -> None:
    inner = layer("Functional", "inner", calls=2, layers=[layer("BatchNormalization", "bn"), layer("Dense", "d")])
    # Trained weights are stored first, so that the dense layer comes between the parts of the normalisation.
    stored = {
        "bn/gamma:0": (4,),
        "bn/beta:0": (4,),
        "d/kernel:0": (4, 7),
        "d/bias:0": (7,),
        "bn/moving_mean:0": (4,),
        "bn/moving_variance:0": (4,),
    }
    spec = built(legacy({"inner": stored}, config=model(inner)))
    assert weights(spec) == [
        "inner/bn/gamma", "inner/bn/beta", "inner/bn/moving_mean", "inner/bn/moving_variance",
        "inner/d/kernel", "inner/d/bias",
    ]  # fmt: skip
    assert [item.calls for item in spec.layers] == [2, 2]


def test_equal_names_in_two_nested_models_stay_apart() -> None:
    towers = [layer("Functional", name, layers=[layer("Dense", "d")]) for name in ("left", "right")]
    outer = layer("Functional", "outer", layers=towers)
    spec = built(legacy({"outer": {"left/d/kernel:0": (2, 3), "right/d/kernel:0": (4, 5)}}, config=model(outer)))
    assert weights(spec) == ["outer/left/d/kernel", "outer/right/d/kernel"]


def test_several_scopes_in_one_layer_are_several_layers() -> None:
    names = [
        f"mha/{part}/{word}:0" for part in ("query", "key", "value", "attention_output") for word in ("kernel", "bias")
    ]
    shapes = [(7, 2, 3), (2, 3)] * 3 + [(2, 3, 7), (7,)]
    spec = built(
        legacy({"mha": dict(zip(names, shapes, strict=True))}, config=model(layer("MultiHeadAttention", "mha")))
    )
    assert weights(spec) == [name.removesuffix(":0") for name in names]
    assert set(kinds(spec).values()) == {"EinsumDense"}


def test_shared_layers_tell_how_often_they_are_called() -> None:
    config = model(layer("Dense", "d", calls=3), layer("Dense", "e"))
    spec = built(legacy({"d": {"d/kernel:0": (2, 2)}, "e": {"e/kernel:0": (2, 2)}}, config=config))
    assert [item.calls for item in spec.layers] == [3, 1]


def test_a_class_of_the_users_own_is_its_kind() -> None:
    spec = built(legacy({"x": {"x/kernel:0": (2, 3), "x/alpha_map:0": (2,)}}, config=model(layer("my>Odd", "x"))))
    assert kinds(spec) == {"x": "Odd"}
    assert roles(spec, "x") == ["kernel", None]
    assert weights(spec) == ["x/kernel", "x/alpha_map"]


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("Adam/{path}/m:0", "m"),
        ("training/Adam/{path}/m:0", "m"),
        ("Adam/m/{path}:0", "m"),
        ("adam/{joined}_momentum", "momentum"),
    ],
)
def test_slots_belong_to_the_weight_in_their_name(pattern: str, word: str) -> None:
    path = "dense_1/kernel"
    name = pattern.format(path=path, joined=path.replace("/", "_"))
    spec = built(legacy({"dense_1": {f"{path}:0": (2, 3)}}, optimizer={"Adam/iter:0": (), name: (2, 3)}))
    assert slots(spec) == {f"dense_1/kernel/{word}": "dense_1/kernel"}
    assert [v.name for v in spec.variables if v.kind == "state"] == ["optimizer/iter"]


def test_unnamed_slots_go_by_count_and_shapes() -> None:
    groups = {"b": {"b/kernel:0": (2, 3), "b/bias:0": (3,)}, "a": {"a/kernel:0": (3, 5)}}
    optimizer = {f"Variable_{n}:0": shape for n, shape in enumerate([(2, 3), (3,), (3, 5)] * 2)}
    spec = built(legacy(groups, optimizer=optimizer))
    assert list(slots(spec).values()) == ["b/kernel", "b/bias", "a/kernel"] * 2
    by_name = {f"Variable_{n}:0": shape for n, shape in enumerate([(3, 5), (3,), (2, 3)])}
    assert list(slots(built(legacy(groups, optimizer=by_name))).values()) == ["a/kernel", "b/bias", "b/kernel"]
    odd = built(legacy(groups, optimizer={"Variable:0": (9, 9)}))
    assert slots(odd) == {"optimizer/Variable": None}


def test_weights_of_the_model_itself_are_kept() -> None:
    stored = (tensor("top_level_model_weights/m/temperature:0", (3,)),)
    top = (("m/temperature:0", stored[0].key),)
    spec = built(Contents("keras-h5", None, stored, LegacyKeras((), "2.9.0", None, None, top)))
    assert weights(spec) == ["m/temperature"]


@pytest.mark.parametrize("word", ["decay", "learning_rate", "momentum", "iterations", "epsilon", "beta1_power"])
def test_a_word_demotes_no_scalar_that_the_model_owns(word: str) -> None:
    stored = (
        tensor(f"top_level_model_weights/net/{word}:0", ()),
        tensor("top_level_model_weights/steps:0", (), "int64"),
    )
    top = ((f"net/{word}:0", stored[0].key), ("steps:0", stored[1].key))
    spec = built(Contents("keras-h5", None, stored, LegacyKeras((), "2.9.0", None, None, top)))
    assert weights(spec) == [f"net/{word}"]
    assert [variable.name for variable in spec.variables if variable.kind == "state"] == ["steps"]


def test_two_layers_that_an_optimizer_calls_alike_get_no_slot_by_name() -> None:
    """`a/b/kernel` and `a_b/kernel` are both `a_b_kernel` there."""
    groups = {"a": {"a/b/kernel:0": (3, 4)}, "a_b": {"a_b/kernel:0": (3, 4)}, "c": {"c/kernel:0": (4, 2)}}
    optimizer = {f"adam/{layer}_kernel_{word}:0": (3, 4) for layer in ("a_b",) for word in ("momentum", "velocity")}
    optimizer |= {f"adam/c_kernel_{word}:0": (4, 2) for word in ("momentum", "velocity")}
    found = slots(built(legacy(groups, optimizer=optimizer)))
    assert sorted(found.values(), key=str) == [None, None, "c/kernel", "c/kernel"]


def _nested(*weights: tuple[str, tuple[int, ...]]) -> list[bool]:
    """Whether each layer of a nested model in a file of weights alone is said to be in order."""
    spec = built(legacy({"base": {f"{name}:0": shape for name, shape in weights}}))
    return [item.ordered for item in spec.layers]


def _dense(name: str, inputs: int, outputs: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}/kernel", (inputs, outputs)), (f"{name}/bias", (outputs,))]


def _norm(name: str, size: int, words: tuple[str, ...] = ("gamma", "beta")) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}/{word}", (size,)) for word in words]


AVERAGES = ("moving_mean", "moving_variance")


def test_the_order_of_a_nested_model_that_nothing_contradicts() -> None:
    assert _nested(*_dense("dense", 4, 5), *_dense("dense_1", 5, 6)) == [True, True]
    assert _nested(*_dense("inner", 4, 5), *_norm("norm", 5), *_dense("outer", 5, 6)) == [True] * 3
    trained = (*_dense("a", 4, 5), *_norm("bn", 5), *_dense("b", 5, 6), *_norm("bn", 5, AVERAGES))
    assert _nested(*trained) == [True] * 3
    frozen = (*_dense("a", 4, 5), *_norm("bn", 5, ("gamma", "beta", *AVERAGES)), *_dense("b", 5, 6))
    assert _nested(*frozen) == [True] * 3


def test_frozen_layers_behind_the_trained_ones_are_no_order() -> None:
    # Numbers that fall, for automatic names and for a user's.
    assert _nested(*_dense("dense_1", 5, 5), *_dense("dense", 5, 5)) == [False, False]
    assert _nested(*_dense("block2_fc", 5, 5), *_dense("block1_fc", 5, 5)) == [False, False]
    # A layer that begins behind the averages of another, and one that has nothing but averages.
    behind = (*_norm("bn", 5), *_dense("b", 5, 5), *_norm("bn", 5, AVERAGES), *_dense("a", 5, 5))
    assert not any(_nested(*behind))
    assert not any(_nested(*_dense("a", 5, 5), *_dense("b", 5, 5), *_norm("bn", 5, AVERAGES)))
    # Shapes that do not follow on each other.
    assert not all(_nested(*_dense("outer", 5, 6), *_dense("inner", 4, 5)))
    assert not all(_nested(*_dense("outer", 5, 5), ("table/embeddings", (9, 5))))


def test_an_architecture_gives_the_order_of_a_nested_model() -> None:
    inner = model(layer("Dense", "dense"), layer("Dense", "dense_1"))
    config = model({"class_name": "Functional", "name": "base", "config": {**inner["config"], "name": "base"}})
    weights = {f"{name}:0": shape for name, shape in (*_dense("dense_1", 5, 5), *_dense("dense", 5, 5))}
    spec = built(legacy({"base": weights}, config=config))
    assert [(item.name, item.ordered) for item in spec.layers] == [("base/dense", True), ("base/dense_1", True)]
    assert spec.layers[0].aliases == ("dense",)


def test_unnamed_slots_of_an_architecture_with_frozen_layers() -> None:
    square = {"kernel": (4, 4), "bias": (4,)}
    groups = {name: {f"{name}/{word}:0": shape for word, shape in square.items()} for name in ("a", "b", "c")}
    config = model(layer("Dense", "a", trainable=False), layer("Dense", "b"), layer("Dense", "c"))
    optimizer = {f"Variable_{n}:0": shape for n, shape in enumerate([(4, 4), (4,)] * 6)}
    spec = built(legacy(groups, config=config, optimizer=optimizer))
    owners = ["b/kernel", "b/bias", "c/kernel", "c/bias"]
    assert list(slots(spec).values()) == owners * 3
    assert set(slots(built(legacy(groups, optimizer=optimizer))).values()) == {None}
