"""Keras 3's layout: the canonical path of each group, the other paths that the file knows for it, and its class.

Keras saves the layers of a model under `layers/`, numbered by class in the order of `model.layers`: `layers/dense_1` is the
second Dense, not the layer called `dense_1`. There the architecture names a layer, else the `name` attribute does, and the
group is the last resort. Everything else lies under the attribute that holds it, a name that the user gave, while the
`name` attribute is as often as not an automatic one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckptkit.canonical.architecture import Node
from ckptkit.canonical.fit import kinds, kinds_by_snake
from ckptkit.canonical.naming import clipped, public, without_auto_suffix
from ckptkit.canonical.wrapped import PROJECTIONS, Scope, kind_of_word, modern
from ckptkit.model import VarsGroup

# Groups that hold the layers of a model (Keras 2.13 and 2.14; since 2.15), and that add nothing to a layer's name.
CONTAINERS = frozenset({"_layer_checkpoint_dependencies", "layers"})

# Attributes of wrappers and recurrent layers under which one layer lies that a person takes for the wrapper itself.
TRANSPARENT = frozenset({"cell", "layer"})

# Within a layer Keras walks attributes by the alphabet; these were built in this order instead.
PART_ORDER = {name: place for place, name in enumerate(("forward_layer", "backward_layer", *PROJECTIONS))}

# Groups deeper than this are nobody's model, and would take quadratic time to walk through.
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """Where a group lies.

    Attributes:
        path: components of the canonical path.
        stored: the same with the `name` attribute wherever a group has one.
        node: the layer of the architecture that it is, or in which it lies.
        is_node: whether it is `node` itself or something inside.
        kind: Keras's word, or None.
        sure: whether `kind` comes from a class, and not from a word that a person may have chosen.
        ordered: see `Layer.ordered`.
    """

    path: Scope
    stored: Scope
    node: Node | None
    is_node: bool
    kind: str | None
    sure: bool
    ordered: bool


class Places:
    """Place of each group; every prefix is worked out once."""

    def __init__(self, groups: Sequence[VarsGroup], root: Node | None, dialects: tuple[str, ...]) -> None:
        self._names = {group.path: clipped(group.name) for group in groups if group.name}
        self._full = {group.path for group in groups if group.keys}
        self._words = kinds(dialects)
        self._snake = kinds_by_snake(dialects)
        self._groups: dict[int, dict[str, Node]] = {}
        self._lists = Lists(groups, self._names, frozenset(self._snake))
        self._known: dict[str, GroupPlace] = {"": GroupPlace((), (), root, root is not None, None, False, True)}

    def __getitem__(self, path: str) -> GroupPlace:
        if path.count("/") > _DEEPEST:
            return GroupPlace((path,), (path,), None, False, None, False, False)
        missing = []
        at = path
        while at not in self._known:
            missing.append(at)
            at = at.rpartition("/")[0]
        for prefix in reversed(missing):
            parent, _, component = prefix.rpartition("/")
            self._known[prefix] = self._below(self._known[parent], parent, prefix, component)
        return self._known[path]

    def aliases(self, path: str) -> tuple[str, ...]:
        """What else the file calls the layer of the group at `path`."""
        return "/".join(self[path].stored), path

    def _below(self, above: GroupPlace, parent: str, path: str, component: str) -> GroupPlace:
        if component in CONTAINERS:
            return above
        name = self._names.get(path)
        node = self._child(above, component)
        listed = parent.rpartition("/")[2] in CONTAINERS
        ordered = listed or component.lstrip("_") in PART_ORDER or self._lists.holds(parent, component)
        if node is not None:
            return self._node(above, parent, component, node, name)
        attribute = public(component)
        if attribute in TRANSPARENT and parent not in self._full and above.path:
            kind, sure = self._kind(name, component, listed)
            kind, sure = (above.kind, above.sure) if above.kind else (kind, sure)
            stored = (*above.stored, name) if name else above.stored
            return GroupPlace(above.path, stored, above.node, above.is_node, kind, sure, above.ordered)
        if attribute in PROJECTIONS:
            last = name or PROJECTIONS[attribute]
            return GroupPlace(
                (*above.path, last), (*above.stored, last), above.node, False, "EinsumDense", True, ordered
            )
        kind, sure = self._kind(name, component, listed)
        # What a Bidirectional holds is made and named by Keras, not by the user.
        word = (name or component) if listed or attribute in PART_ORDER else attribute
        return GroupPlace((*above.path, word), (*above.stored, name or word), above.node, False, kind, sure, ordered)

    def _node(self, above: GroupPlace, parent: str, component: str, node: Node, name: str | None) -> GroupPlace:
        stored = (*above.stored, name or node.name)
        kind = modern(node.class_name, self._words)
        if component in TRANSPARENT and parent not in self._full:
            # A cell's class says less than that of its layer (`LSTMCell`), a wrapper's less than what it wraps.
            if component == "cell" and above.kind in self._words:
                kind = above.kind
            return GroupPlace(above.path, stored, node, True, kind, True, above.ordered)
        return GroupPlace((*above.path, node.name), stored, node, True, kind, True, True)

    def _kind(self, name: str | None, component: str, listed: bool) -> tuple[str | None, bool]:
        """Class of a layer by its words: an automatic name or a number among a model's layers is that of its class."""
        if listed:
            return kind_of_word(component, self._snake), True
        return kind_of_word(name or "", self._snake) or kind_of_word(component, self._snake), False

    def _child(self, above: GroupPlace, component: str) -> Node | None:
        """The layer of the architecture that `component` below `above` is."""
        node = above.node
        if node is None or not above.is_node:
            return None
        if component in node.parts:
            return node.parts[component]
        if id(node) not in self._groups:
            self._groups[id(node)] = node.group_names()
        return self._groups[id(node)].get(component)


