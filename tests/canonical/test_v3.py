"""Keras 3's layout: the layer's own name, its class and the order, from whatever the file has."""

from __future__ import annotations

import pytest

from ckptkit.conventions import read_forms
from tests.canonical.made import built, kinds, layer, model, roles, slots, v3, weights

DENSE = [(4, 5), (5,)]


def test_the_architecture_names_the_groups() -> None:
    config = model(layer("Dense", "dense_10"), layer("Conv2D", "stem"), layer("Dense", "dense_2"))
    groups = {"layers/conv2d": [(3, 3, 1, 2), (2,)], "layers/dense": DENSE, "layers/dense_1": [(6, 7), (7,)]}
    spec = built(v3(groups, config=config))
    assert [item.name for item in spec.layers] == ["dense_10", "stem", "dense_2"]
    assert spec.order_source == "config"
    assert spec.variables[0].key == "layers/dense/vars/0"


def test_stored_names_name_the_groups_where_there_is_no_architecture() -> None:
    groups = {
        "layers/dense_1": DENSE,
        "layers/dense": DENSE,
        "layers/sequential": [],
        "layers/sequential/layers/dense": DENSE,
    }
    names = {
        "layers/dense": "predictions",
        "layers/dense_1": "hidden",
        "layers/sequential": "inner",
        "layers/sequential/layers/dense": "dense_7",
    }
    spec = built(v3(groups, names))
    assert [item.name for item in spec.layers] == ["hidden", "predictions", "inner/dense_7"]
    assert spec.order_source == "file-layout"
    assert set(kinds(spec).values()) == {"Dense"}


def test_groups_are_the_last_resort_and_numbers_are_counted() -> None:
    spec = built(v3({f"layers/dense_{n}": DENSE for n in (10, 2)}, addresses=False))
    assert [item.name for item in spec.layers] == ["dense_2", "dense_10"]
    assert spec.order_source == "natural"


def test_the_root_of_keras_2_13() -> None:
    spec = built(
        v3(
            {
                "_layer_checkpoint_dependencies/dense": DENSE,
                "_layer_checkpoint_dependencies/simple_rnn/cell": [(3, 4), (4, 4), (4,)],
            }
        )
    )
    assert kinds(spec) == {"dense": "Dense", "simple_rnn": "SimpleRNN"}


def test_subclassed_models_have_attributes_for_names() -> None:
    spec = built(v3({"encoder": [], "encoder/conv_in": [(3, 3, 2, 8), (8,)], "head1": DENSE}))
    assert kinds(spec) == {"encoder/conv_in": "Conv2D", "head1": "Dense"}
    assert roles(spec, "head1") == ["kernel", "bias"]


def test_a_switched_off_part_shifts_the_numbers() -> None:
    shapes = [(5,), (5,), (5,)]
    config = model(layer("BatchNormalization", "a", scale=False), layer("BatchNormalization", "b", center=False))
    groups = {"layers/batch_normalization": shapes, "layers/batch_normalization_1": shapes}
    spec = built(v3(groups, config=config))
    assert roles(spec, "a") == ["beta", "moving_mean", "moving_variance"]
    assert roles(spec, "b") == ["gamma", "moving_mean", "moving_variance"]
    unknown = built(v3(groups))
    assert roles(unknown, "batch_normalization") == [None, "moving_mean", "moving_variance"]
    assert weights(unknown)[0] == "batch_normalization/vars/0"


def test_wrapped_layers() -> None:
    cell = [(3, 8), (2, 8), (8,)]
    groups = {
        "layers/bidirectional": [],
        "layers/bidirectional/backward_layer": [],
        "layers/bidirectional/backward_layer/cell": cell,
        "layers/bidirectional/forward_layer": [],
        "layers/bidirectional/forward_layer/cell": cell,
        "layers/time_distributed/layer": DENSE,
        "layers/spectral_normalization": [(1, 5)],
        "layers/spectral_normalization/layer": DENSE,
    }
    config = model(
        layer("Bidirectional", "both", layer=layer("LSTM", "lstm")),
        layer("TimeDistributed", "each", layer=layer("Dense", "d")),
        layer("SpectralNormalization", "sn", layer=layer("Dense", "e")),
    )
    spec = built(v3(groups, config=config))
    assert kinds(spec) == {
        "both/forward_lstm": "LSTM", "both/backward_lstm": "LSTM", "each": "Dense", "sn": "SpectralNormalization",
        "sn/e": "Dense",
    }  # fmt: skip
    assert roles(spec, "both/forward_lstm") == ["kernel", "recurrent_kernel", "bias"]
    without = built(v3(groups))
    assert [item.name for item in without.layers][:3] == [
        "bidirectional/forward_layer",
        "bidirectional/backward_layer",
        "time_distributed",
    ]


