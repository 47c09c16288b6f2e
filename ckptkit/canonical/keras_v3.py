"""Keras 3's layout: groups of numbered `vars`, read with the architecture, the stored names or the groups' own words.

`layers/dense_1` is the second Dense of `model.layers`, not the layer called `dense_1`. So the architecture
names it if it is there, else the `name` attribute of the group; the group's own name is the last resort.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.canonical.draft import Aside, Draft, LayerFacts, Member
from ckptkit.canonical.fit import Aligner, kinds, kinds_by_snake
from ckptkit.canonical.naming import clipped, natural_key, public
from ckptkit.canonical.slots import deal_by_shape, slot_names
from ckptkit.canonical.wrapped import PROJECTIONS, Scope, kind_of_word, modern
from ckptkit.conventions.layout import Shape
from ckptkit.model import Contents, KerasV3, OrderSource, StoredTensor, VarsGroup

# Groups that hold the layers of a model (Keras 2.13 and 2.14; since 2.15), and that add nothing to a layer's name.
_CONTAINERS = frozenset({"_layer_checkpoint_dependencies", "layers"})

# Attributes of wrappers and recurrent layers under which one layer lies that a person takes for the wrapper itself.
_TRANSPARENT = frozenset({"cell", "layer"})

# Groups beside the layers that hold what training keeps (keras/src/trainers/trainer.py).
_STATE_ROOTS = frozenset(
    {"metrics", "_metrics", "compile_metrics", "_compile_metrics", "_loss_tracker", "loss_tracker"}
)

# Within a layer Keras walks attributes by the alphabet; these were built in this order instead.
_PART_ORDER = {name: place for place, name in enumerate(("forward_layer", "backward_layer", *PROJECTIONS))}


# Groups deeper than this are nobody's model, and would take quadratic time to walk through.
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a group lies.

    Attributes:
        path: components of the canonical path.
        node: the layer of the architecture that it is, or in which it lies.
        is_node: whether it is `node` itself or something inside.
        kind: Keras's word, or None.
    """

    path: Scope
    node: Node | None
    is_node: bool
    kind: str | None


def draft_v3(contents: Contents, layout: KerasV3) -> Draft:
    """Layers of a `.weights.h5`, sharded weights or `.keras`, in the order of the architecture or of writing."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    dialects = ("keras2", "keras3") if (layout.keras_version or "").startswith("2.") else ("keras3", "keras2")
    root = parse_architecture(layout.config)
    groups, source, notes = _ordered(layout.groups, root is not None)
    places = _Places(groups, root, dialects)
    aligner = Aligner(dialects)
    facts: dict[str, LayerFacts] = {}
    members: list[tuple[Node | None, Member]] = []
    asides: list[Aside] = []
    optimizer: list[StoredTensor] = []
    optimizer_name = _optimizer_class(layout)
    for group in groups:
        first = group.path.partition("/")[0]
        found = [tensors[key] for key in group.keys if key in tensors]
        if first in ("optimizer", "_optimizer"):
            optimizer += found
            optimizer_name = optimizer_name or group.name
        elif first in _STATE_ROOTS or _is_seed(group.path):
            name = "/".join((*places[group.path].path, "vars")) if _is_seed(group.path) else group.path
            asides += [Aside(tensor.key, f"{name}/{number}", "state") for number, tensor in enumerate(found)]
        elif found:
            place = places[group.path]
            layer = "/".join(place.path) or group.name or "model"
            config = place.node.config if place.node is not None and place.is_node else {}
            roles = aligner.align([tensor.shape for tensor in found], place.kind, config)
            facts.setdefault(layer, LayerFacts(place.kind, place.node.calls if place.node else 1, config or None))
            for number, (tensor, native) in enumerate(zip(found, roles, strict=True)):
                role = native.roles[0] if native and native.roles else None
                word = native.suffix if native else f"vars/{number}"
                members.append((place.node, Member(tensor.key, layer, word, role)))
    if root is not None:
        order = {id(node): number for number, node in enumerate(preorder(root))}
        members.sort(key=lambda item: order.get(id(item[0]), len(order)))
    elif not deal_by_shape(_slots(optimizer), _trained([member for _, member in members], tensors), side_by_side=True):
        members = _as_optimized(members, optimizer, tensors)
    kept = tuple(member for _, member in members)
    return Draft(
        members=kept,
        asides=(*asides, *_optimizer(optimizer, optimizer_name, kept, tensors)),
        order_source=source,
        dialects=dialects,
        facts=facts,
        weightless=_weightless(root, members),
        notes=notes,
    )


def _optimizer_class(layout: KerasV3) -> str | None:
    """Class of the optimizer that an archive's configuration names."""
    compiled = (layout.config or {}).get("compile_config")
    optimizer = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    name = optimizer.get("class_name") if isinstance(optimizer, Mapping) else optimizer
    return name if isinstance(name, str) else None