class Lists:
    """Which groups are lists of layers: what they hold is numbered by class (`dense`, `dense_1`) and was written in order.

    The file does not say so. Numbers of one word that begin without one and have no gap are a list's, or as good as
    one; words of several classes are only believed where they do not stand in the order of the alphabet.
    """

    def __init__(self, groups: Sequence[VarsGroup], names: dict[str, str], classes: frozenset[str]) -> None:
        self._children: dict[str, dict[str, None]] = {}
        self._names = names
        self._classes = classes
        self._known: dict[str, bool] = {}
        for group in groups:
            at = group.path
            while at and at.count("/") <= _DEEPEST:
                parent, _, component = at.rpartition("/")
                found = self._children.setdefault(parent, {})
                if component in found:
                    break
                found[component] = None
                at = parent

    def holds(self, parent: str, component: str) -> bool:
        """Whether `component` is an item of a list at `parent`."""
        if parent not in self._known:
            self._known[parent] = self._is_list(parent, tuple(self._children.get(parent, ())))
        return self._known[parent] and component in self._children[parent]

    def _is_list(self, parent: str, components: tuple[str, ...]) -> bool:
        if len(components) < 2:
            return False
        counts: dict[str, set[str]] = {}
        for component in components:
            counts.setdefault(without_auto_suffix(component), set()).add(component)
        for word, found in counts.items():
            if found != {f"{word}_{number}" if number else word for number in range(len(found))}:
                return False
        if len(counts) == 1:
            return True
        automatic = all(
            word in self._classes
            or all(without_auto_suffix(self._names.get(f"{parent}/{item}", "")) == word for item in found)
            for word, found in counts.items()
        )
        return automatic and list(components) != sorted(components)


def by_attributes(paths: Iterable[str]) -> bool:
    """Whether layers lie under attributes, which are walked by the alphabet, where their paths part for the first time."""
    found = [path.split("/") for path in paths]
    if len(found) < 2:
        return False
    first, last = min(found), max(found)
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    inside = first[depth - 1] if depth else ""
    return inside not in CONTAINERS and not all(path[depth : depth + 1] and path[depth] in CONTAINERS for path in found)