def test_projections_of_an_attention_come_in_the_order_of_building() -> None:
    parts = {"_key_dense": 3, "_output_dense": 5, "_query_dense": 2, "_value_dense": 4}
    groups = {f"layers/multi_head_attention/{part}": [(size, 2, 3)] for part, size in parts.items()}
    spec = built(v3({"layers/dense": DENSE, **groups, "layers/dense_1": DENSE}))
    names = ["query", "key", "value", "attention_output"]
    assert [item.name for item in spec.layers] == [
        "dense",
        *(f"multi_head_attention/{name}" for name in names),
        "dense_1",
    ]


def test_optimizer_variables_are_dealt_to_the_weights() -> None:
    groups = {"layers/dense": DENSE, "layers/batch_normalization": [(5,)] * 4}
    trained = [(4, 5), (5,), (5,), (5,)]
    optimizer = [(), (), *(shape for shape in trained for _ in range(2))]
    spec = built(v3({**groups, "optimizer": optimizer}, {"optimizer": "adam"}))
    assert slots(spec)["dense/kernel/velocity"] == "dense/kernel"
    assert list(slots(spec).values())[-1] == "batch_normalization/beta"
    states = [variable.name for variable in spec.variables if variable.kind == "state"]
    assert states == ["optimizer/iterations", "optimizer/learning_rate"]
    unknown = built(v3({**groups, "optimizer": optimizer[:-1]}, {"optimizer": "adam"}))
    assert set(slots(unknown).values()) == {None}


def test_the_optimizer_corrects_the_order_of_a_rewritten_file() -> None:
    groups = {"layers/dense": [(6, 7), (7,)], "layers/conv2d": [(3, 3, 1, 2), (2,)], "layers/dense_1": [(7, 3), (3,)]}
    order = [(3, 3, 1, 2), (2,), (6, 7), (7,), (7, 3), (3,)]
    optimizer = [(), *(shape for shape in order for _ in range(2))]
    spec = built(v3({**groups, "optimizer": optimizer}))
    assert [item.name for item in spec.layers] == ["conv2d", "dense", "dense_1"]
    assert slots(spec)["conv2d/kernel/slot_0"] == "conv2d/kernel"


def test_metrics_and_seeds_are_state() -> None:
    spec = built(v3({"layers/dropout/seed_generator": [(2,)], "metrics/mean": [(), ()], "layers/dense": DENSE}))
    assert weights(spec) == ["dense/kernel", "dense/bias"]
    assert sum(variable.kind == "state" for variable in spec.variables) == 3


def test_slots_without_weights() -> None:
    spec = built(v3({"optimizer": [(), (), (3, 4), (3, 4)]}))
    assert spec.layers == ()
    assert list(slots(spec).values()) == [None, None]


def test_attributes_are_names_and_stored_names_are_aliases() -> None:
    groups = {"block": [], "block/key_proj": DENSE, "block/query_proj": DENSE, "layer_1": DENSE}
    names = {"block/key_proj": "dense_4", "block/query_proj": "dense_3", "layer_1": "layer_1"}
    spec = built(v3(groups, names))
    assert [item.name for item in spec.layers] == ["block/key_proj", "block/query_proj", "layer_1"]
    assert [item.aliases for item in spec.layers] == [("block/dense_4",), ("block/dense_3",), ()]
    assert spec.order_source == "attributes"
    assert not any(item.ordered for item in spec.layers)


def test_stored_names_of_two_layers_can_be_equal() -> None:
    groups = {"layers/net": [], "layers/net/layers/dense": DENSE, "layers/net/layers/dense_1": [(5, 6), (6,)]}
    spec = built(v3(groups, {"layers/net/layers/dense": "same", "layers/net/layers/dense_1": "same"}))
    assert [item.name for item in spec.layers] == ["net/same", "layers/net/layers/dense_1"]
    assert spec.layers[1].aliases == ("net/same",)


@pytest.mark.parametrize(
    ("items", "ordered"),
    [
        (("dense", "dense_1", "dense_2"), True),
        (("dense", "layer_normalization", "dense_1"), True),
        (("block", "block_1"), True),
        # Attributes: the alphabet, and gaps in the numbers.
        (("conv2d", "dense"), False),
        (("dense_1", "dense_2"), False),
        (("fc_1", "fc_10", "fc_2"), False),
        (("key", "query", "value"), False),
    ],
)
def test_the_order_in_a_list_is_one_and_the_alphabet_is_none(items: tuple[str, ...], ordered: bool) -> None:
    spec = built(v3({"before": DENSE, **{f"stack/{item}": DENSE for item in items}}))
    assert [item.ordered for item in spec.layers[1:]] == [ordered] * len(items)
    assert spec.order_source == "attributes"


