"""The architecture in a Keras file (`model_config`, `config.json`): its layers, their nesting and their calls.

Everything is read as data with its type checked; what is not as Keras writes it is passed over. No recursion: how deep
models nest is up to the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptkit.canonical.naming import clipped
from ckptkit.conventions.candidates import snake_case

# A number of calls beyond this tells nobody more.
_MOST_CALLS = 1_000_000

# What the walk through a layer's configuration looks at, at most.
_MOST_VALUES = 100_000

# Models within models beyond this are named by the innermost ones alone.
_DEEPEST = 16

# Configuration entries under which wrappers keep the layers inside them (Bidirectional, TimeDistributed, RNN).
_PARTS = ("layer", "forward_layer", "backward_layer", "cell")


@dataclass(slots=True)
class Node:
    """A layer of the architecture.

    Attributes:
        name: its own name, without those of the models around it.
        class_name: as the file has it, without the package of a registered name (`my>Dense`).
        config: its configuration.
        calls: how often it is called with the same weights, calls of the models around it included.
        trainable: whether neither it nor a model around it is frozen, as far as the file says.
        children: its layers, for a model.
        parts: the layers inside it by the name of the attribute, for a wrapper.
        inbound: `inbound_nodes` as the file has them.
        parent: the model or wrapper that it lies in; None for the outermost model.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    calls: int = 1
    trainable: bool = True
    parent: Node | None = None
    inbound: object = None
    children: list[Node] = field(default_factory=list)
    parts: dict[str, Node] = field(default_factory=dict)

    @property
    def is_model(self) -> bool:
        """Whether it holds a list of layers."""
        return bool(self.children)

    @property
    def path(self) -> str:
        """Canonical path: the names from the outermost model's layers down to it."""
        names: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None and len(names) < _DEEPEST:
            names.append(node.name)
            node = node.parent
        return "/".join(reversed(names))

    def group_names(self) -> dict[str, Node]:
        """Group of each layer below `layers/` in Keras 3's layout.

        Keras numbers the snake-case class names in the order of `model.layers`, whatever the layers are called
        (keras/src/saving/saving_lib.py, `_save_container_state`).
        """
        counts: dict[str, int] = {}
        groups: dict[str, Node] = {}
        for child in self.children:
            word = snake_case(child.class_name)
            number = counts.get(word, 0)
            counts[word] = number + 1
            groups[f"{word}_{number}" if number else word] = child
        return groups


def parse_architecture(config: Mapping[str, Any] | None) -> Node | None:
    """The outermost model of a serialised architecture, or None where there is none to be made out."""
    if config is None:
        return None
    root = Node("", _text(config.get("class_name")) or "Model", _config_of(config))
    root.trainable = root.config.get("trainable") is not False
    queue: deque[tuple[Node, Mapping[str, Any]]] = deque([(root, config)])
    while queue:
        node, item = queue.popleft()
        for place, child in enumerate(_layers_of(item)):
            parsed = _parse_layer(child, node, place)
            node.children.append(parsed)
            queue.append((parsed, child))
        for attribute in _PARTS:
            inner = node.config.get(attribute)
            if isinstance(inner, Mapping) and _text(inner.get("class_name")):
                part = _parse_layer(inner, node, 0)
                node.parts[attribute] = part
                queue.append((part, inner))
    for node in preorder(root):
        _name_directions(node)
    return root if root.children else None


def preorder(root: Node) -> Iterator[Node]:
    """`root` and everything inside it, each before what it holds, in the order of the file."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += [*reversed(node.children), *reversed(node.parts.values())]


def serialised_names(config: Mapping[str, Any]) -> list[str]:
    """Names of the layers that a layer's configuration serialises inside of it, in its order."""
    names: list[str] = []
    stack: list[Any] = list(reversed(list(config.values())))
    for _ in range(_MOST_VALUES):
        if not stack:
            break
        value = stack.pop()
        if isinstance(value, Mapping):
            inner = value.get("config")
            if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) and inner["name"] not in names:
                names.append(inner["name"])
            stack += reversed(list(value.values()))
        elif isinstance(value, list):
            stack += reversed(value)
    return names


def _parse_layer(item: Mapping[str, Any], parent: Node, place: int) -> Node:
    config = _config_of(item)
    # Keras 0.x has the class under `name`, names no layers, and counts them in the file.
    class_name = _text(item.get("class_name")) or _text(item.get("name")) or "Layer"
    name = _text(config.get("name")) or (_text(item.get("name")) if "class_name" in item else None) or f"layer_{place}"
    calls = min(parent.calls * _calls(item), _MOST_CALLS)
    trainable = parent.trainable and config.get("trainable") is not False
    return Node(
        clipped(name),
        class_name.rpartition(">")[2] or class_name,
        config,
        calls,
        trainable,
        parent,
        item.get("inbound_nodes"),
    )


def _calls(item: Mapping[str, Any]) -> int:
    nodes = item.get("inbound_nodes")
    return max(1, len(nodes)) if isinstance(nodes, list) else 1


def _layers_of(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The layers that a serialised model lists; Keras 1 and early 2 have the list itself as a Sequential's config."""
    config = item.get("config")
    layers = config if isinstance(config, list) else _config_of(item).get("layers")
    return [layer for layer in layers if isinstance(layer, Mapping)] if isinstance(layers, list) else []


def _config_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    config = item.get("config")
    if isinstance(config, Mapping):
        return config
    return {} if "class_name" in item else item


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _name_directions(node: Node) -> None:
    """Give the two layers of a Bidirectional the names Keras gives them: `forward_lstm`, `backward_lstm`."""
    if node.class_name != "Bidirectional" or "layer" not in node.parts:
        return
    inner = node.parts.pop("layer")
    word = inner.name.removeprefix("forward_")
    backward = node.parts.pop("backward_layer", None)
    # The copy shares nothing of what is inside: wrappers in wrappers would double with each level.
    copy = Node(f"backward_{word}", inner.class_name, inner.config, inner.calls, inner.trainable, node)
    inner.name = f"forward_{word}"
    node.parts = {"forward_layer": inner, "backward_layer": backward or copy, **node.parts}
