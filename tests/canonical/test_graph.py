"""Object graphs: paths, real names, order, slots, and graphs made to hurt."""

from __future__ import annotations

import time

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
    assert [item.name for item in spec.layers] == ["dense", "layer_with_weights-1"]


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
    trained = graph.add(optimizer, "_trainable_variables")
    graph.children[trained] += [("0", a[0]), ("1", a[1])]
    b = [graph.variable(trained, str(n), f"opt/{n}", (4, 5)[n:], f"b/{w}") for n, w in ((2, "kernel"), (3, "bias"))]
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
    assert [v.name for v in spec.variables if v.kind == "state"] == ["model/optimizer/iterations"]

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
    spec = built(graph.contents())
    assert weights(spec) == ["d/kernel", "d/bias"]


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
        start = time.perf_counter()
        built(Contents("tensor-bundle", None, tensors, ObjectGraph(nodes)))
        assert time.perf_counter() - start < 20
