"""Where variables go in a tree, as JAX's libraries keep one: weights, what an optimizer keeps for them, and the rest.

A tree stays as it is, and what holds the architecture of a Keras model becomes the tree that Keras keeps of one. Of others the
canonical names are paths; where there is more than weights these are below `params`, slots below `opt_state` in the places of
their weights with what counts beside them, as optax has them, and the rest below `state`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit.conversion.keras_scopes import Path
from ckptkit.conversion.keras_tree import keras_tree
from ckptkit.errors import RefusedError
from ckptkit.model import CheckpointSpec, Variable

TREES = frozenset({"orbax", "flax-msgpack"})
"""Formats that are trees."""

_WEIGHTS, _SLOTS, _COUNTS, _REST = ("params",), ("opt_state", "0"), ("opt_state", "1"), ("state",)


@dataclass(frozen=True, slots=True)
class Planted:
    """Where variables go in a tree.

    Attributes:
        paths: canonical name -> its path, and others under which the same value is to be found.
        config: a Keras model's architecture that goes along, or None.
        notes: what is to be known of it.
    """

    paths: Mapping[str, tuple[Path, ...]]
    config: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def tree_of(spec: CheckpointSpec, carried: Sequence[Variable], to: str) -> Planted:
    """The tree of `carried`.

    Args:
        spec: the canonical map of the old container.
        carried: the variables that go along.
        to: the new format.
    """
    paths = {leaf.key: leaf.path for leaf in spec.tree}
    if carried and all(variable.key in paths for variable in carried):
        # Only the tree that Keras keeps of a model goes with its architecture.
        config = spec.architecture if to == "orbax" else None
        return Planted({each.name: (paths[each.key],) for each in carried}, config)
    notes: tuple[str, ...] = ()
    if to == "orbax" and spec.architecture is not None:
        try:
            return _keras(spec, carried)
        except RefusedError as error:
            notes = (f"Keras does not load this tree by itself: {error}",)
    paths = _made(carried)
    return Planted({each.name: (paths[each.key],) for each in carried}, notes=notes)


def _keras(spec: CheckpointSpec, carried: Sequence[Variable]) -> Planted:
    tree = keras_tree(spec, carried)
    notes = []
    if not tree.compiled:
        notes.append(
            "Keras loads the tree of a compiled model only: the architecture says an optimizer with its defaults"
        )
    if tree.unknown:
        notes.append(
            f"{len(tree.unknown)} variables of the optimizer have no name in the file, so that Keras passes over them"
            f" ({tree.unknown[0]})"
        )
    return Planted(tree.paths, tree.config, tuple(notes))


def _made(carried: Sequence[Variable]) -> dict[str, Path]:
    several = len({variable.kind for variable in carried}) > 1
    slots = any(variable.slot_of for variable in carried)
    names = {variable.name: variable for variable in carried}
    paths: dict[str, Path] = {}
    for variable in carried:
        owner = names.get(variable.slot_of or "")
        if not several:
            paths[variable.key] = _parts(variable.name)
        elif owner is not None:
            word = variable.name.removeprefix(f"{owner.name}/").replace("/", ".")
            paths[variable.key] = (*_SLOTS, word, *_parts(owner.name))
        elif variable.kind == "weight":
            paths[variable.key] = (*_WEIGHTS, *_parts(variable.name))
        else:
            # One number beside slots is what an optimizer counts, for whoever reads it.
            paths[variable.key] = (*(_COUNTS if slots and not variable.shape else _REST), *_parts(variable.name))
    around = {path[:end] for path in paths.values() for end in range(1, len(path))}
    if around & set(paths.values()) or len(set(paths.values())) < len(paths):
        # A leaf cannot hold others: all of them are side by side then.
        return {variable.key: (variable.name,) for variable in carried}
    return paths


def _parts(name: str) -> Path:
    return tuple(part for part in name.split("/") if part) or (name,)
