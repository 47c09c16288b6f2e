"""Object graphs: paths, real names, order, slots, and graphs made to hurt."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ckptkit.canonical.fit import Fitter
from ckptkit.model import Contents, GraphAttribute, GraphNode, GraphSlot, ObjectGraph
from tests.canonical.made import VALUE, Graph, built, kinds, roles, slots, tensor, weights


def _dense(
    graph: Graph, parent: int, key: str, scope: str = "", words: tuple[str, str] = ("kernel", "bias")
) -> list[int]:
    shapes = ((4, 5), (5,))
    return [
        graph.variable(parent, word, f"{key}/{word}", shape, f"{scope}/{word.lstrip('_')}" if scope else "")
        for word, shape in zip(words, shapes, strict=True)
    ]


def test_attribute_paths_name_the_layers() -> None:
    graph = Graph()
    root = graph.add(0, "module")
    for name in ("second", "first"):
        _dense(graph, graph.add(root, name), f"module/{name}", words=("w", "b"))
    spec = built(graph.contents())
    assert weights(spec) == ["module/second/kernel", "module/second/bias", "module/first/kernel", "module/first/bias"]
    assert kinds(spec) == {"module/second": "Dense", "module/first": "Dense"}
    assert {item.dialect for item in spec.layers} == {"sonnet2"}
    assert spec.order_source == "object-graph"


def test_numbers_of_keras_give_way_to_names() -> None:
    graph = Graph()
    for place, name in enumerate(("dense_10", "dense_2")):
        _dense(graph, graph.add(0, f"layer_with_weights-{place}"), f"layer_with_weights-{place}", name)
    assert weights(built(graph.contents()))[::2] == ["dense_10/kernel", "dense_2/kernel"]


def test_numbers_stay_where_nothing_names_the_layer() -> None:
    graph = Graph()
    _dense(graph, graph.add(0, "layer_with_weights-0"), "layer_with_weights-0")
    assert weights(built(graph.contents())) == ["layer_with_weights-0/kernel", "layer_with_weights-0/bias"]


def test_two_layers_of_one_name_stay_two() -> None:
    graph = Graph()
    for place in range(2):
        _dense(graph, graph.add(0, f"layer_with_weights-{place}"), f"layer_with_weights-{place}", "dense")
    spec = built(graph.contents())
    assert [item.name for item in spec.layers] == ["layer_with_weights-0", "layer_with_weights-1"]
    assert [item.aliases for item in spec.layers] == [("dense",), ("dense",)]


def test_layers_that_only_a_list_of_variables_holds() -> None:
    graph = Graph()
    optimizer = graph.add(0, "optimizer")
    graph.variable(optimizer, "_iterations", "optimizer/_iterations", ())
    listed = graph.add(optimizer, "_trainable_variables")
    shapes = {"gamma": (4,), "beta": (4,), "kernel": (4, 4), "bias": (4,)}
    for place, word in enumerate(["kernel", "bias", "gamma", "beta", "kernel", "kernel", "bias"]):
        graph.variable(listed, str(place), f"optimizer/_trainable_variables/{place}", shapes[word], f"net/{word}")
    spec = built(graph.contents())
    path = "optimizer/trainable_variables"
    assert [item.name for item in spec.layers] == [f"{path}/{place}" for place in (0, 2, 4, 5)]
    assert [len(item.variables) for item in spec.layers] == [2, 2, 1, 2]
    assert not any(item.aliases for item in spec.layers)


def test_metadata_of_a_saved_model_comes_first() -> None:
    graph = Graph()
    outer = graph.add(0, "layer_with_weights-0")
    inner = graph.add(outer, "layer_with_weights-0")
    _dense(graph, inner, "layer_with_weights-0/layer_with_weights-0", "dense")
    graph.metadata[outer] = {"name": "tower", "class_name": "Functional"}
    graph.metadata[inner] = {"name": "dense_4", "class_name": "Dense", "config": {"name": "dense_4"}}
    spec = built(graph.contents())
    assert weights(spec) == ["tower/dense_4/kernel", "tower/dense_4/bias"]
    assert spec.layers[0].config == {"name": "dense_4"}


def test_layers_that_only_the_optimizer_holds_come_where_it_lists_them() -> None:
    graph = Graph()
    model = graph.add(0, "model")
    operations = graph.add(model, "_operations")
    optimizer = graph.add(model, "optimizer")
    first, last = graph.add(operations, "0"), graph.add(operations, "1")
    a = _dense(graph, first, "model/_operations/0", "a", ("_kernel", "bias"))
    c = _dense(graph, last, "model/_operations/1", "c", ("_kernel", "bias"))
    graph.variable(optimizer, "_iterations", "it", ())
    trained = graph.add(optimizer, "_trainable_variables")
    graph.children[trained] += [("0", a[0]), ("1", a[1])]
    b = [
        graph.variable(trained, str(n), f"opt/{n}", (4, 5)[n - 2 :], f"b/{w}") for n, w in ((2, "kernel"), (3, "bias"))
    ]
    graph.attributes[b[1]] = GraphAttribute("VARIABLE_VALUE", "b/bias", f"opt/3{VALUE}")
    graph.children[trained] += [("4", c[0]), ("5", c[1])]
    spec = built(graph.contents())
    assert [item.name for item in spec.layers] == ["a", "b", "c"]


def test_slots_of_keras_3_and_of_graphs() -> None:
    graph = Graph()
    model = graph.add(0, "model")
    kernel, bias = _dense(graph, graph.add(model, "d"), "model/d")
    optimizer = graph.add(model, "optimizer")
    trained, momentums = graph.add(optimizer, "_trainable_variables"), graph.add(optimizer, "_momentums")
    graph.children[trained] += [("0", kernel), ("1", bias)]
    graph.variable(momentums, "0", "m/0", (4, 5))
    graph.variable(momentums, "1", "m/1", (5,))
    graph.variable(optimizer, "_iterations", "it", ())
    contents = graph.contents()
    spec = built(contents)
    assert slots(spec) == {"model/d/kernel/momentums": "model/d/kernel", "model/d/bias/momentums": "model/d/bias"}
    assert [v.name for v in spec.variables if v.kind == "state"] == ["optimizer/iterations"]

    nodes = (
        GraphNode((("w", 1), ("opt", 2)), ()),
        GraphNode((), (GraphAttribute("VARIABLE_VALUE", "", "w" + VALUE),)),
        GraphNode((), (), (GraphSlot(1, "momentum", 3), GraphSlot(99, "x", 3))),
        GraphNode((), (GraphAttribute("VARIABLE_VALUE", "", "w/.OPTIMIZER_SLOT/opt/momentum" + VALUE),)),
    )
    tensors = (tensor(nodes[1].attributes[0].key, (3, 2)), tensor(nodes[3].attributes[0].key, (3, 2)))
    listed = built(Contents("tensor-bundle", None, tensors, ObjectGraph(nodes)))
    assert list(slots(listed).values()) == ["root/kernel"]


def test_state_is_not_weight() -> None:
    graph = Graph()
    lstm = graph.add(0, "layer_with_weights-0")
    _dense(graph, lstm, "layer_with_weights-0", "d")
    api = graph.add(lstm, "keras_api")
    graph.variable(graph.add(api, "states"), "0", "layer_with_weights-0/keras_api/states/0", (1, 8))
    graph.variable(0, "save_counter", "save_counter", ())
    # An attribute of the user's own has no list of the layer's variables.
    assert len(weights(built(graph.contents()))) == 3
    listed = graph.add(lstm, "variables")
    graph.children[api].append(("variables", listed))
    assert weights(built(graph.contents())) == ["d/kernel", "d/bias"]


def test_the_state_of_a_loss_scale() -> None:
    """Float and not trained, but beside a counter of good steps, in an object of its own."""
    for counter in ((), (3,)):
        graph = Graph()
        _dense(graph, graph.add(0, "dense"), "dense")
        scale = graph.add(graph.add(0, "optimizer"), "loss_scale")
        graph.variable(scale, "current_loss_scale", "optimizer/loss_scale/current_loss_scale", ())
        graph.tensors[-1] = tensor(graph.tensors[-1].key, (), "float32")
        graph.variable(scale, "good_steps", "optimizer/loss_scale/good_steps", counter)
        assert len(weights(built(graph.contents()))) == (4 if counter else 2)


def test_words_of_keras_on_objects_of_a_users_own() -> None:
    graph = Graph()
    for name in ("states", "metrics", "optimizer", "loss_tracker", "seed_generator", "body"):
        _dense(graph, graph.add(0, name), name)
    assert len(weights(built(graph.contents()))) == 12
    # Three variables called as Sonnet's Adam calls its own, but no step that counts.
    own = Graph()
    module = own.add(0, "mine")
    for name in ("step", "m", "v"):
        own.variable(module, name, f"mine/{name}", (3,))
    assert len(weights(built(own.contents()))) == 3


def test_metrics_states_and_generators_of_keras() -> None:
    graph = Graph()
    lstm = graph.add(0, "rnn")
    _dense(graph, graph.add(lstm, "cell"), "rnn/cell")
    graph.variable(graph.add(lstm, "states"), "0", "rnn/states/0", (1, 8))
    metric = graph.add(0, "loss_tracker")
    graph.variable(metric, "total", "loss_tracker/total", ())
    graph.variable(0, "step", "step", ())
    generator = graph.add(0, "gen")
    state = graph.variable(generator, "_state_var", "gen/_state_var", (3,))
    graph.tensors[-1] = replace(graph.tensors[-1], dtype="int64")
    assert state
    # The state of a generator of Keras that a user keeps under a name of their own.
    graph.variable(0, "mine", "mine", (2,), "seed_generator/seed_generator_state")
    graph.tensors[-1] = replace(graph.tensors[-1], dtype="uint32")
    spec = built(graph.contents())
    assert weights(spec) == ["rnn/kernel", "rnn/bias"]


def test_what_a_layer_owns_comes_before_what_is_in_it() -> None:
    graph = Graph()
    children = graph.add(graph.add(0, "keras_api"), "x")
    assert children
    block = graph.add(0, "block")
    _dense(graph, graph.add(block, "inner"), "block/inner")
    graph.variable(block, "mix", "block/mix", (3, 3))
    assert [each.name for each in built(graph.contents()).layers] == ["block", "block/inner"]


def test_what_an_object_stores_without_variables() -> None:
    graph = Graph()
    _dense(graph, graph.add(0, "d"), "d")
    graph.tensors += [
        tensor("iterator/.ATTRIBUTES/ITERATOR_STATE", (2,), "variant"),
        tensor("table/.ATTRIBUTES/table-keys", (2,), "string"),
        tensor("table/.ATTRIBUTES/table-values", (2,), "int64"),
    ]
    spec = built(graph.contents())
    assert {v.name: v.kind for v in spec.variables if v.kind != "weight"} == {
        "iterator/ITERATOR_STATE": "metadata",
        "table/table-keys": "state",
        "table/table-values": "state",
    }


def test_moving_averages_of_sonnet() -> None:
    graph = Graph()
    norm = graph.add(0, "bn")
    graph.variable(norm, "scale", "bn/scale", (3,))
    graph.variable(norm, "offset", "bn/offset", (3,))
    for name in ("moving_mean", "moving_variance"):
        average = graph.add(norm, name)
        graph.variable(average, "_counter", f"bn/{name}/_counter", ())
        graph.variable(average, "_hidden", f"bn/{name}/_hidden", (1, 1, 1, 3))
        graph.variable(average, "average", f"bn/{name}/average", (1, 1, 1, 3))
    spec = built(graph.contents())
    assert kinds(spec) == {"bn": "BatchNormalization"}
    assert {role for role in roles(spec, "bn") if role} == {"gamma", "beta", "moving_mean", "moving_variance"}
    assert sorted(weights(spec)) == ["bn/beta", "bn/gamma", "bn/moving_mean", "bn/moving_variance"]


def test_a_graph_that_explains_nothing_leaves_the_names() -> None:
    tensors = (tensor("m/d/kernel" + VALUE, (3, 4)), tensor("m/d/kernel/.OPTIMIZER_SLOT/opt/m" + VALUE, (3, 4)))
    for graph in (ObjectGraph(()), ObjectGraph((GraphNode((("x", 5), ("y", -1))),))):
        spec = built(Contents("tensor-bundle", None, tensors, graph))
        assert weights(spec) == ["m/d/kernel"]
        assert slots(spec) == {"m/d/kernel/m": "m/d/kernel"}


def test_cycles_ladders_and_chains_take_linear_time() -> None:
    count = 20_000
    shapes = [
        [(("a", min(n + 1, count - 1)), ("b", min(n + 1, count - 1))) for n in range(count)],
        [(("next", n + 1),) if n + 1 < count else (("back", 0),) for n in range(count)],
        [(("self", n), ("root", 0), ("next", (n + 1) % count)) for n in range(count)],
    ]
    tensors = tuple(tensor(f"k{n}", (2, 2)) for n in range(count))
    for children in shapes:
        nodes = tuple(
            GraphNode(edges, (GraphAttribute("VARIABLE_VALUE", "v", f"k{n}"),)) for n, edges in enumerate(children)
        )
        start = time.process_time()
        built(Contents("tensor-bundle", None, tensors, ObjectGraph(nodes)))
        assert time.process_time() - start < 60


def test_a_layer_is_known_without_its_counter() -> None:
    """A checkpoint keeps the counter of a `Normalization` apart, and one that is not named may be anything."""
    fitter = Fitter(("keras3", "keras2", "sonnet2"))
    found = fitter.best([("adapt_mean", (4,)), ("adapt_variance", (4,))], None, None, "normalization")
    assert found is not None
    assert (found.kind, found.row.dialect) == ("Normalization", "keras3")
    assert fitter.best([("adapt_mean", (4,))], None, None, "normalization") is None


def _linear(graph: Graph, parent: int, name: str, key: str, sizes: tuple[int, int] = (4, 5)) -> None:
    module = graph.add(parent, name)
    graph.variable(module, "w", f"{key}/w", sizes)
    graph.variable(module, "b", f"{key}/b", sizes[1:])


MARKS: list[tuple[str, ...]] = [
    ("iter", "learning_rate"), ("iter", "decay"), ("_iterations",), ("beta1_power", "beta2_power"),
    ("current_loss_scale", "good_steps"), ("step", "m", "v"), ("mom", "ms"), ("accumulated_momentum",),
]  # fmt: skip


@pytest.mark.parametrize("words", MARKS)
def test_an_object_with_an_optimizers_attributes_that_holds_layers_is_none(words: tuple[str, ...]) -> None:
    """A training loop of one's own: it counts, it has a rate, and it owns the network."""
    graph = Graph()
    agent = graph.add(0, "agent")
    for word in words:
        if word in ("m", "v", "mom", "ms", "accumulated_momentum"):
            _linear(graph, agent, word, f"agent/{word}")
        else:
            graph.variable(agent, word, f"agent/{word}", ())
    _linear(graph, agent, "net", "agent/net")
    graph.variable(agent, "table", "agent/table", (7, 3))
    spec = built(graph.contents())
    assert sum(bool(variable.shape) for variable in spec.variables) == len(weights(spec))