def _ordered(groups: Sequence[VarsGroup], has_config: bool) -> tuple[list[VarsGroup], OrderSource, tuple[str, ...]]:
    """Groups in the order of creation, as far as the file tells it, and where the order came from."""
    if all(group.address is not None for group in groups):
        ordered = sorted(groups, key=lambda group: group.address or 0)
        source: OrderSource = "file-layout"
    else:
        ordered = sorted(groups, key=lambda group: natural_key(group.path))
        source = "natural"
    # What a layer holds follows its first group; attributes of one layer are in the order in which they were built.
    first: dict[str, int] = {}
    parts: dict[str, tuple[str, int]] = {}
    for place, group in enumerate(ordered):
        components = group.path.split("/")
        for depth, component in enumerate(components):
            rank = _PART_ORDER.get(component.lstrip("_"))
            if rank is not None:
                parts[group.path] = "/".join(components[:depth]), rank
                first.setdefault(parts[group.path][0], place)
                break
        first.setdefault(group.path, place)

    def key(item: tuple[int, VarsGroup]) -> tuple[int, int, int]:
        place, group = item
        owner, rank = parts.get(group.path, (group.path, -1))
        return first[owner], rank, place

    ordered = [group for _, group in sorted(enumerate(ordered), key=key)]
    return ordered, "config" if has_config else source, ()


class _Places:
    """Canonical path and layer of each group; every prefix is worked out once."""

    def __init__(self, groups: Sequence[VarsGroup], root: Node | None, dialects: tuple[str, ...]) -> None:
        self._names = {group.path: clipped(group.name) for group in groups if group.name}
        self._full = {group.path for group in groups if group.keys}
        self._words = kinds(dialects)
        self._snake = kinds_by_snake(dialects)
        self._groups: dict[int, dict[str, Node]] = {}
        self._known: dict[str, _Place] = {"": _Place((), root, root is not None, None)}

    def __getitem__(self, path: str) -> _Place:
        if path.count("/") > _DEEPEST:
            return _Place((path,), None, False, None)
        missing = []
        at = path
        while at not in self._known:
            missing.append(at)
            at = at.rpartition("/")[0]
        for prefix in reversed(missing):
            parent, _, component = prefix.rpartition("/")
            self._known[prefix] = self._below(self._known[parent], parent, prefix, component)
        return self._known[path]

    def _below(self, above: _Place, parent: str, path: str, component: str) -> _Place:
        if component in _CONTAINERS:
            return above
        node = self._child(above, component)
        if node is not None:
            if component in _TRANSPARENT and parent not in self._full:
                # A cell's class says less than that of its layer (`LSTMCell`), a wrapper's less than what it wraps.
                kind = above.kind if component == "cell" and above.kind in self._words else None
                return _Place(above.path, node, True, kind or modern(node.class_name, self._words))
            kind = modern(node.class_name, self._words)
            return _Place((*above.path, node.name), node, True, kind)
        name = self._names.get(path)
        attribute = public(component)
        kind = kind_of_word(name or attribute, self._snake) or kind_of_word(component, self._snake)
        if attribute in _TRANSPARENT and parent not in self._full and above.path:
            return _Place(above.path, above.node, above.is_node, above.kind or kind)
        if attribute in PROJECTIONS:
            return _Place((*above.path, name or PROJECTIONS[attribute]), above.node, False, "EinsumDense")
        return _Place((*above.path, name or attribute), above.node, False, kind)

    def _child(self, above: _Place, component: str) -> Node | None:
        """The layer of the architecture that `component` below `above` is."""
        node = above.node
        if node is None or not above.is_node:
            return None
        if component in node.parts:
            return node.parts[component]
        if id(node) not in self._groups:
            self._groups[id(node)] = node.group_names()
        return self._groups[id(node)].get(component)


