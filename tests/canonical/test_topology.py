"""What feeds what: the graph of an architecture, of every generation, and architectures made to hurt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptkit import open as open_checkpoint
from ckptkit.model import CheckpointSpec
from tests.canonical.made import built, legacy, v3


def _old(name: str, kind: str, *calls: list[list[Any]], **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 serialises it: triples with keyword arguments."""
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": list(calls)}


def _tensor(name: str, call: int = 0, output: int = 0) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, output]}}


def _new(name: str, kind: str, *calls: dict[str, Any], **config: Any) -> dict[str, Any]:
    """A layer as Keras 3 serialises it: arguments with serialised tensors."""
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": list(calls)}


def _functional(name: str, layers: list[dict[str, Any]], inputs: Any, outputs: Any) -> dict[str, Any]:
    return {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}


def _spec(config: dict[str, Any], *layers: str) -> CheckpointSpec:
    weights = {layer: {f"{layer}/kernel:0": (2, 2), f"{layer}/bias:0": (2,)} for layer in layers}
    return built(legacy(weights, config=config)).with_flow()


def _feeds(spec: CheckpointSpec) -> dict[str, tuple[str, ...] | None]:
    return {layer.name: layer.feeds for layer in spec.layers}


def test_shared_layers_and_keyword_arguments_of_keras_2() -> None:
    layers = [
        _old("a", "InputLayer"),
        _old("b", "InputLayer"),
        # Listed before what it takes from: shared layers are.
        _old("shared", "Dense", [["a", 0, 0, {}]], [["drop", 0, 0, {}]]),
        _old("drop", "Dropout", [["b", 0, 0, {}]]),
        _old("sum", "Add", [["shared", 0, 0, {}], ["shared", 1, 0, {}]]),
        _old("op", "TFOpLambda", ["sum", 0, 0, {"y": ["b", 0, 0], "z": ["_CONSTANT_VALUE", -1, 3.0], "name": None}]),
        _old("head", "Dense", [["op", 0, 0, {}]]),
    ]
    model = {
        "class_name": "Functional",
        "config": _functional("m", layers, [["a", 0, 0], ["b", 0, 0]], [["head", 0, 0]]),
    }
    spec = _spec(model, "shared", "head")
    assert _feeds(spec) == {"shared": ("input:0", "input:1"), "head": ("shared", "input:1")}
    assert spec.outputs == (("head",),)


@pytest.mark.parametrize("first", [0, 1])
def test_nested_models_and_where_their_calls_are_counted_from(first: int) -> None:
    inside = [_old("x", "InputLayer"), _old("i1", "Dense", [["x", 0, 0, {}]]), _old("i2", "Dense", [["i1", 0, 0, {}]])]
    inner = _functional("inner", inside, [["x", 0, 0]], [["i2", 0, 0], ["i1", 0, 0]])
    layers = [
        _old("a", "InputLayer"),
        _old("b", "InputLayer"),
        {**_old("inner", "Functional", [["a", 0, 0, {}]], [["b", 0, 0, {}]]), "config": inner},
        _old("one", "Dense", [["inner", first, 1, {}]]),
        _old("two", "Dense", [["inner", first + 1, 0, {}]]),
    ]
    outputs = [["one", 0, 0], ["two", 0, 0]]
    model = {"class_name": "Model", "config": _functional("m", layers, [["a", 0, 0], ["b", 0, 0]], outputs)}
    weights = {f"{name}/kernel:0": (2, 2) for name in ("i1", "i2")}
    groups = {"inner": weights, "one": {"one/kernel:0": (2, 2)}, "two": {"two/kernel:0": (2, 2)}}
    spec = built(legacy(groups, config=model)).with_flow()
    assert _feeds(spec) == {
        "inner/i1": ("input:0", "input:1"),
        "inner/i2": ("inner/i1",),
        "one": ("inner/i1",),
        "two": ("inner/i2",),
    }