@pytest.mark.parametrize("words", [("step", "m", "v"), ("mom", "ms"), ("accumulated_momentum",)])
@pytest.mark.parametrize("lists", ["named after weights", "named otherwise", "of other shapes", "unequal"])
def test_lists_of_slots_are_named_after_weights_of_their_shapes(words: tuple[str, ...], lists: str) -> None:
    graph = Graph()
    module = graph.add(0, "net")
    graph.variable(module, "w", "net/w", (4, 5), "net/w")
    graph.variable(module, "b", "net/b", (5,), "net/b")
    optimizer = graph.add(0, "optimizer")
    kept = [word for word in words if word != "step"]
    if "step" in words:
        graph.variable(optimizer, "step", "optimizer/step", (), "adam/t")
    for number, word in enumerate(kept):
        held = graph.add(optimizer, word)
        names = ("w", "b") if lists != "unequal" or not number else ("w",)
        shapes = {"w": (4, 5), "b": (5,)} if lists != "of other shapes" else {"w": (3, 3), "b": (2,)}
        for place, name in enumerate(names):
            full_name = "Variable" if lists == "named otherwise" else f"adam/{word}/net/{name}"
            graph.variable(held, str(place), f"optimizer/{word}/{place}", shapes[name], full_name)
    spec = built(graph.contents())
    theirs = [variable for variable in spec.variables if variable.key.startswith("optimizer/") and variable.shape]
    slots_only = lists == "named after weights" or (lists == "unequal" and len(kept) == 1)
    assert all((variable.kind == "slot") is slots_only for variable in theirs)