def test_layers_of_a_functional_model_are_ordered_and_what_they_hold_is_not() -> None:
    spec = built(v3({"layers/dense": DENSE, "layers/my_block/key": DENSE, "layers/my_block/query": DENSE}))
    assert spec.order_source == "file-layout"
    assert [item.ordered for item in spec.layers] == [True, False, False]


@pytest.mark.parametrize(
    ("shapes", "kind", "words"),
    [
        ([(4, 5), (5,)], "Dense", ["kernel", "bias"]),
        ([(4, 20), (5, 20), (20,)], "LSTM", ["kernel", "recurrent_kernel", "bias"]),
        ([(5,)] * 4, "BatchNormalization", ["gamma", "beta", "moving_mean", "moving_variance"]),
        ([(5,)] * 3, "BatchNormalization", ["vars/0", "moving_mean", "moving_variance"]),
        # A square kernel of a convolution or a transposed one: the kind is open, the roles are not.
        ([(3, 3, 5, 5), (5,)], None, ["kernel", "bias"]),
        # gamma and beta of two normalisations, or moving_mean and moving_variance of a third.
        ([(5,), (5,)], None, ["vars/0", "vars/1"]),
        # A kernel without a bias, an embedding, a PReLU.
        ([(4, 5)], None, ["vars/0"]),
        ([(5,)], None, ["vars/0"]),
    ],
)
def test_a_kind_is_stated_where_one_fits(shapes: list[tuple[int, ...]], kind: str | None, words: list[str]) -> None:
    spec = built(v3({"mine": shapes, "other": DENSE}))
    assert spec.layers[0].kind == kind
    assert [name.removeprefix("mine/") for name in spec.layers[0].variables] == words


def test_every_reading_of_unnamed_variables_is_a_form() -> None:
    spec = read_forms(built(v3({"mine": [(5,), (5,)], "table": [(4, 5)], "other": DENSE})))
    assert {form.kind for form in spec.layers[0].forms} == {
        "BatchNormalization",
        "LayerNormalization",
        "GroupNormalization",
    }
    assert {form.kind for form in spec.layers[1].forms} == {
        "Dense", "Embedding", "ReversibleEmbedding", "PositionEmbedding", "PReLU",
    }  # fmt: skip
    assert all(form.natives[0][1] == "table/vars/0" for form in spec.layers[1].forms)
    assert [form.kind for form in spec.layers[2].forms] == ["Dense"]


def test_a_word_that_the_shapes_contradict_is_no_class() -> None:
    spec = built(v3({"embedding": DENSE, "dense": [(5,)] * 4}))
    assert [item.kind for item in spec.layers] == ["Dense", "BatchNormalization"]


def test_attributes_called_like_what_training_keeps() -> None:
    groups = {"optimizer": DENSE, "loss_tracker": DENSE, "seed_generator_proj": DENSE, "body": DENSE}
    assert len(weights(built(v3(groups)))) == 8
    tracked = built(v3({"loss_tracker": [(), ()], "body": DENSE}))
    assert weights(tracked) == ["body/kernel", "body/bias"]


def test_slots_of_frozen_layers_are_dealt_where_one_answer_is_left() -> None:
    square = [(4, 4), (4,)]
    groups = {f"layers/{name}": square for name in ("dense", "dense_1", "dense_2")}
    # Three blocks of slots for two trained layers, or two for all three: nothing in a file of weights says which.
    optimizer = [(), (), *square * 6]
    unknown = built(v3({**groups, "optimizer": optimizer}, {"optimizer": "rm_sprop"}))
    assert set(slots(unknown).values()) == {None}
    frozen = {**layer("Dense", "dense")["config"], "trainable": False}
    config = model({"class_name": "Dense", "config": frozen}, layer("Dense", "dense_1"), layer("Dense", "dense_2"))
    settings = {"momentum": 0.9, "centered": True, "use_ema": False}
    config["compile_config"] = {"optimizer": {"class_name": "RMSprop", "config": settings}}
    known = slots(built(v3({**groups, "optimizer": optimizer}, config=config)))
    owners = ["dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias"]
    words = ["velocity", "momentum", "average_gradient"]
    assert known == {f"{owner}/{word}": owner for word in words for owner in owners}


def test_slots_where_attributes_tell_no_order_go_by_shape_alone() -> None:
    groups = {"a": DENSE, "b": [(7, 5), (5,)]}
    optimizer = [(), (), *(shape for shape in [(7, 5), (5,), (4, 5), (5,)] for _ in range(2))]
    spec = built(v3({**groups, "optimizer": optimizer}, {"optimizer": "adam"}))
    owned = {name: owner for name, owner in slots(spec).items() if owner}
    assert set(owned.values()) == {"a/kernel", "b/kernel"}
    assert len(owned) == 4
    assert all("/momentum" in name or "/velocity" in name for name in owned)
