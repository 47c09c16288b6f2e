"""Which orders tell layers apart: lists of functional models, graphs, creation; and what speaks against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from ckptkit.matching import match
from ckptkit.matching.labels import Label, split_component
from ckptkit.matching.named_orders import against_numbers
from ckptkit.model import CheckpointSpec, Layer, OrderSource, Variable
from tests.matching.specs import accounted, batch_norm, conv, dense, layer, layer_pairs, spec

TOWERS = ("query", "doc")
WAYS = (("up", (4, 8)), ("down", (8, 4)))


def functional(names: Sequence[str], known: bool = True, order: OrderSource = "config") -> CheckpointSpec:
    """Two towers of two layers and what joins them, as a functional model lists them: depth by depth."""
    first, second, third, fourth, join = names
    made = spec(
        dense(first, 4, 4), dense(second, 4, 4), dense(third, 4, 4), dense(fourth, 4, 4), dense(join, 8, 3), order=order
    )
    feeds = {first: ("input:0",), second: ("input:1",), third: (first,), fourth: (second,), join: (third, fourth)}
    if not known:
        return made
    return replace(made, layers=tuple(replace(each, feeds=feeds[each.name]) for each in made.layers))


def graph(made: CheckpointSpec, feeds: Mapping[str, tuple[str, ...]]) -> CheckpointSpec:
    """The same checkpoint with what feeds each of its layers."""
    return replace(made, layers=tuple(replace(each, feeds=feeds[each.name]) for each in made.layers))


def created(names: Sequence[str], order: OrderSource = "meta-graph") -> CheckpointSpec:
    """The same layers in the order in which a program made them: tower by tower."""
    return spec(*[dense(name, 4, 4) for name in names[:-1]], dense(names[-1], 8, 3), order=order)


def paired(a: CheckpointSpec, b: CheckpointSpec) -> dict[str, str]:
    found = match(a, b)
    accounted(found, a, b)
    return layer_pairs(found)


def test_lists_of_one_graph_are_equal_in_whatever_order_the_layers_were_made() -> None:
    a = functional(["dense_4", "dense_2", "dense_3", "dense_1", "dense"])
    b = functional(["dense_4", "dense_6", "dense_5", "dense_3", "dense_7"])
    assert paired(a, b) == {
        "dense_4": "dense_4", "dense_2": "dense_6", "dense_3": "dense_5", "dense_1": "dense_3", "dense": "dense_7",
    }  # fmt: skip


def test_a_list_that_its_own_counters_contradict_is_one_of_a_graph() -> None:
    """Keras 3 weights hold no graph; layers that were made in another order than they are listed in show one."""
    a = functional(["dense_4", "dense_2", "dense_3", "dense_1", "dense"], known=False, order="file-layout")
    b = functional(["dense_4", "dense_6", "dense_5", "dense_3", "dense_7"])
    assert paired(a, b)["dense_2"] == "dense_6"


def test_lists_of_graphs_that_differ_tell_nothing() -> None:
    a = functional(["dense_4", "dense_2", "dense_3", "dense_1", "dense"])
    b = functional(["dense_4", "dense_6", "dense_5", "dense_3", "dense_7"])
    crossed = {"dense_5": ("dense_6",), "dense_3": ("dense_4",)}
    b = replace(b, layers=tuple(replace(each, feeds=crossed.get(each.name, each.feeds)) for each in b.layers))
    assert paired(a, b) == {"dense": "dense_7"}


def test_numbers_of_experts_follow_the_list_of_a_graph() -> None:
    names = ("e1.up", "e2.up", "e1.down", "e2.down")
    a = spec(*[dense(name, 4, 8) for name in names[:2]], *[dense(name, 8, 4) for name in names[2:]])
    made = ("dense_3", "dense_1", "dense_2", "dense")
    b = spec(*[dense(name, 4, 8) for name in made[:2]], *[dense(name, 8, 4) for name in made[2:]], order="config")
    feeds = {"dense_3": ("input:0",), "dense_1": ("input:0",), "dense_2": ("dense_3",), "dense": ("dense_1",)}
    b = replace(b, layers=tuple(replace(each, feeds=feeds[each.name]) for each in b.layers))
    assert paired(a, b) == dict(zip(names, made, strict=True))


def test_an_order_that_the_users_numbers_contradict_is_none() -> None:
    """Members 2, 1, 3: they were not made in the order in which they are called."""
    a = created(["dense", "dense_1", "dense_2", "dense_3", "dense_4"], "file-layout")
    shuffled = ["member2Fc2", "member2Fc1", "member1Fc2", "member1Fc1", "top"]
    assert paired(a, created(shuffled, "object-graph")) == {"dense_4": "top"}
    told = ["member1Fc1", "member1Fc2", "member2Fc1", "member2Fc2", "top"]
    assert paired(a, created(told, "object-graph"))["dense_1"] == "member1Fc2"


def test_numbers_that_count_down_in_one_half_are_an_order() -> None:
    """A U-Net: the numbers of its decoder go down."""
    names = ["down1", "down2", "down3", "up3", "up2", "up1"]
    a = spec(*[dense(name, 4, 4) for name in names], order="object-graph")
    b = spec(*[dense(name, 4, 4) for name in ("a", "b", "c", "d", "e", "f")], order="meta-graph")
    assert paired(a, b) == dict(zip(names, "abcdef", strict=True))


def test_heads_at_the_end_of_a_branch_have_one_order() -> None:
    """Depth by depth and branch by branch alike, so that an order of creation tells them, though the rest differs."""
    b = functional(["policy_fc0", "vf_fc0", "policy_fc1", "vf_fc1", "top"], order="stored")
    heads = spec(dense("mean", 4, 2), dense("log_std", 4, 2))
    more = {"mean": ("policy_fc1",), "log_std": ("policy_fc1",)}
    b = replace(
        b,
        layers=(*b.layers, *[replace(each, feeds=more[each.name]) for each in heads.layers]),
        variables=(*b.variables, *heads.variables),
    )
    a = spec(
        dense("pi/fc0", 4, 4), dense("pi/fc1", 4, 4), dense("pi/dense", 4, 2), dense("pi/dense_1", 4, 2),
        dense("vf/fc0", 4, 4), dense("vf/fc1", 4, 4), dense("vf/top", 8, 3), order="meta-graph",
    )  # fmt: skip
    found = paired(a, b)
    assert (found.get("pi/dense"), found.get("pi/dense_1")) == ("mean", "log_std")


def test_a_cell_inside_of_a_layer_is_no_name_of_it() -> None:
    """Both files call the cells alike, which tells the layers no better apart."""
    names = [("decoder_stack_0", "encoder_stack_0"), ("decoder/rnn/0", "encoder/rnn/0")]
    parts = [("kernel", (4, 16)), ("recurrent_kernel", (4, 16)), ("bias", (16,))]
    a, b = (spec(*[layer(name.replace("0", n), "LSTM", parts) for name in own for n in "01"]) for own in names)
    a, b = (
        replace(each, layers=tuple(replace(one, aliases=(f"{one.name}/lstm_cell",)) for one in each.layers))
        for each in (a, b)
    )
    b = replace(b, layers=b.layers[::-1])
    found = paired(a, b)
    assert found == {name: name.replace("_stack_", "/rnn/") for name in found}
    assert len(found) == 4


@pytest.mark.parametrize("flip", [False, True])
def test_numbers_behind_alike_words_correspond(flip: bool) -> None:
    """Blocks are numbered on both sides, norms within them here by the user and there by the framework."""
    norm = [("gamma", (8,)), ("beta", (8,))]
    a = spec(*[layer(f"net/blocks/{i}/norm{j}", "LayerNormalization", norm) for i in (0, 1) for j in (1, 2)])
    b = spec(*[layer(f"block_{i}/layer_norm{j}", "LayerNormalization", norm) for i in (0, 1) for j in ("", "_1")])
    wanted = {
        "net/blocks/0/norm1": "block_0/layer_norm", "net/blocks/0/norm2": "block_0/layer_norm_1",
        "net/blocks/1/norm1": "block_1/layer_norm", "net/blocks/1/norm2": "block_1/layer_norm_1",
    }  # fmt: skip
    found = paired(b, a) if flip else paired(a, b)
    assert found == ({other: one for one, other in wanted.items()} if flip else wanted)


def residual(made: Sequence[str], order: OrderSource) -> CheckpointSpec:
    """A block with a shortcut: three convolutions of their own shapes, and a norm of one shape behind each."""
    sizes = dict(zip("abc", (3, 5, 1), strict=True))
    return spec(*[conv(f"conv_{n}", sizes[n], 4, 4) if w == "conv" else batch_norm(f"{w}_{n}", 4)
                  for w, n in (name.split("_") for name in made)], order=order)  # fmt: skip


GRAPH = {"conv_a": ("input:0",), "conv_b": ("norm_q",), "conv_c": ("input:0",), "norm_q": ("conv_a",), "norm_r": ("conv_b",),
         "norm_s": ("conv_c",)}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (["conv_a", "bn_x", "conv_b", "bn_y", "conv_c", "bn_z"], True),
        (["conv_c", "bn_z", "conv_a", "bn_x", "conv_b", "bn_y"], True),
        (["conv_a", "conv_b", "conv_c", "bn_x", "bn_y", "bn_z"], False),  # made by kind: no norm stands behind its own
        (["bn_x", "conv_a", "bn_y", "conv_b", "bn_z", "conv_c"], False),
    ],
)
def test_norms_are_told_by_the_convolutions_that_they_stand_behind(made: list[str], told: bool) -> None:
    a = residual(made, "registration")
    b = residual(["conv_a", "conv_c", "norm_q", "norm_s", "conv_b", "norm_r"], "config")
    b = replace(b, layers=tuple(replace(each, feeds=GRAPH[each.name]) for each in b.layers))
    for found, ways in ((paired(a, b), 1), (paired(b, a), -1)):
        pairs = [(x, y)[::ways] for x, y in (("bn_x", "norm_q"), ("bn_y", "norm_r"), ("bn_z", "norm_s"))]
        assert {x: found.get(x) for x, _ in pairs} == {x: y if told else None for x, y in pairs}


def test_a_new_head_behind_the_same_trunk_is_no_pair() -> None:
    """Where names leave no choice, what a layer stands behind is no reason: one head is gone and another is new."""
    made = []
    for head, norm in (("head_cats", "norm_cats"), ("head_dogs", "norm_dogs")):
        whole = spec(
            dense("body/a", 4, 6),
            dense("body/b", 6, 6),
            dense("body/c", 6, 4),
            dense(head, 4, 3),
            batch_norm(norm, 4),
            order="config",
        )
        feeds = {
            "body/a": ("input:0",),
            "body/b": ("body/a",),
            "body/c": ("body/b",),
            head: ("body/c",),
            norm: ("body/c",),
        }
        made.append(replace(whole, layers=tuple(replace(each, feeds=feeds[each.name]) for each in whole.layers)))
    assert set(paired(*made)) == {"body/a", "body/b", "body/c"}


@pytest.mark.parametrize("row", [("beta", "gamma"), ("gamma", "beta")])
def test_places_follow_the_order_in_which_the_other_framework_makes_variables(row: tuple[str, str]) -> None:
    norm = [(role, (8,)) for role in row]
    a = spec(dense("bert/pooler", 8, 8), layer("bert/embeddings/LayerNorm", "LayerNormalization", norm))
    b = spec(dense("bert_pooler", 8, 8), layer("bert_embeddings_LayerNorm", None, [("vars/0", (8,)), ("vars/1", (8,))]))
    found = match(a, b)
    accounted(found, a, b)
    pairs = {pair.target[0]: pair for pair in found.pairs}
    for place, role in enumerate(row):
        pair = pairs[f"bert_embeddings_LayerNorm/vars/{place}"]
        assert pair.source == (f"bert/embeddings/LayerNorm/{role}",)
        assert pair.evidence[-1] == "order of variables"


def test_counters_that_go_through_all_scopes_are_the_order_of_creation() -> None:
    """An inner model is made before the layers around it, and is called between them."""
    a = spec(
        *[dense(name, 4, 4) for name in ("outer/dense_2", "outer/inner/dense", "outer/inner/dense_1", "outer/dense_3")]
    )
    b = spec(
        *[dense(name, 4, 4) for name in ("net/dense_8", "net/dense_6", "net/dense_7", "net/dense_9")], order="natural"
    )
    assert paired(a, b) == {
        "outer/dense_2": "net/dense_8", "outer/inner/dense": "net/dense_6",
        "outer/inner/dense_1": "net/dense_7", "outer/dense_3": "net/dense_9",
    }  # fmt: skip


def test_scopes_that_count_for_themselves_tell_no_order_of_all() -> None:
    a = spec(*[dense(name, 4, 4) for name in ("one/dense", "one/dense_1", "two/dense", "two/dense_1")], order="natural")
    b = spec(*[dense(name, 4, 4) for name in ("p/dense_4", "q/dense_6", "p/dense_5", "q/dense_7")], order="natural")
    assert paired(a, b) == {}


def test_places_of_what_may_be_frozen_speak_against_counters() -> None:
    """Either layers were frozen, or they were made in another order than they are listed in: nobody can tell."""
    names = ("inner/dense_1", "inner/dense", "inner/dense_2")
    a = spec(*[dense(name, 4, 4) for name in names])
    a = replace(a, layers=tuple(replace(each, ordered=False) for each in a.layers))
    listed = spec(
        *[dense(f"block/{name}", 4, 4) for name in ("dense", "part/dense", "part/dense_1")], order="file-layout"
    )
    assert paired(a, listed) == {}
    counted = spec(*[dense(f"block/{name}", 4, 4) for name in ("dense_5", "part/dense_4", "dense_6")])
    assert paired(a, counted)["inner/dense_1"] == "block/dense_5"


def test_an_exported_list_of_variables_is_that_of_a_functional_model() -> None:
    """Keras 3 exports the variables of a model in the order of its layers."""
    names = ["dense_4", "dense_2", "dense_3", "dense_1", "dense"]
    a = functional(names, known=False, order="object-graph")
    keys = {v.name: f"variables/{place}" for place, v in enumerate(a.variables)}
    a = replace(a, variables=tuple(replace(each, key=keys[each.name]) for each in a.variables))
    assert paired(a, functional(["dense_9", "dense_6", "dense_7", "dense_5", "dense_8"]))["dense_2"] == "dense_6"


def test_bare_places_of_layers_that_keras_counted_follow_its_order() -> None:
    """`scale` and `scale_1` are of a class of the user's: Keras calls their groups so, and the names are its own."""

    def bare(name: str, group: str) -> tuple[Layer, tuple[Variable, ...]]:
        made, variables = layer(name, None, [("0", (6,)), ("1", (6,))])
        return replace(made, aliases=(f"layers/{group}",)), variables

    a = spec(
        layer("scale", None, [("scale", (6,)), ("shift", (6,))]),
        dense("dense", 6, 6),
        layer("scale_1", None, [("scale", (6,)), ("shift", (6,))]),
    )
    b = spec(bare("scale_2", "scale"), dense("dense_5", 6, 6), bare("scale_3", "scale_1"), order="file-layout")
    assert paired(a, b) == {"scale": "scale_2", "dense": "dense_5", "scale_1": "scale_3"}