@pytest.mark.parametrize(
    ("full_name", "kind"), [("lstm/rnn_state", "state"), ("decoder/h0", "weight"), ("Variable", "weight")]
)
def test_states_beside_a_cell_are_those_that_keras_named(full_name: str, kind: str) -> None:
    graph = Graph()
    layer = graph.add(0, "decoder")
    cell = graph.add(layer, "cell")
    graph.variable(cell, "kernel", "decoder/cell/kernel", (4, 16), "decoder/cell/kernel")
    states = graph.add(layer, "states")
    graph.variable(states, "0", "decoder/states/0", (1, 4), full_name)
    spec = built(graph.contents())
    assert {v.kind for v in spec.variables if v.key.startswith("decoder/states")} == {kind}


@pytest.mark.parametrize("attribute", ["_metrics", "_compile_metrics", "_loss_tracker", "metrics", "keras_api"])
def test_no_attribute_makes_a_metric(attribute: str) -> None:
    """Layers below it, and what is called as a metric's variables: doubtful where it was made so, too."""
    graph = Graph()
    _linear(graph, 0, attribute, attribute)
    held = graph.add(graph.children[0][0][1], "mean")
    graph.variable(held, "total", f"{attribute}/mean/total", (3,), "Variable")
    graph.variable(held, "count", f"{attribute}/mean/count", (3,), "count")
    spec = built(graph.contents())
    assert len(weights(spec)) == 4
    assert [v.key.split("/.")[0] for v in spec.variables if v.doubtful] == [f"{attribute}/mean/count"]


