"""Who holds a variable: the path from the model through attributes, containers, closures and globals.

The walk is a shortest-path search with a visited set, so cycles and depth cannot harm it. A step through a public
attribute costs least and one through a framework's own bookkeeping most: of several ways to a variable, the one that
the user wrote is told.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import types
from typing import TYPE_CHECKING, Any

from ckptkit.auditing.links import BOOKKEEPING, Hop, Link, bookkeeping_names, is_proxy, links_of
from ckptkit.frameworks import framework_of, is_variable, raw

if TYPE_CHECKING:
    from collections.abc import Callable

# Beyond this many objects the model is no model any more, and "nobody found" is the honest answer.
_MOST_OBJECTS = 200_000

_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), types.ModuleType, types.FrameType, range)


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Where a variable is held.

    Attributes:
        path: as Python writes it where it can (`model.block.w`, `model.heads{set}.kernel`).
        steps: every link from the model to the variable.
        owner: class name of the innermost layer, module or object on the path.
        bookkeeping: only a framework's own bookkeeping leads to it.
        foreign: (container's framework, framework of the layer inside it) at the first change of framework, or None.
    """

    path: str
    steps: tuple[Hop, ...]
    owner: str
    bookkeeping: bool
    foreign: tuple[str, str] | None

    @property
    def links(self) -> tuple[Link, ...]:
        """The kinds of link in order."""
        return tuple(step.link for step in self.steps)


@dataclasses.dataclass(frozen=True, slots=True)
class _Visit:
    thing: Any
    parent: _Visit | None
    step: Hop | None
    framework: str | None
    cost: int


def find_holders(model: Any, name: str = "model") -> dict[int, tuple[Any, Holder]]:
    """Every variable that can be reached from `model`: id -> (`tf.Variable`, its cheapest holder).

    Args:
        model: where the walk begins.
        name: what the paths begin with.
    """
    return {key: (variable, _holder(visit, name)) for key, (variable, visit) in _walk(model).items()}


def find_layers(model: Any) -> list[tuple[Any, Holder]]:
    """Every layer and module that can be reached from `model`, with its cheapest holder; the model itself first."""
    found: list[tuple[Any, Holder]] = []
    _walk(model, lambda visit: found.append((visit.thing, _holder(visit, "model"))))
    return found


def _walk(model: Any, on_layer: Callable[[_Visit], None] | None = None) -> dict[int, tuple[Any, _Visit]]:
    names = bookkeeping_names()
    found: dict[int, tuple[Any, _Visit]] = {}
    kept: dict[int, Any] = {}  # what was visited stays alive, or a new object could take an old identity
    order = itertools.count()
    queue: list[tuple[int, int, _Visit]] = [(0, next(order), _Visit(model, None, None, framework_of(model), 0))]
    while queue and len(kept) < _MOST_OBJECTS:
        _, _, visit = heapq.heappop(queue)
        thing = visit.thing
        if id(thing) in kept:
            continue
        kept[id(thing)] = thing
        # Asked of the class: an object's own attributes may be computed, and raise.
        if hasattr(type(thing), "assign") and is_variable(variable := raw(thing)):
            found.setdefault(id(variable), (variable, visit))
            continue
        if on_layer is not None and framework_of(thing) is not None:
            on_layer(visit)
        for price, step, child in links_of(thing, visit.framework, names):
            if not issubclass(type(child), _ATOMS) and id(child) not in kept and not is_proxy(child):
                cost = visit.cost + price
                reached = _Visit(child, visit, step, framework_of(child) or visit.framework, cost)
                heapq.heappush(queue, (cost, next(order), reached))
    return found


def _holder(visit: _Visit, name: str) -> Holder:
    steps: list[Hop] = []
    frameworks: list[str] = []
    owner = ""
    at: _Visit | None = visit
    while at is not None:
        if at is not visit and not owner and _is_owner(at.thing):
            owner = type(at.thing).__name__
        framework = framework_of(at.thing)
        if framework is not None:
            frameworks.append(framework)
        if at.step is not None:
            steps.append(at.step)
        at = at.parent
    frameworks.reverse()
    steps.reverse()
    changes = [(outer, inner) for outer, inner in itertools.pairwise(frameworks) if _family(outer) != _family(inner)]
    text = "".join(step.text for step in steps)
    return Holder(f"{name}{text}", tuple(steps), owner, visit.cost >= BOOKKEEPING, changes[0] if changes else None)


def _family(framework: str) -> str:
    """A Sonnet module is a `tf.Module` and takes any other."""
    return "tf.Module" if framework == "sonnet" else framework


def _is_owner(thing: Any) -> bool:
    return framework_of(thing) is not None or (hasattr(thing, "__dict__") and not isinstance(thing, types.FunctionType))
