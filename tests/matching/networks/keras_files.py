"""Networks written by Keras 3 and tf_keras: functional, sequential, and subclasses whose layers lie flat or nested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from tests.matching.networks.families import Network, Part, Path, value


def layer(keras: Any, part: Part, name: str | None) -> Any:
    """The framework's layer for a part."""
    make, size = keras.layers, part.sizes[-1]
    return {
        "dense": lambda: make.Dense(size, name=name),
        "conv": lambda: make.Conv2D(size, part.sizes[0], padding="same", name=name),
        "bn": lambda: make.BatchNormalization(name=name),
        "ln": lambda: make.LayerNormalization(name=name),
        "lstm": lambda: make.LSTM(size, return_sequences=True, name=name),
        "gru": lambda: make.GRU(size, return_sequences=True, name=name),
    }[part.kind]()


@dataclass(frozen=True, slots=True)
class KerasOps:
    """Operations of a wiring as Keras layers."""

    keras: Any
    layers: dict[Path, Any]

    def __call__(self, path: Path, x: Any) -> Any:
        return self.layers[path](x)

    def add(self, xs: Sequence[Any]) -> Any:
        return self.keras.layers.Add()(list(xs))

    def join(self, xs: Sequence[Any]) -> Any:
        return self.keras.layers.Concatenate()(list(xs))

    def pool(self, x: Any) -> Any:
        return self.keras.layers.GlobalAveragePooling2D()(x)

    def attend(self, q: Any, k: Any, v: Any) -> Any:
        dot = self.keras.layers.Dot
        return dot((2, 1))([dot((2, 2))([q, k]), v])


def fill(layers: dict[Path, Any], network: Network) -> None:
    """The network's values, by role."""
    for part in network.parts:
        for variable in layers[part.path].weights:
            role = variable.name.rpartition("/")[2].partition(":")[0]
            variable.assign(value(part, role))


Namer = Callable[[Path], str] | None


def made(keras: Any, network: Network, order: Sequence[Path], name: Namer) -> dict[Path, Any]:
    """The layers, created in an order of their own."""
    parts = {part.path: part for part in network.parts}
    return {path: layer(keras, parts[path], name(path) if name else None) for path in order}


def functional(keras: Any, network: Network, order: Sequence[Path], name: Namer, burnt: int) -> Any:
    """A functional model; `burnt` layers were made before it, so that its counters do not start from nothing."""
    for _ in range(burnt):
        keras.layers.Dense(1)
        keras.layers.Conv2D(1, 1)
    layers = made(keras, network, order, name)
    inputs = [keras.Input(shape) for shape in network.inputs]
    model = keras.Model(inputs, network.wire(KerasOps(keras, layers), inputs))
    fill(layers, network)
    return model


def sequential(keras: Any, network: Network, order: Sequence[Path], name: Namer) -> Any:
    """A chain as a Sequential model."""
    layers = made(keras, network, order, name)
    model = keras.Sequential([keras.Input(network.inputs[0]), *(layers[part.path] for part in network.parts)])
    fill(layers, network)
    return model


def subclass(
    keras: Any,
    network: Network,
    order: Sequence[Path],
    name: Namer,
    attributes: Callable[[Path], list[str]],
    layout: str,
) -> Any:
    """A model of a class of its own.

    Args:
        keras: Keras 3 or tf_keras.
        network: what it computes.
        order: in which the layers are made.
        name: names of the layers; None leaves them automatic.
        attributes: the words of a path, as attributes.
        layout: `flat` (one attribute a layer), `list`, `dict`, or `nested` (a layer that holds layers for each word).
    """
    import numpy as np

    layers = made(keras, network, order, name)

    def words(path: Path) -> list[str]:
        # A model has attributes of its own, such as `output`: what people then do.
        return [f"{word}_layer" if hasattr(keras.Model, word) else word for word in attributes(path)]

    def joined(path: Path) -> str:
        name = "_".join(attributes(path))
        return f"{name}_layer" if hasattr(keras.Model, name) else name

    class Node(keras.layers.Layer):
        """Holds layers, computes nothing."""

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            if layout == "list":
                self.stack = [layers[path] for path in order]
            elif layout == "dict":
                self.stack = {joined(path): layers[path] for path in order}
            elif layout == "flat":
                for path in order:
                    setattr(self, joined(path), layers[path])
            else:
                for path in order:
                    node = self
                    for word in words(path)[:-1]:
                        if not hasattr(node, word):
                            setattr(node, word, Node())
                        node = getattr(node, word)
                    setattr(node, words(path)[-1], layers[path])

        def call(self, xs: Any) -> Any:
            return network.wire(KerasOps(keras, layers), xs if isinstance(xs, (list, tuple)) else [xs])

    model = Model()
    inputs = [np.zeros((1, *shape), "float32") for shape in network.inputs]
    model(inputs if len(inputs) > 1 else inputs[0])
    fill(layers, network)
    return model


def save(model: Any, file: File) -> None:
    """By the container's own way: weights only in `.weights.h5` and in `.w.h5`, a checkpoint in `.ckpt`, else all."""
    import tensorflow as tf

    if file.name.endswith(".ckpt"):
        tf.train.Checkpoint(model=model).write(str(file))
    elif file.name.endswith((".weights.h5", ".w.h5")):
        model.save_weights(str(file))
    else:
        model.save(str(file))
