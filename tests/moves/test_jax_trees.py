"""Networks of Flax and Haiku as training loops save them, Orbax and msgpack, into Keras and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")
pytest.importorskip("jax", reason="the frameworks are an extra")
pytest.importorskip("sonnet", reason="the frameworks are an extra")
pytest.importorskip("haiku", reason="the frameworks are an extra")
pytest.importorskip("flax", reason="the frameworks are an extra")
pytest.importorskip("optax", reason="the frameworks are an extra")

import optax

import ckptkit
from tests.moves.jax_networks import NETWORKS, SHAPES, Network
from tests.moves.proof import assert_agree, assert_differ

pytestmark = pytest.mark.jax

FRAMEWORKS = ("linen", "nnx", "haiku")
FORMATS = ("orbax", "msgpack")


def tree_of(values: Mapping[str, np.ndarray], framework: str) -> dict[str, Any]:
    """The tree as the framework has it: Haiku's keys are whole paths of modules."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *scopes, word = path.split("/")
        if framework == "haiku":
            scopes = [scopes[0], "/".join(scopes[1:])]
        node = tree
        for scope in scopes:
            node = node.setdefault(scope, {})
        node[word] = value
    return tree


def values_of(tree: Any, path: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    if not isinstance(tree, Mapping):
        return {"/".join(path): np.asarray(tree)}
    return {name: value for key in tree for name, value in values_of(tree[key], (*path, str(key))).items()}


def train_state(values: Mapping[str, np.ndarray], framework: str) -> dict[str, Any]:
    """What a training loop saves: variables, the optimizer's state for the trained ones, a counter."""
    tree = tree_of(values, framework)
    if "params" not in tree:  # NNX has one tree
        tree = {"params": tree}
    return {**tree, "opt_state": optax.adam(1e-3).init(tree["params"]), "step": np.asarray(7)}


def save(tree: Any, container: str, path: Path) -> Path:
    if container == "msgpack":
        from flax import serialization

        path = path.with_suffix(".msgpack")
        path.write_bytes(serialization.to_bytes(tree))
        return path
    ocp = pytest.importorskip("orbax.checkpoint")
    ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).save(path.resolve(), args=ocp.args.PyTreeSave(tree))
    return path


def load(path: Path, container: str) -> Any:
    if container == "msgpack":
        from flax import serialization

        return serialization.msgpack_restore(path.read_bytes())
    import orbax.checkpoint as ocp

    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(path.resolve())


def drawn(kind: str) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(3, *SHAPES[kind])).astype(np.float32)


def networks(framework: str, kind: str) -> tuple[Network, Network]:
    one, keras = NETWORKS[framework](kind), NETWORKS["keras"](kind)
    one.randomise(1), keras.randomise(2)
    assert_differ(keras.run(drawn(kind)), one.run(drawn(kind)))
    return one, keras


@pytest.mark.parametrize("kind", [kind for kind in SHAPES if kind != "gru"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("container", FORMATS)
def test_a_training_state_fills_a_keras_model(container: str, framework: str, kind: str, tmp_path: Path) -> None:
    source, target = networks(framework, kind)
    old = save(train_state(source.values, framework), container, tmp_path / "old")
    template = target.save(target.values, tmp_path / "template")
    output = tmp_path / "output.weights.h5"
    ckptkit.remap(old, template, output)
    target.values = target.load(output)
    assert_agree(target.run(drawn(kind)), source.run(drawn(kind)))


@pytest.mark.parametrize("kind", ["cnn", "encoder", "lstm", "depthwise"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("container", FORMATS)
def test_a_keras_model_fills_a_tree(container: str, framework: str, kind: str, tmp_path: Path) -> None:
    target, source = networks(framework, kind)
    old = source.save(source.values, tmp_path / "old")
    template = save(tree_of(target.values, framework), container, tmp_path / "template")
    output = tmp_path / f"output{template.suffix}"
    ckptkit.remap(old, template, output)
    filled = values_of(load(output, container))
    target.values = {name: filled[name] for name in target.values}
    assert_agree(target.run(drawn(kind)), source.run(drawn(kind)))
