"""Weights into a PyTorch module by PyTorch's own loader, every tensor of it or none."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ckptkit.errors import ModelError
from ckptkit.references import describe
from ckptkit.verification.native import Loading, NotNativeError

if TYPE_CHECKING:
    from ckptkit.model import Contents

_STRICT = "torch load_state_dict(strict=True)"

# Characters of PyTorch's list of what is missing, unexpected, or of another shape.
_LONGEST = 300

# Where checkpoints keep the state dict of a model among other things.
_WITHIN = ("state_dict", "model_state_dict", "model", "net", "module")


def load_torch(module: Any, contents: Contents, path: str) -> Loading:
    """Load a file of PyTorch, or a safetensors file, by `load_state_dict(strict=True)`.

    Args:
        module: a `torch.nn.Module`.
        contents: what the file's format module found.
        path: where it is.

    Raises:
        NotNativeError: the file is of another kind, or is not that of this module; the module holds what it did before.
    """
    if contents.format == "safetensors":
        held, words = _read_safetensors(path), f"{_STRICT} of a safetensors file"
    elif contents.format.startswith(("torch", "pt")):
        held, words = _read_pickle(path), f"torch.load(weights_only=True) and {_STRICT}"
    else:
        raise NotNativeError([f"PyTorch has no loader for {contents.format}"])
    try:
        fill(module, held)
    except Exception as error:
        raise NotNativeError([f"{words}: {_line(error)}"]) from error
    return Loading(words)


def _line(error: Exception) -> str:
    """What PyTorch says on many lines, on one."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def fill(module: Any, held: Mapping[str, Any]) -> None:
    """`load_state_dict(strict=True)`, all or nothing: PyTorch's own copies what fits before it raises."""
    before = copy.deepcopy(module.state_dict())
    try:
        module.load_state_dict(held, strict=True)
    except Exception:
        module.load_state_dict(before, strict=True)
        raise


def _read_safetensors(path: str) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    found: Mapping[str, Any] = load_file(path)
    return found


def _read_pickle(path: str) -> Mapping[str, Any]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise NotNativeError([f"torch.load(weights_only=True): {describe(error)}"]) from error
    for word in _WITHIN:
        if isinstance(found, Mapping) and isinstance(found.get(word), Mapping):
            found = found[word]
            break
    if not isinstance(found, Mapping):
        raise ModelError("the file holds no state dict", path=path, found=type(found).__name__)
    return found
