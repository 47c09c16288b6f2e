"""What a call uses and makes: tensors that go into operations and came from nowhere else, and where they were made."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from unittest import mock

from ckptkit.auditing.tracking import is_user_file


@dataclass(frozen=True, slots=True)
class Site:
    """Where a tensor was made: `file:line`, the user's function, and what was called there."""

    place: str
    method: str
    made_by: str


@dataclass(slots=True)
class Sites:
    """Where parameters and tensors were made, by `id`; they are kept, so that none gives its identity to another."""

    found: dict[int, Site] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)

    def note(self, tensor: Any, made_by: str) -> None:
        """Remember the line of the user's code that is running now."""
        site = _site(made_by)
        if site is not None and id(tensor) not in self.found:
            self.found[id(tensor)] = site
            self.kept.append(tensor)


@contextmanager
def noting(sites: Sites) -> Iterator[None]:
    """Note where parameters, buffers and other tensors are made meanwhile."""
    import torch
    from torch.overrides import TorchFunctionMode

    original = torch.nn.Parameter.__new__

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(cls, *args, **kwargs)
        sites.note(made, "nn.Parameter")
        return made

    class Noting(TorchFunctionMode):  # type: ignore[misc]  # no types where PyTorch is not installed
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and not any(True for _ in tensors_in((args, kwargs))):
                sites.note(made, f"torch.{getattr(func, '__name__', 'Tensor')}")
            return made

    with mock.patch.object(torch.nn.Parameter, "__new__", new), Noting():
        yield


@dataclass(slots=True)
class Used:
    """What calls used.

    Attributes:
        tensors: by `id`: what went into an operation, and was neither given nor the result of another one.
        names: what is read of a tensor without its values (`shape`) does not count.
    """

    tensors: dict[int, Any] = field(default_factory=dict)


@contextmanager
def watching(used: Used, given: Any) -> Iterator[None]:
    """Note what is used meanwhile by operations on the tensors of `given`."""
    from torch.overrides import TorchFunctionMode

    known: dict[int, Any] = {id(tensor): tensor for tensor in tensors_in(given)}

    class Watching(TorchFunctionMode):  # type: ignore[misc]  # no types where PyTorch is not installed
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            made = list(tensors_in(result))
            if made or getattr(func, "__name__", "") != "__get__":
                for tensor in tensors_in((args, kwargs)):
                    if id(tensor) not in known:
                        used.tensors.setdefault(id(tensor), tensor)
            # What an operation gives back of its own operands (`x += 1`) stays what it was.
            known.update((id(tensor), tensor) for tensor in made if id(tensor) not in used.tensors)
            return result

    with Watching():
        yield


def tensors_in(tree: Any) -> Iterator[Any]:
    """Every tensor in nested lists, tuples and dictionaries."""
    import torch

    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors_in(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors_in(value)


def _site(made_by: str) -> Site | None:
    """The innermost line of the user's code, and the module of PyTorch that it made there, if it made one."""
    import torch

    frame: FrameType | None = sys._getframe(2)
    word = made_by
    while frame is not None:
        file = frame.f_code.co_filename
        if is_user_file(file) and not file.endswith(("auditing/pytorch/watch.py", "unittest/mock.py")):
            name = file.rpartition("/")[2]
            return Site(f"{name}:{frame.f_lineno}", frame.f_code.co_name, word)
        own = frame.f_locals.get("self")
        if frame.f_code.co_name == "__init__" and isinstance(own, torch.nn.Module):
            word = type(own).__name__
        frame = frame.f_back
    return None