def test_arguments_of_keras_3() -> None:
    layers = [
        _new("a", "InputLayer"),
        _new("q", "Dense", {"args": [_tensor("a")], "kwargs": {}}),
        _new("v", "Dense", {"args": [_tensor("a")], "kwargs": {}}),
        _new("att", "MultiHeadAttention", {"args": [_tensor("q")], "kwargs": {"value": _tensor("v"), "key": None}}),
        _new("cat", "Concatenate", {"args": [[_tensor("att"), _tensor("q")]], "kwargs": {"axis": -1}}),
        _new("head", "Dense", {"args": [_tensor("cat")], "kwargs": {}}),
    ]
    model = {"class_name": "Functional", "config": _functional("m", layers, ["a", 0, 0], ["head", 0, 0])}
    parts = {f"layers/multi_head_attention/{part}_dense": [(2, 1, 2)] for part in ("query", "key", "value", "output")}
    groups = {"layers/dense": [(2, 2)], "layers/dense_1": [(2, 2)], **parts, "layers/dense_2": [(4, 2)]}
    spec = built(v3(groups, config=model)).with_flow()
    assert _feeds(spec) == {
        "q": ("input:0",),
        "v": ("input:0",),
        "att/query": ("q",),
        "att/key": ("v",),
        "att/value": ("v",),
        "att/attention_output": ("att/query", "att/key", "att/value"),
        "head": ("att/attention_output", "q"),
    }


def test_a_chain_and_what_is_in_a_layer_of_the_users_own() -> None:
    layers = [_old("mine", "MyBlock"), _old("drop", "Dropout"), _old("head", "Dense")]
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    groups = {
        "mine": {"mine/a/kernel:0": (2, 2), "mine/b/kernel:0": (2, 2)},
        "head": {"head/kernel:0": (2, 2)},
    }
    assert _feeds(built(legacy(groups, config=model)).with_flow()) == {
        "mine/a": None,
        "mine/b": None,
        "head": ("mine/a", "mine/b"),
    }


def test_architectures_that_say_nothing_or_lie() -> None:
    def chain(*calls: list[list[Any]], outputs: Any = (("d", 0, 0),)) -> CheckpointSpec:
        layers = [_old("a", "InputLayer"), _old("d", "Dense", *calls)]
        return _spec({"class_name": "Model", "config": _functional("m", layers, [["a", 0, 0]], outputs)}, "d")

    assert chain([["a", 0, 0, {}]]).layers[0].feeds == ("input:0",)
    for lie in (
        chain([["nobody", 0, 0, {}]]),
        chain([["d", 0, 0, {}]]),
        chain([["a", 0, 0, {}]], outputs=[["gone", 0, 0]]),
        chain([["a", 0, 0, {}]], outputs=7),
    ):
        assert (lie.layers[0].feeds, lie.outputs) == (None, None)
    assert _spec({"class_name": "Mine", "config": {"layers": [_old("d", "Dense")]}}, "d").layers[0].feeds is None


def test_models_that_call_each_other_twice_thirty_deep() -> None:
    inner: dict[str, Any] = _old("d", "Dense", [["x", 0, 0, {}]], [["d", 0, 0, {}]])
    for depth in range(30):
        config = _functional(f"m{depth}", [_old("x", "InputLayer"), inner], [["x", 0, 0]], [[inner["name"], 1, 0]])
        inner = {**_old(f"m{depth}", "Functional", [["x", 0, 0, {}]], [[f"m{depth}", 0, 0, {}]]), "config": config}
    spec = _spec({"class_name": "Functional", "config": inner["config"]}, "d")
    assert spec.layers[0].feeds is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_every_container_of_a_real_model_has_the_same_graph(framework: str, tmp_path: Path) -> None:
    keras = pytest.importorskip(framework)
    dense, given = keras.layers.Dense, keras.Input((5,))
    hidden = dense(5, name="i1")(given)
    inner = keras.Model(given, [dense(5, name="i2")(hidden), hidden], name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = dense(5, name="shared")
    one, two = inner(keras.layers.Add(name="plus")([shared(a), shared(b)]))
    both = keras.layers.Bidirectional(keras.layers.LSTM(2, name="lstm"), name="both")(keras.layers.Reshape((5, 1))(one))
    model = keras.Model([a, b], [dense(3, name="out")(keras.layers.Concatenate(name="cat")([both, two])), two])
    found = []
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        with open_checkpoint(tmp_path / name) as checkpoint:
            spec = checkpoint.spec.with_flow()
            found.append((_feeds(spec), spec.outputs))
    feeds: dict[str, tuple[str, ...] | None] = {
        "shared": ("input:0", "input:1"),
        "inner/i1": ("shared",),
        "inner/i2": ("inner/i1",),
        "both/forward_lstm": ("inner/i2",),
        "both/backward_lstm": ("inner/i2",),
        "out": ("both/forward_lstm", "both/backward_lstm", "inner/i1"),
    }
    assert found == [(feeds, (("out",), ("inner/i1",)))] * 2
