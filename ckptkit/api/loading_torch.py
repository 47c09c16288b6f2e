"""A checkpoint of any format straight into a live PyTorch module."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.api.open import bind
from ckptkit.errors import MissingDependencyError, ModelError, RefusedError
from ckptkit.formats.copying import local_copy
from ckptkit.model.selection import refuse_unfit
from ckptkit.references import describe
from ckptkit.verification.native import NotNativeError
from ckptkit.verification.torch_native import fill, load_torch

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ckptkit.api.proposal import Remapped


def load_own(module: Any, path: str | os.PathLike[str]) -> tuple[str, tuple[str, ...]] | None:
    """(loader, weights) where PyTorch's own loader takes the file for the module; None for any other, nothing changed."""
    with local_copy(path) as location:
        contents, tensors = location.open()
        with bind(contents, tensors, location) as checkpoint:
            refuse_unfit(checkpoint.spec)
            weights = tuple(variable.name for variable in checkpoint.spec.variables if variable.kind == "weight")
            try:
                return load_torch(module, contents, location.at.text).words, weights
            except NotNativeError:
                return None


def fill_by_matching(module: Any, move: Callable[[str, str], Remapped]) -> Remapped:
    """Remap a checkpoint into the module's own `state_dict`, and load that, all or nothing.

    Args:
        module: a `torch.nn.Module`.
        move: remaps the checkpoint into a template: its path, and that of the output.

    Raises:
        MissingDependencyError: there is no `safetensors`, as which the `state_dict` is written.
        ModelError: it has no tensors, or PyTorch refuses what was made of them. Its values are then what they were.
        RefusedError: the match is not complete.
        CkptkitError: the checkpoint cannot be read.
    """
    try:
        from safetensors.torch import load_file, save_file
    except ImportError as error:
        raise MissingDependencyError("PyTorch's modules need safetensors", hint="Install ckptkit[torch].") from error
    held = module.state_dict()
    if not held:
        raise ModelError("the module has no parameters", key=type(module).__name__)
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        template, filled = str(Path(folder) / "template.safetensors"), str(Path(folder) / "filled.safetensors")
        # Tied tensors are written once for each of their names, as `state_dict` lists them.
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in held.items()}, template)
        try:
            done = move(template, filled)
        except RefusedError as error:
            # The template is nothing that the caller knows of.
            error.problem = error.problem.replace(template, "the model")
            raise
        try:
            fill(module, load_file(filled))
        except Exception as error:
            raise ModelError(f"the model cannot load its own weights: {describe(error)}") from error
    return done
