"""What each module of a live PyTorch model is given and gives, by forward hooks; and its settings in Keras's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ckptkit.verification.calls import Call

if TYPE_CHECKING:
    import numpy as np

# Modules whose images have their channels first, by how their classes' names begin.
_FIRST = ("Conv", "LazyConv", "BatchNorm", "LazyBatchNorm", "InstanceNorm", "GroupNorm", "PReLU", "SyncBatchNorm")


def record_torch(model: Any, call: Callable[[], object]) -> list[Call]:
    """The first call of each module that owns parameters, in the order of finishing; images with the channels last."""
    calls: dict[int, Call] = {}
    names = {id(module): name for name, module in model.named_modules()}

    def hook(module: Any, given: tuple[Any, ...], made: Any) -> None:
        first = _first(made)
        if id(module) in calls or first is None:
            return
        word = type(module).__name__
        arrived = _first(given)
        calls[id(module)] = Call(
            module, names.get(id(module), word), word,
            None if arrived is None else _last(word, arrived), _last(word, first),
        )  # fmt: skip

    handles = [module.register_forward_hook(hook) for module in model.modules() if _owns(module)]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return list(calls.values())


def own_tensors(module: Any) -> list[tuple[str, np.ndarray]]:
    """(name, value) of what the module itself holds, without what is inside other modules."""
    found = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return [(name, value.detach().float().numpy()) for name, value in found.items() if value is not None]


def settings_of(module: Any) -> Mapping[str, Any]:
    """The module's settings under the names that Keras's configurations have for them."""
    words = {"epsilon": "eps", "strides": "stride", "dilation_rate": "dilation"}
    found: dict[str, Any] = {word: getattr(module, name) for word, name in words.items() if hasattr(module, name)}
    if isinstance(getattr(module, "momentum", None), float):
        found["momentum"] = 1 - module.momentum  # of the old value in Keras, of the new one in PyTorch
    if hasattr(module, "padding") and hasattr(module, "kernel_size"):
        found["padding"] = _padding(module)
    return found


def _padding(module: Any) -> str:
    """What Keras calls this padding, where it has a word for it."""
    if isinstance(module.padding, str):
        return str(module.padding)
    sizes = [
        (pad, width, step, gap)
        for pad, width, step, gap in zip(
            *map(_several, (module.padding, module.kernel_size, module.stride, module.dilation)), strict=False
        )
    ]
    if all(pad == 0 for pad, *_ in sizes):
        return "valid"
    if all(2 * pad == gap * (width - 1) and step == 1 for pad, width, step, gap in sizes):
        return "same"
    return f"{'x'.join(str(pad) for pad, *_ in sizes)} at both ends"


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,) * 3


def _owns(module: Any) -> bool:
    """Whether the module holds tensors that none of the modules inside it holds."""
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))


def _first(tree: Any) -> Any:
    import torch

    if isinstance(tree, torch.Tensor):
        return tree.detach()
    items = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list | tuple) else ()
    return next((found for item in items if (found := _first(item)) is not None), None)


def _last(word: str, value: Any) -> np.ndarray:
    import numpy as np

    array: np.ndarray = (value.float() if value.is_floating_point() else value).cpu().numpy().copy()
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if word.startswith(_FIRST) and array.ndim > 2 else array
