"""Small PyTorch modules that lose a tensor, or seem to: `name -> (module, how to find the tensor, finding)`."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

FINE = "fine"


class Trap(NamedTuple):
    """A trap.

    Attributes:
        make: makes the module, or the module and its optimizer.
        find: the tensor that is concerned, after a call.
        kind: the finding, or `FINE`.
        severity: of the finding.
    """

    make: Callable[[], Any]
    find: Callable[[Any], Any]
    kind: str
    severity: str = "error"


def linear(outputs: int = 2) -> Any:
    return nn.Linear(4, outputs, bias=False)


def holding(hold: Callable[[Any, Any], None], use: Callable[[Any], Any]) -> Callable[[], Any]:
    """A module that holds a layer in its own way, beside one that is fine."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = nn.Linear(2, 3)
            hold(self, linear())

        def forward(self, x: Any) -> Any:
            return self.fine(use(self)(x))

    return Model


class Helper:
    def __init__(self, head: Any) -> None:
        self.head = head


def _closure(model: Any, layer: Any) -> None:
    model.function = lambda x: layer(x)


def scaled(register: Callable[[Any], None], change: Callable[[Any], None] = lambda m: None) -> Callable[[], Any]:
    """A module with a tensor `w` of its own."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = nn.Linear(4, 3)
            register(self)

        def forward(self, x: Any) -> Any:
            change(self)
            return self.fine(x * self.w)

    return Model


def _set(name: str, value: Callable[[], Any]) -> Callable[[Any], None]:
    return lambda model: setattr(model, name, value())


def _buffer(value: Callable[[], Any], *, persistent: bool) -> Callable[[Any], None]:
    return lambda model: model.register_buffer("w", value(), persistent=persistent)


class MadeInForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        return self.fine(linear()(x))


class MadeLate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Linear(2, 3)
        self.late: Any = None

    def forward(self, x: Any) -> Any:
        if self.late is None:
            self.late = linear()
        return self.fine(self.late(x))


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lazy = nn.LazyLinear(2, bias=False)

    def forward(self, x: Any) -> Any:
        return self.lazy(x)


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.fine = linear(), nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        return self.fine(self.first(x).detach())


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine, self.spare = nn.Linear(4, 3), linear()

    def forward(self, x: Any) -> Any:
        return self.fine(x)


class Frozen(Unused):
    def __init__(self) -> None:
        super().__init__()
        self.spare.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        return self.fine(x) + self.spare(x).sum()


class Stacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.fine = linear(), nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        return self.fine(self.first(x))


def without_in_optimizer() -> Any:
    model = Stacked()
    return model, torch.optim.Adam(model.fine.parameters())


def all_in_optimizer() -> Any:
    model = Stacked()
    return model, torch.optim.Adam(model.parameters())


def before_the_layer() -> Any:
    model = Stacked()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model.first = linear()
    return model, optimizer


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


class TiedByData(Tied):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(4, 4)
        self.second.weight.data = self.first.weight.data


def _count(model: Any) -> None:
    model.w = model.w + 1


def _count_in_place(model: Any) -> None:
    model.w += 1


def _head(name: str) -> Callable[[Any], Any]:
    return lambda model: eval(f"model.{name}", {"model": model})  # written in this file


TRAPS: Mapping[str, Trap] = {
    "attribute": Trap(holding(lambda m, d: setattr(m, "d", d), lambda m: m.d), _head("d.weight"), FINE),
    "list": Trap(holding(lambda m, d: setattr(m, "ds", [d]), lambda m: m.ds[0]), _head("ds[0].weight"), "untracked"),
    "tuple": Trap(holding(lambda m, d: setattr(m, "ds", (d,)), lambda m: m.ds[0]), _head("ds[0].weight"), "untracked"),
    "dict": Trap(
        holding(lambda m, d: setattr(m, "ds", {"d": d}), lambda m: m.ds["d"]), _head("ds['d'].weight"), "untracked"
    ),
    "deque": Trap(
        holding(lambda m, d: setattr(m, "ds", collections.deque([d])), lambda m: m.ds[0]), _head("ds[0].weight"), "untracked"
    ),
    "mixture": Trap(
        holding(lambda m, d: setattr(m, "ds", [{"heads": [d]}]), lambda m: m.ds[0]["heads"][0]),
        _head("ds[0]['heads'][0].weight"), "untracked",
    ),
    "module list": Trap(
        holding(lambda m, d: setattr(m, "ds", nn.ModuleList([d])), lambda m: m.ds[0]), _head("ds[0].weight"), FINE
    ),
    "module dict": Trap(
        holding(lambda m, d: setattr(m, "ds", nn.ModuleDict({"d": d})), lambda m: m.ds["d"]), _head("ds['d'].weight"), FINE
    ),
    "plain object": Trap(
        holding(lambda m, d: setattr(m, "helper", Helper(d)), lambda m: m.helper.head),
        _head("helper.head.weight"), "untracked",
    ),
    "closure": Trap(
        holding(_closure, lambda m: m.function), lambda m: m.function.__closure__[0].cell_contents.weight, "untracked"
    ),
    "parameter list": Trap(
        scaled(lambda m: setattr(m, "ws", [nn.Parameter(torch.rand(4))]), lambda m: vars(m).__setitem__("w", m.ws[0])),
        _head("ws[0]"), "untracked",
    ),
    "parameter": Trap(scaled(_set("w", lambda: nn.Parameter(torch.rand(4)))), _head("w"), FINE),
    "random tensor": Trap(scaled(_set("w", lambda: torch.rand(4))), _head("w"), "untracked"),
    "trained tensor": Trap(scaled(_set("w", lambda: torch.rand(4, requires_grad=True))), _head("w"), "untracked"),
    "constant tensor": Trap(scaled(_set("w", lambda: torch.ones(4))), _head("w"), "untracked", "warning"),
    "counting tensor": Trap(scaled(_set("w", lambda: torch.ones(4)), _count_in_place), _head("w"), "untracked"),
    "buffer": Trap(scaled(_buffer(lambda: torch.rand(4), persistent=True)), _head("w"), FINE),
    "constant that is not persistent": Trap(scaled(_buffer(lambda: torch.ones(4), persistent=False)), _head("w"), FINE),
    "random that is not persistent": Trap(scaled(_buffer(lambda: torch.rand(4), persistent=False)), _head("w"), "lost"),
    "counter that is not persistent": Trap(
        scaled(_buffer(lambda: torch.ones(4), persistent=False), _count_in_place), _head("w"), "lost"
    ),
    "made late": Trap(MadeLate, _head("late.weight"), "lost"),
    "lazy": Trap(Lazy, _head("lazy.weight"), FINE),
    "detached": Trap(Detached, _head("first.weight"), "untrained", "warning"),
    "unused": Trap(Unused, _head("spare.weight"), "orphan", "warning"),
    "frozen": Trap(Frozen, _head("spare.weight"), FINE),
    "not in the optimizer": Trap(without_in_optimizer, _head("first.weight"), "stale-optimizer"),
    "replaced after the optimizer": Trap(before_the_layer, _head("first.weight"), "stale-optimizer"),
    "in the optimizer": Trap(all_in_optimizer, _head("first.weight"), FINE),
    "tied": Trap(Tied, _head("second.weight"), FINE),
    "tied by data": Trap(TiedByData, _head("second.weight"), "shared", "warning"),
}  # fmt: skip
