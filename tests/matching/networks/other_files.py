"""Networks written without Keras: TensorFlow 1 graphs, trees of modules, flat archives of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path as File
from typing import Any

import numpy as np

from tests.matching.networks.families import ROLES, Network, Part, Path, value

SLIM = {"kernel": "weights", "bias": "biases"}
SHORT = {"kernel": "w", "bias": "b"}
DIALECTS: tuple[dict[str, str], ...] = ({}, SLIM, SHORT)


class GraphOps:
    """Operations of a wiring as nodes of a TensorFlow 1 graph; recurrent layers take one step."""

    def __init__(self, parts: dict[Path, Part], variables: dict[tuple[Path, str], Any]) -> None:
        self._parts, self._variables = parts, variables

    def __call__(self, path: Path, x: Any) -> Any:
        import tensorflow as tf

        part = self._parts[path]
        w = {role: self._variables[path, role] for role, _ in ROLES[part.kind](*part.sizes)}
        if part.kind == "dense":
            return tf.tensordot(x, w["kernel"], 1) + w["bias"]
        if part.kind == "conv":
            return tf.nn.relu(tf.nn.conv2d(x, w["kernel"], 1, "SAME") + w["bias"])
        if part.kind == "bn":
            mean, variance = w["moving_mean"], w["moving_variance"]
            return tf.nn.batch_normalization(x, mean, variance, w["beta"], w["gamma"], 1e-3)
        if part.kind == "ln":
            mean, variance = tf.nn.moments(x, -1, keepdims=True)
            return tf.nn.batch_normalization(x, mean, variance, w["beta"], w["gamma"], 1e-3)
        bias = w["bias"] if part.kind == "lstm" else w["bias"][0]
        gates = tf.tensordot(x, w["kernel"], 1) + bias
        state = tf.tanh(gates[..., : part.sizes[-1]])
        return tf.tanh((tf.tensordot(state, w["recurrent_kernel"], 1) + bias)[..., : part.sizes[-1]])

    def add(self, xs: Sequence[Any]) -> Any:
        import tensorflow as tf

        return tf.add_n(list(xs))

    def join(self, xs: Sequence[Any]) -> Any:
        import tensorflow as tf

        return tf.concat(list(xs), -1)

    def pool(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.reduce_mean(x, [1, 2])

    def attend(self, q: Any, k: Any, v: Any) -> Any:
        import tensorflow as tf

        return tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True)), v)


def graph(
    network: Network, order: Sequence[Path], name: Callable[[Path], str], dialect: dict[str, str], file: File, *, meta: bool,
    copies: Sequence[str] = ("",),
) -> None:  # fmt: skip
    """A TensorFlow 1 graph, saved by a Saver.

    Args:
        network: what it computes.
        order: in which the variables are made.
        name: scope of a layer.
        dialect: what roles are called.
        file: prefix of the bundle.
        meta: whether the graph is saved beside it.
        copies: a scope for each copy of the network; the first holds the network's values, the others their own.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    parts = {part.path: part for part in network.parts}
    with v1.Graph().as_default(), v1.Session() as session:
        feed, made = {}, []
        inputs = [v1.placeholder(tf.float32, (None, *shape)) for shape in network.inputs]
        for place, copy in enumerate(copies):
            variables = {}
            for path in order:
                part = parts[path]
                for role, shape in ROLES[part.kind](*part.sizes):
                    hole = v1.placeholder(tf.float32, shape)
                    full = f"{copy}/{name(path)}/{dialect.get(role, role)}".lstrip("/")
                    variables[path, role] = v1.get_variable(full, initializer=hole, use_resource=False)
                    feed[hole] = value(part, role, copies[place] if place else "")
                    made.append(variables[path, role])
            network.wire(GraphOps(parts, variables), inputs)
        session.run([variable.initializer for variable in made], feed)
        v1.train.Saver(made).save(session, str(file), write_meta_graph=meta, write_state=False)


def modules(
    network: Network,
    order: Sequence[Path],
    attributes: Callable[[Path], list[str]],
    layout: str,
    file: File,
    *,
    sonnet: bool,
) -> None:
    """Variables in a tree of `tf.Module`s or Sonnet modules, by `tf.train.Checkpoint`; layouts as of a Keras subclass."""
    import sonnet as snt
    import tensorflow as tf

    class Node(tf.Module):
        """Holds what is set on it."""

    parts = {part.path: part for part in network.parts}
    root = Node()
    if layout == "list":
        root.stack = []
    elif layout == "dict":
        root.stack = {}
    for path in order:
        part = parts[path]
        if sonnet and part.kind == "dense":
            made: Any = snt.Linear(part.sizes[-1])
            made(tf.zeros((1, part.sizes[0])))
            made.w.assign(value(part, "kernel"))
            made.b.assign(value(part, "bias"))
        elif sonnet and part.kind == "conv":
            made = snt.Conv2D(part.sizes[-1], part.sizes[0])
            made(tf.zeros((1, 6, 6, part.sizes[1])))
            made.w.assign(value(part, "kernel"))
            made.b.assign(value(part, "bias"))
        else:
            made = Node()
            for role, _ in ROLES[part.kind](*part.sizes):
                setattr(made, role, tf.Variable(value(part, role), name=role))
        words = attributes(path)
        if layout == "list":
            root.stack.append(made)
        elif layout == "dict":
            root.stack["_".join(words)] = made
        elif layout == "flat":
            setattr(root, "_".join(words), made)
        else:
            node = root
            for word in words[:-1]:
                if not hasattr(node, word):
                    setattr(node, word, Node())
                node = getattr(node, word)
            setattr(node, words[-1], made)
    tf.train.Checkpoint(model=root).write(str(file))


def archive(network: Network, order: Sequence[Path], name: Callable[[Path], str], joint: str, file: File) -> None:
    """Arrays under their full names, in an npz or a safetensors file."""
    parts = {part.path: part for part in network.parts}
    arrays = {f"{name(path)}{joint}{role}": value(parts[path], role)
              for path in order for role, _ in ROLES[parts[path].kind](*parts[path].sizes)}  # fmt: skip
    if file.suffix == ".npz":
        np.savez(file, **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, file)
