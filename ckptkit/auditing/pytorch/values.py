"""Values of a module's tensors: kept, marked, compared, put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ckptkit.auditing.pytorch.walk import held_by

# Values that are none of a new module's, small enough to keep every activation open.
_LOW, _HIGH = 0.05, 0.15


def value(tensor: Any) -> Any:
    """A copy of what a tensor holds; empty for one whose shape the first call makes."""
    import torch

    if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
        return torch.zeros(0)
    return tensor.detach().clone()


def equal(a: Any, b: Any) -> bool:
    """Whether two tensors hold the same; what is no number is equal to itself."""
    import torch

    return bool(a.shape == b.shape and a.dtype == b.dtype and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def mark(tensor: Any, number: int) -> None:
    """Give a tensor values of its own."""
    import torch

    if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin) or not tensor.is_floating_point():
        return
    generator = torch.Generator().manual_seed(number + 1)
    with torch.no_grad():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (_HIGH - _LOW) + _LOW)


@contextmanager
def put_back(model: Any) -> Iterator[None]:
    """Leave the module's values, gradients and modes as they were."""
    import torch

    held = held_by(model)
    before = [(item.tensor, value(item.tensor), item.tensor.grad if item.tensor.is_leaf else None) for item in held]
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, kept, gradient in before:
                if kept.shape == tensor.shape and not equal(tensor, kept):
                    tensor.copy_(kept)
                if tensor.is_leaf:
                    tensor.grad = gradient
        for module, mode in modes.items():
            module.training = mode