def test_a_metric_is_what_a_saved_model_calls_one() -> None:
    graph = Graph()
    _linear(graph, 0, "body", "body")
    graph.variable(graph.add(0, "tracker"), "total", "tracker/total", (3,), "total")
    contents = graph.contents()
    assert isinstance(contents.structure, ObjectGraph)
    marked = [
        replace(node, identifier="_tf_keras_metric") if dict(node.children).keys() == {"total"} else node
        for node in contents.structure.nodes
    ]
    assert len(weights(built(contents))) == 3
    assert len(weights(built(replace(contents, structure=ObjectGraph(tuple(marked)))))) == 2


def test_second_copies_of_an_export_have_a_first() -> None:
    graph = Graph()
    copies = graph.add(0, "_all_variables")
    graph.variable(copies, "0", "_all_variables/0", (4, 5), "dense/kernel")
    graph.variable(copies, "1", "_all_variables/1", (1, 5), "lstm/rnn_state")
    graph.variable(copies, "2", "_all_variables/2", (4, 5), "captured")
    assert len(weights(built(graph.contents()))) == 3
    listed = graph.add(0, "variables")
    for name in ("trainable_variables", "non_trainable_variables"):
        graph.add(0, name)
    graph.variable(listed, "0", "variables/0", (4, 5), "dense/kernel")
    spec = built(graph.contents())
    assert {v.key.split("/.")[0] for v in spec.variables if v.kind == "weight"} == {"variables/0", "_all_variables/2"}


