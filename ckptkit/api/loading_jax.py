"""A checkpoint of any format into a tree of JAX, or into an NNX module: by structure, else by ckptkit's matching."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.api.open import bind, open  # noqa: A004
from ckptkit.errors import ModelError, RefusedError
from ckptkit.formats.copying import local_copy
from ckptkit.model.selection import refuse_unfit
from ckptkit.trees import FunctionalModel, flatten
from ckptkit.trees.leaves import like
from ckptkit.trees.models import fill
from ckptkit.verification.jax_native import restore_tree
from ckptkit.verification.native import NotNativeError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ckptkit.api.proposal import Remapped


def restore(
    model: FunctionalModel, path: str | os.PathLike[str]
) -> tuple[FunctionalModel, str, tuple[str, ...]] | None:
    """(model over the file's values, by what, weights) where the file has the tree's structure; None for any other."""
    with local_copy(path) as location:
        contents, tensors = location.open()
        with bind(contents, tensors, location) as checkpoint:
            refuse_unfit(checkpoint.spec)
            weights = tuple(variable.name for variable in checkpoint.spec.variables if variable.kind == "weight")
            try:
                made, loading = restore_tree(model, checkpoint)
            except NotNativeError:
                return None
    return made, loading.words, weights


def fill_tree(model: FunctionalModel, move: Callable[[str, str], Remapped]) -> tuple[FunctionalModel, Remapped]:
    """The model over what a checkpoint's values are in its tree, and what was done.

    Args:
        model: over a tree of arrays.
        move: remaps the checkpoint into a template: its path, and that of the output.

    Raises:
        ModelError: it has arrays of a dtype that no template holds.
        RefusedError: the match is not complete.
        CkptkitError: the checkpoint cannot be read.
    """
    tree = flatten(model.tree)
    small = [
        name for name, leaf in zip(tree.names, tree.leaves, strict=True) if "float8" in str(getattr(leaf, "dtype", ""))
    ]
    if small:
        raise ModelError("trees of float8 cannot be filled", key=small[0])
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        template = model.save(str(Path(folder) / "template"))
        output = str(Path(folder) / "filled.npz")
        try:
            done = move(template, output)
        except RefusedError as error:
            # The template is nothing that the caller knows of.
            error.problem = error.problem.replace(template, "the tree")
            raise
        with open(output) as made:
            by_key = {variable.key: variable.name for variable in made.spec.variables}
            values = [like(made[by_key[name]].read(), leaf) for name, leaf in zip(tree.names, tree.leaves, strict=True)]
    return model.with_tree(tree.put(values)), done


def restore_module(model: FunctionalModel, path: str | os.PathLike[str]) -> tuple[str, tuple[str, ...]] | None:
    """(by what, weights) where the file has the structure of an NNX module, which then holds it; None for any other.

    Raises:
        ModelError: it is no module that could be filled.
        CkptkitError: the checkpoint cannot be read.
    """
    _need_module(model)
    found = restore(model, path)
    if found is None:
        return None
    fill(model.module, found[0].tree)
    return found[1], found[2]


def fill_module(model: FunctionalModel, move: Callable[[str, str], Remapped]) -> Remapped:
    """Fill an NNX module by matching, all or nothing; see `fill_tree`.

    Raises:
        ModelError: it is no module that could be filled.
        CkptkitError: see `fill_tree`.
    """
    _need_module(model)
    made, done = fill_tree(model, move)
    fill(model.module, made.tree)
    return done


def _need_module(model: FunctionalModel) -> None:
    if model.module is None:
        raise ModelError(
            f"{model.title} holds its values in a tree, which nothing can be loaded into",
            hint="ckptkit.to_tree(path, like=tree) gives a tree with the checkpoint's values.",
        )