def test_shapes_alone_do_not_pair_against_two_graphs() -> None:
    a = spec(dense("a", 4, 4), dense("b", 4, 4, bias=False), order="config")
    b = spec(dense("c", 4, 4, bias=False), dense("d", 4, 4), order="config")
    one, other = graph(a, {"a": ("input:0",), "b": ("a",)}), graph(b, {"c": ("input:0",), "d": ("c",)})
    found = match(one, other)
    assert not found.pairs
    assert "opposite order" in found.ambiguous[0].why
    # Side by side, they may stand in any order.
    beside = graph(b, {"c": ("input:0",), "d": ("input:0",)})
    assert layer_pairs(match(graph(a, {"a": ("input:0",), "b": ("input:0",)}), beside)) == {"b": "c", "a": "d"}


@pytest.mark.parametrize(
    ("name", "words", "numbers"),
    [
        ("block3d_expand_conv", ("block", "#", "#", "expand", "conv"), (3, 3)),
        ("Mixed_6d", ("mixed", "#", "#"), (6, 3)),
        ("Conv2D", ("conv2d",), ()),
        ("UpSampling2D", ("upsampling2d",), ()),
        ("BatchNorm2d", ("batchnorm2d",), ()),
    ],
)
def test_a_letter_behind_a_number_counts_on_unless_it_says_axes(
    name: str, words: tuple[str, ...], numbers: tuple[int, ...]
) -> None:
    assert split_component(name) == (words, numbers)


