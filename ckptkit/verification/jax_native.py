"""A file's arrays into a tree of JAX by structure alone: every name of the tree, none more, equal shapes and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptkit.references import describe
from ckptkit.trees import FunctionalModel, flatten, to_numpy
from ckptkit.verification.native import Loading, NotNativeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.model import Checkpoint, Variable

# The collection that people leave out where it is the only one.
_PARAMS = "params/"


def restore_tree(model: FunctionalModel, checkpoint: Checkpoint) -> tuple[FunctionalModel, Loading]:
    """The model over the values of a checkpoint that has its structure.

    Args:
        model: over a tree of that structure.
        checkpoint: open; its keys are the paths in the tree, joined by `/` or by dots.

    Raises:
        NotNativeError: names, shapes or dtypes differ, or the framework refuses.
    """
    tree = flatten(model.tree)
    if not tree.names:
        raise NotNativeError([f"{model.title} has no arrays to load"])
    held = _held(checkpoint, tree.names)
    missing = [name for name in tree.names if name not in held]
    if missing:
        raise NotNativeError(
            [f"{model.loader}: the file has no {missing[0]} ({len(missing)} of {len(tree.names)} missing)"]
        )
    extra = [name for name, variable in held.items() if name not in set(tree.names) and variable.kind == "weight"]
    if extra:
        raise NotNativeError([f"{model.loader}: the tree has no place for {extra[0]} ({len(extra)} such)"])
    values = []
    for name, leaf in zip(tree.names, tree.leaves, strict=True):
        value, wanted = checkpoint[held[name].name].read(), to_numpy(leaf)
        if (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
            found = f"{value.dtype.name} {list(value.shape)}"
            raise NotNativeError([f"{model.loader}: {name} is {found}, not {wanted.dtype.name} {list(wanted.shape)}"])
        values.append(value)
    try:
        if model.title == "Flax (linen)":
            made = model.restore(model.tree, _nested(dict(zip(tree.names, values, strict=True))))
        else:
            made = tree.put(values)
    except Exception as error:
        raise NotNativeError([f"{model.loader}: {describe(error)}"]) from error
    return model.with_tree(made), Loading(model.loader)


def _held(checkpoint: Checkpoint, names: tuple[str, ...]) -> Mapping[str, Variable]:
    """Path in the tree -> variable of the file."""
    found = {}
    whole = all(name.startswith(_PARAMS) for name in names)
    for variable in checkpoint.spec.variables:
        key = variable.key if "/" in variable.key else variable.key.replace(".", "/")
        found[_PARAMS + key if whole and not key.startswith(_PARAMS) else key] = variable
    return found


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *scopes, last = name.split("/")
        node = tree
        for scope in scopes:
            node = node.setdefault(scope, {})
        node[last] = value
    return tree
