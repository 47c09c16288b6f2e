"""Which tensors a module holds, and how: as parameters and buffers, and as whatever else an attribute can lead to."""

from __future__ import annotations

import collections
import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Beyond this many objects the model is no model any more.
_MOST_OBJECTS = 200_000

_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), type, types.ModuleType, range)

# What `nn.Module` keeps for itself (torch/nn/modules/module.py, `__init__`).
_OWN = frozenset({
    "_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_is_full_backward_hook",
    "_load_state_dict_post_hooks", "_load_state_dict_pre_hooks", "_non_persistent_buffers_set", "_state_dict_hooks",
    "_state_dict_pre_hooks",
})  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A tensor and how it is held.

    Attributes:
        tensor: itself.
        path: as Python writes it where it can (`model.blocks[0].weight`).
        links: what lies on the way beside attributes: `list`, `dict`, `tuple`, `set`, `deque`, `object`, `closure`.
        role: `parameter`, `buffer` (saved), `non-persistent` (a buffer that is not), or `attribute`.
        listed: whether the model lists it among its parameters or buffers.
    """

    tensor: Any
    path: str
    links: tuple[str, ...]
    role: str
    listed: bool


def held_by(model: Any) -> list[Held]:
    """Every tensor that can be reached from `model`, each once, by the shortest way; what it lists itself comes first."""
    import torch

    found: dict[int, Held] = {}
    listed = _listed(model)
    for path, name, module in _owned(model):
        parameters, buffers = module._parameters, module._buffers
        tensor = parameters.get(name, buffers.get(name))
        if tensor is None or id(tensor) in found:
            continue
        lasting = name not in module._non_persistent_buffers_set
        role = "parameter" if name in parameters else "buffer" if lasting else "non-persistent"
        found[id(tensor)] = Held(tensor, path, (), role, listed=True)
    queue: collections.deque[tuple[Any, str, tuple[str, ...]]] = collections.deque([(model, "model", ())])
    seen: set[int] = set()
    kept: list[Any] = []  # objects made on the way must not give their identity to others
    while queue and len(seen) < _MOST_OBJECTS:
        thing, path, links = queue.popleft()
        if id(thing) in seen or isinstance(thing, _ATOMS):
            continue
        seen.add(id(thing))
        kept.append(thing)
        if isinstance(thing, torch.Tensor):
            role = "parameter" if isinstance(thing, torch.nn.Parameter) else "attribute"
            found.setdefault(id(thing), Held(thing, path, links, role, id(thing) in listed))
            continue
        queue.extend((child, path + step, (*links, *link)) for step, link, child in _links(thing))
    return list(found.values())


def _listed(model: Any) -> set[int]:
    return {id(tensor) for tensor in (*model.parameters(), *model.buffers())}


def _owned(model: Any) -> Iterator[tuple[str, str, Any]]:
    """(path, name, module) of every parameter and buffer that a module inside `model` has registered."""
    for prefix, module in model.named_modules(remove_duplicate=True):
        for name in (*module._parameters, *module._buffers):
            yield ".".join(filter(None, ("model", prefix, name))), name, module


def _links(thing: Any) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(what is written, link or nothing for an attribute of a module, held object)."""
    import torch

    if isinstance(thing, torch.nn.Module):
        for table in (thing._parameters, thing._buffers, thing._modules):
            yield from ((f".{name}", (), value) for name, value in list(table.items()))
        own = (item for item in list(vars(thing).items()) if item[0] not in _OWN)
        yield from (
            (f".{name}", (), value) for name, value in own if name not in ("_parameters", "_buffers", "_modules")
        )
    elif isinstance(thing, Mapping):
        yield from ((f"[{key!r}]", ("dict",), value) for key, value in list(thing.items()))
    elif isinstance(thing, list | tuple | collections.deque):
        link = "list" if isinstance(thing, list) else "tuple" if isinstance(thing, tuple) else "deque"
        yield from ((f"[{number}]", (link,), value) for number, value in enumerate(list(thing)))
    elif isinstance(thing, set | frozenset):
        yield from (("{…}", ("set",), value) for value in list(thing))
    elif isinstance(thing, functools.partial):
        yield from (("(…)", ("closure",), value) for value in (thing.func, *thing.args, *thing.keywords.values()))
    elif isinstance(thing, types.MethodType):
        yield "", (), thing.__self__
    elif isinstance(thing, types.FunctionType):
        yield from _inside(thing)
    elif not _of_library(thing):
        yield from ((f".{name}", ("object",), value) for name, value in list(getattr(thing, "__dict__", {}).items()))


def _inside(function: types.FunctionType) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"<{name}>", ("closure",), cell.cell_contents
        except ValueError:  # a cell that is not filled yet
            continue
    yield from (("(…)", ("closure",), value) for value in function.__defaults__ or ())


def _of_library(thing: Any) -> bool:
    return type(thing).__module__.partition(".")[0] in ("torch", "builtins", "numpy", "threading", "weakref", "typing")