@pytest.mark.parametrize(
    ("rows", "up"),
    [
        ([(0, 35, 1, 2, 0), (0, 35, 2, 0, 0), (1, 17, 1, 0, 0), (2, 8, 1, 0, 0)], True),
        ([(1, 9), (2, 8), (3, 7)], True),
        ([(2, 0), (1, 0), (3, 0)], False),
        ([(1, 1), (0, 2), (1, 0)], False),
    ],
)
def test_numbers_in_several_columns_count_up_by_whichever_counts_slowest(rows: list[tuple[int, ...]], up: bool) -> None:
    labels = [[Label(("block", *["#"] * len(row)), row)] for row in rows]
    assert against_numbers(range(len(rows)), labels) is not up


@pytest.mark.parametrize("towers", [("left", "right"), ("member_1", "member_2", "member_3")])
def test_a_list_of_towers_is_not_one_of_depths(towers: Sequence[str]) -> None:
    """Layers made in any order and listed depth by depth, against names that may stand tower by tower."""
    count = 2 * len(towers)
    a = spec(*[dense(f"{tower}_fc_{depth}", 4, 4) for tower in towers for depth in (1, 2)], order="stored")
    made = [(3 * place + 1) % (count + 1) for place in range(count)]
    b = spec(*[dense(f"dense_{number + 1}", 4, 4) for number in made], order="file-layout")
    assert not paired(a, b)
    assert not paired(b, a)


