"""Which variables of an object graph belong to an optimizer, and to which weight each slot belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptkit.canonical.graph_optimizers import Optimizers, Variables, doubtful_in, variables_of
from ckptkit.canonical.graph_walk import Walk
from ckptkit.canonical.naming import public
from ckptkit.canonical.slots import find_owner, underscored


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: the node of its weight, if known, and what tells it from other slots of that weight."""

    weight: int | None
    word: str


@dataclass(frozen=True, slots=True)
class GraphSlots:
    """What belongs to optimizers.

    Attributes:
        slots: node of the variable -> slot.
        counters: nodes of optimizers' other variables (iterations, learning rate).
        trained: nodes of the trained weights, in the order in which an optimizer lists them.
        doubtful: nodes of weights that may be an optimizer's.
    """

    slots: Mapping[int, Slot] = field(default_factory=dict)
    counters: frozenset[int] = frozenset()
    trained: tuple[int, ...] = ()
    doubtful: frozenset[int] = frozenset()


def find_slots(walked: Walk, full_names: Mapping[int, str], variables: Variables) -> GraphSlots:
    """Slots as the graph lists them, by the lists of Keras 3's optimizers, and by the variables' own names.

    Args:
        walked: the walk over the graph.
        full_names: node of each variable -> the name it was made with.
        variables: node of each variable -> its tensor.
    """
    nodes = walked.nodes
    slots: dict[int, Slot] = {}
    for node in nodes:
        for slot in node.slots:
            if slot.slot in full_names and slot.original in full_names:
                slots[slot.slot] = Slot(slot.original, slot.slot_name or "slot")
            elif slot.slot in full_names:
                slots.setdefault(slot.slot, Slot(None, slot.slot_name or "slot"))
    owned: dict[int, str] = {}
    trained: dict[int, None] = {}
    doubtful: set[int] = set()
    optimizers = Optimizers(walked, variables, full_names)
    for place in walked.order:
        if not optimizers.has(place):
            doubtful.update(doubtful_in(place, walked, variables))
            continue
        children = dict(nodes[place].children)
        listing = _has(children, walked)
        weights = [child for _, child in nodes[children["_trainable_variables"]].children] if listing else []
        trained.update(dict.fromkeys(weights))
        for name, child in nodes[place].children:
            if name == "_trainable_variables" or not 0 <= child < len(nodes):
                continue
            owned.setdefault(child, name)
            for index, variable in enumerate(listed := variables_of(child, walked)):
                owned.setdefault(variable, name)
                if name != "_variables" and len(listed) == len(weights) and variable in full_names:
                    slots.setdefault(variable, Slot(weights[index], public(name)))
    _by_name(owned.keys() - trained.keys(), slots, full_names)
    counters = frozenset(node for node in owned if node in full_names and node not in slots and node not in trained)
    return GraphSlots(slots, counters, tuple(trained), frozenset(doubtful))


def _has(children: Mapping[str, int], walked: Walk) -> bool:
    return 0 <= children.get("_trainable_variables", -1) < len(walked.nodes)


def _by_name(owned: set[int], slots: dict[int, Slot], full_names: Mapping[int, str]) -> None:
    """Find the weight of an optimizer's other variables by name: `Adam/m/dense/bias`, `adam/dense_kernel_momentum`."""
    candidates: dict[str, str] = {}
    for node, name in full_names.items():
        if name and node not in owned:
            candidates.setdefault(name, str(node))
    names = {**underscored(candidates.items()), **candidates}
    for node in sorted(owned):
        full_name = full_names.get(node)
        owner = find_owner(full_name, names) if full_name else None
        if owner is not None and (
            node not in slots or slots[node].weight is None or owner[0] == str(slots[node].weight)
        ):
            slots[node] = Slot(int(owner[0]), owner[1])
