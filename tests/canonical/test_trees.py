"""Trees of JAX's libraries: what is a weight, what an optimizer's, by places and not by words."""

from __future__ import annotations

import math

import pytest

import ckptkit
from ckptkit.canonical import build
from ckptkit.conventions import read_forms
from ckptkit.model import CheckpointSpec, Contents, StoredTensor, Tree, TreeLeaf
from tests.conftest import FIXTURES

Leaves = dict[tuple[str, ...], tuple[tuple[int, ...], str]]

LAYERS: Leaves = {
    ("Conv_0", "kernel"): ((3, 3, 2, 4), "float32"), ("Conv_0", "bias"): ((4,), "float32"),
    ("BatchNorm_0", "scale"): ((4,), "float32"), ("BatchNorm_0", "bias"): ((4,), "float32"),
    ("Dense_0", "kernel"): ((5, 3), "float32"), ("Dense_0", "bias"): ((3,), "float32"),
}  # fmt: skip
STATS: Leaves = {("BatchNorm_0", "mean"): ((4,), "float32"), ("BatchNorm_0", "var"): ((4,), "float32")}
COUNT: Leaves = {(): ((), "int32")}


def below(*prefix: str, leaves: Leaves = LAYERS) -> Leaves:
    return {(*prefix, *path): told for path, told in leaves.items()}


def read(leaves: Leaves) -> CheckpointSpec:
    tensors = tuple(
        StoredTensor("/".join(path), shape, dtype, 4 * math.prod(shape)) for path, (shape, dtype) in leaves.items()
    )
    tree = Tree(tuple(TreeLeaf("/".join(path), path) for path in leaves))
    return build(Contents("orbax", None, tensors, tree), "x")


def kinds(spec: CheckpointSpec) -> dict[str, str]:
    return {variable.key: variable.kind for variable in spec.variables}