def test_experts_that_were_made_from_the_last_to_the_first_are_not_told_by_their_numbers() -> None:
    rows = [("gate", 4, 3), *[(f"expert_{n}_{way}", *size) for n in range(3) for way, size in WAYS], ("out", 4, 5)]
    a = spec(*[dense(f"stack/{place}", *row[1:]) for place, row in enumerate(rows[::-1])], order="object-graph")
    b = spec(*[dense(name, *size) for name, *size in rows], order="object-graph")
    assert paired(a, b) == {"stack/7": "gate", "stack/0": "out"}
    forth = spec(*[dense(f"stack/{place}", *row[1:]) for place, row in enumerate(rows)], order="object-graph")
    assert paired(forth, b) == {f"stack/{place}": name for place, (name, *_) in enumerate(rows)}


def test_names_of_layers_in_a_list_count_with_their_numbers() -> None:
    """TensorFlow's checkpoints of Keras 2 have both: the place in a list, and the name within each variable's."""
    names = [f"{part}Lstm{number}" for part in ("encoder", "decoder") for number in (0, 1)]
    a = spec(
        *[dense(f"{part}_rnn_{number}", 4, 4) for part in ("decoder", "encoder") for number in (1, 2)],
        order="attributes",
    )
    b = spec(*[dense(f"model/stack/{place}", 4, 4) for place in range(4)], order="object-graph")
    b = replace(
        b, layers=tuple(replace(own, aliases=(f"m/{name}",)) for own, name in zip(b.layers, names, strict=True))
    )
    assert paired(a, b) == {
        "encoder_rnn_1": "model/stack/0", "encoder_rnn_2": "model/stack/1",
        "decoder_rnn_1": "model/stack/2", "decoder_rnn_2": "model/stack/3",
    }  # fmt: skip


def test_a_number_that_ends_a_name_is_a_place_only_where_the_name_is_a_path() -> None:
    """Keras 2 lets a user call a layer `m/0/fc/1`, and lists it in TensorFlow's checkpoints under another path."""
    cells = [(member, depth) for depth in (0, 1) for member in (0, 1, 2)]
    a = spec(*[dense(f"model/member{m + 1}_fc{d + 1}", 4, 4) for m, d in sorted(cells)], order="object-graph")
    b = spec(*[dense(f"m/{member}/fc/{depth}", 4, 4) for member, depth in cells], order="object-graph")
    lists = {own.name: f"model/layer_with_weights-{place}" for place, own in enumerate(b.layers)}
    b = replace(
        b,
        layers=tuple(replace(own, aliases=(lists[own.name],)) for own in b.layers),
        variables=tuple(replace(v, key=f"{lists[v.layer or '']}/{v.role}/.ATTRIBUTES/VALUE") for v in b.variables),
    )
    assert paired(a, b) == {f"model/member{m + 1}_fc{d + 1}": f"m/{m}/fc/{d}" for m, d in cells}
