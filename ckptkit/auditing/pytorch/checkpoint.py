"""A module against a given file: what it would not find there, and what of it nobody asks for.

Measured as the rest is: PyTorch loads the file's state dict into the module, whose values were overwritten before, and
what kept the overwritten value got none. The file is read by ckptkit, so that any format will do that has the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ckptkit.auditing.findings import Finding
from ckptkit.auditing.pytorch.rules import facts_of
from ckptkit.auditing.pytorch.values import equal, mark, put_back, value
from ckptkit.errors import ModelError
from ckptkit.model import PickledState, read_tensor
from ckptkit.references import user_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.auditing.pytorch.measure import Measured
    from ckptkit.model import Contents, StoredTensor, TensorSource

_MOVE = "It keeps its initial value: load it from elsewhere, or move it with `ckptkit remap`."


def compare(measured: Measured, contents: Contents, source: TensorSource, path: str) -> list[Finding]:
    """The findings of loading a file into the measured module; its values are put back.

    Args:
        measured: the module's measurements.
        contents: what the file holds.
        source: where its bytes are.
        path: as it was typed.

    Raises:
        CkptkitError: a tensor cannot be read.
    """
    own = measured.model.state_dict(keep_vars=True)
    names = {name for name, tensor in own.items() if hasattr(tensor, "shape")}
    scope, held = _state_dict(contents, names)
    fitting = {name: tensor for name, tensor in held.items() if name not in names or _fits(tensor, own[name])}
    with put_back(measured.model):
        for number, item in enumerate(measured.tensors):
            mark(item.tensor, number)
        before = {id(item.tensor): value(item.tensor) for item in measured.tensors}
        problem = _load(measured.model, fitting, source)
        now = {id(item.tensor): value(item.tensor) for item in measured.tensors}
    if problem is None and not names & fitting.keys():
        problem = f"it has none of the module's names, but {', '.join([*held][:3]) or 'no tensor'}"
    where = path if not scope else f"{path} ({scope})"
    if problem is not None:
        advice = f"`ckptkit diff` shows what differs, `ckptkit remap {path} --like …` moves it."
        return [Finding("saver-fails", "error", None, f"{where} cannot be loaded: {problem}.", advice, subject=path)]
    found = []
    called: dict[int, list[str]] = {}
    for name in names:
        called.setdefault(id(own[name]), []).append(name)
    for item in measured.tensors:
        here = called.get(id(item.tensor), [])
        floats = item.tensor.is_floating_point()
        if not here or (any(name in fitting for name in here) and not (floats and _same(item.tensor, before, now))):
            continue
        other = next((held[name] for name in here if name in held and name not in fitting), None)
        why = f": there it is {list(other.shape)}, here {list(item.tensor.shape)}" if other is not None else ""
        facts = facts_of(item)
        text = f"{facts.held_at or facts.variable} gets no value from {where}{why}."
        found.append(Finding("not-in-checkpoint", "error", facts, text, _MOVE))
    found += [
        Finding(
            "not-in-model", "warning", None, f"{name} is in {where} and the module never asks for it.",
            "The module lacks the layer, or has it under another name: `ckptkit remap` moves it.", subject=name,
        )
        for name in held if name not in own
    ]  # fmt: skip
    return found


def _same(tensor: Any, before: Mapping[int, Any], now: Mapping[int, Any]) -> bool:
    return bool(tensor.numel()) and equal(before[id(tensor)], now[id(tensor)])


def _state_dict(contents: Contents, names: set[str]) -> tuple[str, dict[str, StoredTensor]]:
    """The dictionary of the file that has most of `names`, and where it lies."""
    structure = contents.structure
    scopes: dict[str, dict[str, StoredTensor]] = {}
    for tensor in contents.tensors:
        *around, name = structure.places[tensor.key] if isinstance(structure, PickledState) else (tensor.key,)
        scopes.setdefault("/".join(around), {})[name] = tensor
    return max(scopes.items(), key=lambda item: len(names & item[1].keys()), default=("", {}))


def _fits(tensor: StoredTensor, own: Any) -> bool:
    return tensor.problem is None and tensor.shape == tuple(own.shape)


def _load(model: Any, held: Mapping[str, StoredTensor], source: TensorSource) -> str | None:
    """Why PyTorch does not take what is there; None where it does."""
    state = {name: _tensor(read_tensor(source, tensor)) for name, tensor in held.items() if tensor.problem is None}
    try:
        with user_code("load_state_dict"):
            model.load_state_dict(state, strict=False)
    except ModelError as error:
        return " ".join(str(error.__cause__).split())
    return None


def _tensor(array: np.ndarray) -> Any:
    """An array as a tensor, also of a dtype that NumPy has from elsewhere."""
    import torch

    raw = np.frombuffer(bytearray(array.tobytes()), np.uint8)
    dtype = getattr(torch, array.dtype.name)
    return torch.from_numpy(raw).view(dtype).reshape(array.shape) if raw.size else torch.empty(array.shape, dtype=dtype)