# What optax keeps, each with the words that its own chain has; a word of nobody's does as well.
STATES: dict[str, Leaves] = {
    "adam": below("s", "0", "mu") | below("s", "0", "nu") | below("s", "0", "count", leaves=COUNT),
    "momentum": below("s", "0", "trace"),
    "chain": below("s", "1", "0", "mu") | below("s", "1", "0", "nu") | below("s", "1", "2", "count", leaves=COUNT),
    "injected": below("s", "count", leaves=COUNT) | below("s", "hyper", "rate", leaves={(): ((), "float32")})
    | below("s", "inner", "0", "mu"),
    "factored": below("s", "0", "count", leaves=COUNT)
    | below("s", "0", "v_row", leaves={path: ((1,), dtype) for path, (_, dtype) in LAYERS.items()}) | below("s", "0", "v"),
    "masked": below("s", "0", "mu", leaves={path: told for path, told in LAYERS.items() if path[0] != "Dense_0"})
    | below("s", "0", "count", leaves=COUNT),
    "words of nobody": below("s", "zig", "zag") | below("s", "tick", leaves=COUNT),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("model", ["params", "anything"])
def test_what_repeats_the_weights_with_a_counter_is_an_optimizers(name: str, model: str) -> None:
    state = STATES[name]
    spec = read(below(model) | state | {("step",): ((), "int64")})
    found = kinds(spec)
    owners = {variable.key: variable.slot_of for variable in spec.variables}
    names = {variable.key: variable.name for variable in spec.variables}
    for path, (shape, _) in state.items():
        key = "/".join(path)
        if path[-2:] in LAYERS:
            assert found[key] == "slot"
            assert owners[key] == names["/".join((model, *path[-2:]))]
        else:
            assert found[key] == "state", (key, shape)
    assert found["step"] == "state"
    assert {key for key, kind in found.items() if kind == "weight"} == {"/".join(path) for path in below(model)}


@pytest.mark.parametrize(
    "other",
    [
        below("decoder", "block"), below("ema"), below("heads", "0") | below("heads", "1"),
        below("s", "0", "mu") | below("s", "extra", leaves={("table",): ((7, 9), "float32")}),
    ],
)  # fmt: skip
def test_what_only_looks_like_it_are_weights(other: Leaves) -> None:
    spec = read(below("params") | other)
    assert set(kinds(spec).values()) == {"weight"}
    assert len(spec.variables) == len(LAYERS) + len(other)


def test_collections_of_one_model_have_their_layers_in_common() -> None:
    spec = read(below("params") | below("batch_stats", leaves=STATS))
    assert {layer.name for layer in spec.layers} == {"Conv_0", "BatchNorm_0", "Dense_0"}
    norm = next(layer for layer in spec.layers if layer.name == "BatchNorm_0")
    assert len(norm.variables) == 4


def test_a_second_model_keeps_its_name() -> None:
    spec = read(below("params") | below("ema_params"))
    assert {layer.name for layer in spec.layers} == {
        *("Conv_0", "BatchNorm_0", "Dense_0"), *(f"ema_params/{name}" for name in ("Conv_0", "BatchNorm_0", "Dense_0")),
    }  # fmt: skip


def test_a_box_around_every_leaf_is_taken_off() -> None:
    boxed = {(*path, "value"): told for path, told in (below("model") | STATES["adam"]).items()}
    plain = read(below("model") | STATES["adam"])
    spec = read(boxed)
    assert {variable.name for variable in spec.variables} == {variable.name for variable in plain.variables}
    partly = {(*path, "value") if path[0] == "Conv_0" else path: told for path, told in LAYERS.items()}
    assert any(variable.name.endswith("value") for variable in read(partly).variables)


def test_modules_in_haikus_names_are_scopes() -> None:
    leaves: Leaves = {
        ("mlp/~/linear_0", "w"): ((4, 5), "float32"), ("mlp/~/linear_0", "b"): ((5,), "float32"),
        ("mlp/~/linear_1", "w"): ((5, 3), "float32"), ("mlp/~/linear_1", "b"): ((3,), "float32"),
    }  # fmt: skip
    spec = read(leaves)
    assert [layer.name for layer in spec.layers] == ["mlp/linear_0", "mlp/linear_1"]
    assert "mlp/~/linear_0/w" in {variable.key for variable in spec.variables}


def test_haikus_names_in_an_archive_are_those_of_its_tree() -> None:
    names = ("mlp/~/linear_0/w", "mlp/~/linear_0/b", "mlp/~/linear_1/w", "mlp/~/linear_1/b")
    shapes = ((4, 5), (5,), (5, 3), (3,))
    tensors = tuple(StoredTensor(name, shape, "float32", 4) for name, shape in zip(names, shapes, strict=True))
    spec = build(Contents("npz", None, tensors), "x")
    assert [layer.name for layer in spec.layers] == ["mlp/linear_0", "mlp/linear_1"]
    assert {variable.key for variable in spec.variables} == set(names)


def test_random_streams_are_state() -> None:
    spec = read(
        below("model") | {("model", "rngs", "key"): ((2,), "uint32"), ("model", "rngs", "count"): ((), "uint32")}
    )
    assert kinds(spec)["model/rngs/key"] == kinds(spec)["model/rngs/count"] == "state"


def test_the_alphabet_is_no_order() -> None:
    spec = read(below(leaves=LAYERS))
    assert not any(layer.ordered for layer in spec.layers)


def test_every_tensor_is_there_once_whatever_paths_collide() -> None:
    leaves: Leaves = {
        ("a/b", "kernel"): ((2, 3), "float32"), ("a", "~", "b/kernel"): ((2, 4), "float32"), ("kernel",): ((5,), "float32"),
        ("x", "kernel"): ((6,), "float32"), ("y", "x", "kernel"): ((6,), "float32"), (): ((7,), "float32"),
    }  # fmt: skip
    spec = read(leaves)
    assert len(spec.variables) == len(leaves)
    assert len({variable.name for variable in spec.variables}) == len(leaves)


# -------------------------------------------------------------------------------------------------------------- Keras's


def test_a_keras_run_is_read_as_the_archive_of_the_same_model() -> None:
    with (
        ckptkit.open(FIXTURES / "orbax-keras-run" / "run") as run,
        ckptkit.open(FIXTURES / "keras3-mlp-archive" / "model.keras") as archive,
    ):
        assert run.order_source == archive.order_source == "config"
        assert [(layer.name, layer.kind, layer.variables, layer.ordered) for layer in run.layers] == [
            (layer.name, layer.kind, layer.variables, layer.ordered) for layer in archive.layers
        ]

        def slots(checkpoint: ckptkit.Checkpoint) -> set[tuple[str | None, str]]:
            return {(each.slot_of, each.name) for each in checkpoint.spec.variables if each.kind == "slot"}

        assert slots(run) == slots(archive)
        assert {each.name for each in run.spec.variables if each.kind == "state"} >= {
            "optimizer/iterations", "optimizer/learning_rate", "metrics/loss/total",
        }  # fmt: skip
        assert all(each.trainable is not None for each in run.spec.variables if each.kind == "weight")


def test_two_weights_of_one_joined_name_give_no_slot_to_either() -> None:
    leaves: Leaves = {
        ("trainable_variables", "a_b", "c"): ((2, 3), "float32"), ("trainable_variables", "a", "b_c"): ((2, 3), "float32"),
        ("optimizer_variables", "adam", "a_b_c_momentum"): ((2, 3), "float32"),
    }  # fmt: skip
    spec = read(leaves)
    assert [each.slot_of for each in spec.variables if each.kind == "slot"] == [None]


NAMED: dict[str, Leaves] = {
    "flax": {("params", "up", "kernel"): ((3, 2, 4, 5), "float32"), ("params", "up", "bias"): ((5,), "float32")},
    "haiku": {("params", "net/~/up", "w"): ((3, 2, 4, 5), "float32"), ("params", "net/~/up", "b"): ((5,), "float32")},
}


@pytest.mark.parametrize("state", [{}, below("s", "0", "count", leaves=COUNT)], ids=["alone", "trained"])
@pytest.mark.parametrize("dialect", NAMED)
def test_names_that_people_chose_are_still_their_librarys(dialect: str, state: Leaves) -> None:
    """The collection tells it, which is no part of the layer's name."""
    spec = read_forms(read(NAMED[dialect] | state))
    layer = next(layer for layer in spec.layers if layer.name.endswith("up"))
    assert "params" not in layer.name
    assert layer.forms[0].row.startswith(f"{dialect}/")