def _is_seed(path: str) -> bool:
    return path.rpartition("/")[2].startswith(("seed_generator", "_seed_generator", "_random_generator"))


def _optimizer(
    found: Sequence[StoredTensor], name: str | None, members: Sequence[Member], tensors: dict[str, StoredTensor]
) -> list[Aside]:
    """Keras 3 keeps the iterations, the learning rate where it is a variable, then the slots of each trained weight."""
    trained = _trained(members, tensors)
    # Scalars among the weights have scalar slots; the two counters come first.
    dealt = deal_by_shape(_slots(found), trained, side_by_side=True) or deal_by_shape(
        found[2:], trained, side_by_side=True
    )
    words = slot_names(name, len(dealt) // len(trained)) if dealt else ()
    asides = []
    for number, tensor in enumerate(found):
        if tensor.key in dealt:
            weight, slot = dealt[tensor.key]
            asides.append(Aside(tensor.key, words[slot], "slot", weight))
        elif tensor.shape:
            asides.append(Aside(tensor.key, f"optimizer/{number}", "slot"))
        else:
            word = "iterations" if number == 0 else "learning_rate" if number == 1 else str(number)
            asides.append(Aside(tensor.key, f"optimizer/{word}", "state"))
    return asides


def _trained(members: Sequence[Member], tensors: dict[str, StoredTensor]) -> list[StoredTensor]:
    return [tensors[member.key] for member in members if member.role not in ("moving_mean", "moving_variance")]


def _slots(found: Sequence[StoredTensor]) -> list[StoredTensor]:
    return [tensor for tensor in found if tensor.shape]


def _as_optimized(
    members: list[tuple[Node | None, Member]], optimizer: Sequence[StoredTensor], tensors: dict[str, StoredTensor]
) -> list[tuple[Node | None, Member]]:
    """Layers in the order of their slots, where the optimizer contradicts the file's layout.

    A file whose parts were written anew keeps the optimizer's numbering, which is that of the model's weights. The
    first layer, in the file's order, whose trained shapes come next is taken; if none does, the file's order stays.
    """
    slots = [tensor.shape for tensor in _slots(optimizer)]
    trained = [tensor.shape for tensor in _trained([member for _, member in members], tensors)]
    if not trained or not slots or len(slots) % len(trained):
        return members
    order = slots[:: len(slots) // len(trained)]
    layers: dict[str, list[tuple[Node | None, Member]]] = {}
    for item in members:
        layers.setdefault(item[1].layer, []).append(item)
    waiting: dict[tuple[Shape, ...], deque[str]] = {}
    for layer, items in layers.items():
        shapes = tuple(tensor.shape for tensor in _trained([member for _, member in items], tensors))
        waiting.setdefault(shapes, deque()).append(layer)
    lengths = sorted({len(shapes) for shapes in waiting if shapes}, reverse=True)
    placed = []
    at = 0
    while at < len(order):
        for length in lengths:
            queue = waiting.get(tuple(order[at : at + length]))
            if queue:
                placed.append(queue.popleft())
                at += length
                break
        else:
            return members
    placed += [layer for layer in layers if layer not in set(placed)]
    return [item for layer in placed for item in layers[layer]]


def _weightless(root: Node | None, members: Sequence[tuple[Node | None, Member]]) -> tuple[tuple[str, str | None], ...]:
    """Layers of the outermost model that hold no tensor, in order."""
    if root is None:
        return ()
    full: set[int] = set()
    for node, _ in members:
        around = node
        while around is not None and id(around) not in full:
            full.add(id(around))
            around = around.parent
    return tuple((child.name, child.class_name) for child in root.children if id(child) not in full)
