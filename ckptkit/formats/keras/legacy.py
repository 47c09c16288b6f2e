"""Keras's legacy HDF5 layout: 0.x, 1.x, 2.x, tf.keras, tf_keras and the `.h5` of Keras 3.

Sources: `keras.src.legacy.saving.legacy_h5_format` (Keras 3.15), `keras.engine.topology` of Keras 1 and 2, and
`Sequential.save_weights` of Keras 0.3 for `nb_layers`, `layer_N`, `param_N`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.formats.keras.config import parse_config, parse_version
from ckptkit.model import LegacyGroup, LegacyKeras

if TYPE_CHECKING:
    from ckptkit.formats.hdf5.attributes import Attributes
    from ckptkit.formats.hdf5.tree import Tree

TOP_LEVEL = "top_level_model_weights"
OPTIMIZER = "optimizer_weights"

_MAX_REPORTED = 1000


@dataclass(slots=True)
class Legacy:
    """What `read_legacy` found: the evidence, and what is to be said of it."""

    structure: LegacyKeras
    producer: str | None
    notes: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def find_weights(tree: Tree) -> str | None:
    r"""Path of the group that lists the layers: \"\", or `model_weights` in a whole-model file; None without one."""
    for path in ("", "model_weights"):
        if path in tree.groups and {"layer_names", "layer_names0", "nb_layers"} & set(tree.attributes(path).names):
            return path
    return None


def read_legacy(tree: Tree, weights: str) -> Legacy:
    """The layers and weights that the attributes list, in stored order.

    A weight or a layer that is listed and not there is damage, and is left out of the lists.

    Args:
        tree: what is in the file.
        weights: from `find_weights`.
    """
    reader = _Reader(tree)
    attributes, root = tree.attributes(weights), tree.attributes("")
    layers = reader.names(attributes, "layer_names", weights)
    if layers is None:
        count = attributes.integer("nb_layers") or 0
        layers = [f"layer_{index}" for index in range(min(count, len(tree.groups)))]
        if count > len(layers):
            reader.report(f"{count} layers are declared, {len(layers)} are there")
    groups = tuple(group for name in layers if (group := reader.layer(weights, name)) is not None)
    top_level = reader.weights(join(weights, TOP_LEVEL)) or ()
    optimizer = reader.weights(OPTIMIZER) or ()

    version, backend = (
        parse_version(attributes.string(name) or root.string(name)) for name in ("keras_version", "backend")
    )
    config, problem = None, None
    try:
        text = root.string("model_config")
        if text is not None:
            config, problem = parse_config(text, "model_config")
    except CkptkitError as error:
        problem = f"model_config is not read: {error.problem}"
    if problem:
        reader.notes.append(problem)
    structure = LegacyKeras(groups, version, backend, config, top_level, optimizer)
    producer = None if version is None else f"Keras {version}" + (f", {backend}" if backend else "")
    return Legacy(structure, producer, reader.notes, reader.damage)


class _Reader:
    """Collects layers and weights; no dataset is listed twice."""

    def __init__(self, tree: Tree) -> None:
        self.notes: list[str] = []
        self.damage: list[str] = []
        self._tree = tree
        self._taken: set[str] = set()
        self._layers: set[str] = set()

    def report(self, damage: str) -> None:
        """Put down what is wrong, as far as anybody would read it."""
        if len(self.damage) < _MAX_REPORTED:
            self.damage.append(damage)
        elif len(self.damage) == _MAX_REPORTED:
            self.damage.append("more of the kind is not listed")

    def names(self, attributes: Attributes, name: str, where: str) -> list[str] | None:
        """Attribute `name`, or the joined `name0`, `name1`, … into which Keras splits one over 64 KiB."""
        whole = attributes.strings(name)
        if whole is not None:
            return whole
        part = re.compile(rf"{name}\d{{1,8}}")
        count = sum(part.fullmatch(found) is not None for found in attributes.names)
        joined: list[str] = []
        for number in range(count):
            strings = attributes.strings(f"{name}{number}")
            if strings is None:
                self.report(f"{where or 'the file'}: {name}{number} is missing of {count} parts")
                break
            joined += strings
        return joined if count else None

    def layer(self, parent: str, name: str) -> LegacyGroup | None:
        path = self._tree.resolve(join(parent, name))
        if path not in self._tree.groups:
            self.report(f"layer {name!r} is listed and not there")
            return None
        if path in self._layers:
            self.notes.append(f"layer {name!r} is listed twice")
            return None
        self._layers.add(path)
        return LegacyGroup(name, self.weights(path) or ())

    def weights(self, path: str) -> tuple[tuple[str, str], ...] | None:
        """(stored name, key) of the weights that the group at `path` lists; None when there is no such group."""
        if path not in self._tree.groups:
            return None
        attributes = self._tree.attributes(path)
        names = self.names(attributes, "weight_names", path)
        if names is None:
            count = attributes.integer("nb_params") or 0
            names = [f"param_{index}" for index in range(min(count, len(self._tree.datasets)))]
            if count > len(names):
                self.report(f"{path}: {count} parameters are declared, {len(names)} are there")
        found = []
        for name in names:
            key = self._tree.resolve(name if name.startswith("/") else join(path, name))
            if key not in self._tree.datasets:
                self.report(f"{path}: weight {name!r} is listed and not there")
            elif key in self._taken:
                self.notes.append(f"{path}: weight {name!r} is listed twice")
            else:
                self._taken.add(key)
                found.append((name, key))
        return tuple(found)


def join(parent: str, name: str) -> str:
    """`name` inside the group `parent`."""
    return f"{parent}/{name}" if parent else name