@pytest.mark.parametrize(
    ("attributes", "theirs"),
    [
        ({"iter": "SGD/iter", "decay": "SGD/decay", "learning_rate": "SGD/learning_rate"}, "state"),
        ({"iter": "iter", "decay": "decay", "learning_rate": "learning_rate"}, "doubtful"),
        ({"iter": "SGD/iter", "learning_rate": "SGD/learning_rate"}, "doubtful"),
        ({"_iterations": "", "_learning_rate": ""}, "doubtful"),
        ({"beta1_power": "", "beta2_power": ""}, "doubtful"),
        ({"step": "step", "gain": "gain"}, "weight"),
    ],
)
def test_an_object_of_scalars_is_an_optimizer_where_a_framework_makes_it_so(
    attributes: dict[str, str], theirs: str
) -> None:
    counters = {"iter", "_iterations", "step"}
    graph = Graph()
    _linear(graph, 0, "body", "body")
    held = graph.add(0, "schedule")
    for word, full_name in attributes.items():
        graph.variable(held, word, f"schedule/{word}", (), full_name)
        graph.tensors[-1] = replace(graph.tensors[-1], dtype="int64" if word in counters else "float32")
    spec = built(graph.contents())
    floats = [v for v in spec.variables if v.key.startswith("schedule") and v.dtype == "float32"]
    found = {"doubtful" if v.doubtful else v.kind for v in floats}
    assert found == {theirs}
    # A layer beside them makes it an object of the user's own.
    _linear(graph, held, "head", "schedule/head")
    spec = built(graph.contents())
    assert not [v for v in spec.variables if v.dtype == "float32" and v.kind != "weight"]
