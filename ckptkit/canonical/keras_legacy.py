"""Keras's legacy HDF5 layout, all generations: `layer_names`, `weight_names`, and the architecture if it is there.

What is uncertain in these files is the weight's name: `conv_1/kernel:0`, `conv_1_2/kernel_1:0`, `conv_1_W`, `param_0`,
`global/net/dense_2_W:0`. The group tells the layer; the name tells the role and, within wrappers and nested models, the
layer inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.canonical.crossing import Stored, ordered_layers
from ckptkit.canonical.dealing import Dealt, Optimizer, deal
from ckptkit.canonical.draft import Aside, LayerFacts, MapDraft, Member
from ckptkit.canonical.fit import kinds, role_of, suffixes
from ckptkit.canonical.naming import without_auto_suffix, without_output
from ckptkit.canonical.slots import find_bookkeeping, find_owner, is_counter, underscored
from ckptkit.canonical.topology import read_topology
from ckptkit.canonical.wrapped import common_scope, facts_of, inner_path
from ckptkit.conventions.layout import Shape
from ckptkit.model import Contents, LegacyGroup, LegacyKeras, StoredTensor

Weights = Sequence[tuple[str, str]]

# The scope of Keras's optimizer around another (keras/src/optimizers/loss_scale_optimizer.py).
_SCALED = "loss_scale_optimizer/"


@dataclass(frozen=True, slots=True)
class _Weight:
    """A weight's name taken apart: `bidirectional/forward_lstm/kernel:0` has scope (bidirectional, forward_lstm)."""

    name: str
    key: str
    scope: tuple[str, ...]
    word: str


def draft_legacy(contents: Contents, legacy: LegacyKeras) -> MapDraft:
    """Layers in the stored order, weights under the names and in the layers that the file gives them."""
    dialects = _dialects(legacy)
    root = parse_architecture(legacy.config)
    nodes = _nodes_by_group(root, legacy)
    facts: dict[str, LayerFacts] = {}
    members: list[Member] = []
    weightless: list[tuple[str, str | None]] = []
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    for group in legacy.groups:
        node = nodes.get(group.name)
        if group.weights:
            found = _group_members(group, node, dialects, facts)
            if node is None or not _is_nested(node):
                _mark_order(found, facts, shapes)
            members += found
        else:
            weightless.append((group.name, node.class_name if node else None))
    scalars = {
        without_output(name): tensor.dtype
        for name, key in legacy.top_level
        if (tensor := tensors.get(key)) is not None and not tensor.shape
    }
    kept, _ = find_bookkeeping(scalars)
    counters = {key: word for name, key in legacy.top_level if (word := without_output(name)) in kept}
    members += _top_level([weight for weight in legacy.top_level if weight[1] not in counters], dialects)
    return MapDraft(
        members=tuple(members),
        asides=(
            *(Aside(key, name, "state") for key, name in counters.items()),
            *_optimizer(contents, legacy, members, dialects, facts),
        ),
        order_source="stored",
        dialects=dialects,
        facts=facts,
        weightless=tuple(weightless),
        read_flow=partial(read_topology, root, tuple(facts), nodes) if root else None,
    )


def _dialects(legacy: LegacyKeras) -> tuple[str, ...]:
    """Whose names these can be. Keras 1's weight files and all of 0.x carry no version: their names tell."""
    names = [name for group in legacy.groups for name, _ in group.weights]
    if names and all(name.startswith("param_") for name in names):
        return ("keras0",)
    major = (legacy.keras_version or "").partition(".")[0]
    if major == "3":
        return ("keras3", "keras2")
    if major == "2":
        return ("keras2", "keras3")
    return ("keras1", "keras2")


def _nodes_by_group(root: Node | None, legacy: LegacyKeras) -> dict[str, Node]:
    """The architecture's layer for each group; by position in Keras 0.x, whose layers have no names."""
    if root is None:
        return {}
    nodes = {child.name: child for child in root.children}
    if not any(group.name in nodes for group in legacy.groups) and len(root.children) == len(legacy.groups):
        return {group.name: child for group, child in zip(legacy.groups, root.children, strict=True)}
    return nodes


def _group_members(
    group: LegacyGroup, node: Node | None, dialects: tuple[str, ...], facts: dict[str, LayerFacts]
) -> list[Member]:
    """The members of one group, with what is known of its layers put into `facts`."""
    weights = [_take_apart(name, key, dialects) for name, key in group.weights]
    if node is None or not _is_nested(node):
        return _place(group.name or "layer", weights, node, dialects, facts)
    members: list[Member] = []
    for inner, part in _by_inner_layer(node, weights):
        members += _place(inner.path, part, inner, dialects, facts)
    return members


def _is_nested(node: Node) -> bool:
    """Whether the architecture lists layers inside of `node`, and so their order."""
    return any(inner.is_model for inner in preorder(node))


def _mark_order(members: Sequence[Member], facts: dict[str, LayerFacts], shapes: Mapping[str, Shape]) -> None:
    """Say of the layers inside a group whether their order can be believed."""
    weights = [Stored(member.layer, member.word, shapes[member.key]) for member in members if member.key in shapes]
    for layer, ordered in ordered_layers(weights).items():
        facts[layer] = replace(facts[layer], ordered=ordered)


def _take_apart(name: str, key: str, dialects: tuple[str, ...]) -> _Weight:
    """Split a weight's name into scope and word; Keras 1 joins them by `_` (`dense_1_W`), and may be scoped besides.

    Later versions join them only where a layer of the user's own does so, after its own name (`attention/attention_W`).
    """
    *scope, leaf = without_output(name).split("/")
    known = suffixes(dialects)
    if leaf not in known and without_auto_suffix(leaf) in known:
        leaf = without_auto_suffix(leaf)
    if leaf not in known:
        cut = leaf.find("_", max(1, len(leaf) - _longest_suffix(dialects) - 1))
        while cut > 0:
            if leaf[cut + 1 :] in known and (dialects[0] == "keras1" or scope[-1:] == [leaf[:cut]]):
                scope.append(leaf[:cut])
                leaf = leaf[cut + 1 :]
                break
            cut = leaf.find("_", cut + 1)
    return _Weight(name, key, tuple(scope), leaf)


@cache
def _longest_suffix(dialects: tuple[str, ...]) -> int:
    return max(map(len, suffixes(dialects)), default=0)


def _by_inner_layer(model: Node, weights: list[_Weight]) -> list[tuple[Node, list[_Weight]]]:
    """Sort the weights of a nested model into its layers, in the architecture's order.

    The names of models in between may or may not be part of a weight's name. A weight whose name knows no layer stays
    with the model.
    """
    by_name: dict[str, Node] = {}
    children: dict[int, dict[str, Node]] = {}
    order: dict[int, int] = {}
    for place, node in enumerate(preorder(model)):
        order[id(node)] = place
        children[id(node)] = {child.name: child for child in node.children}
        if node is not model and not node.is_model:
            by_name.setdefault(node.name, node)
    found: dict[int, tuple[Node, list[_Weight]]] = {}
    for weight in weights:
        node = _innermost(weight.scope, model, children, by_name)
        found.setdefault(id(node), (node, []))[1].append(weight)
    return sorted(found.values(), key=lambda item: order[id(item[0])])


def _innermost(
    scope: tuple[str, ...], model: Node, children: Mapping[int, Mapping[str, Node]], by_name: Mapping[str, Node]
) -> Node:
    """The layer that `scope` leads to, through the models it names; failing that, the first layer of a name in it."""
    node = model
    for part in scope:
        node = children[id(node)].get(part, node)
        if not node.is_model:
            return node
    return next((by_name[part] for part in scope if part in by_name), model)


def _place(
    layer: str, weights: list[_Weight], node: Node | None, dialects: tuple[str, ...], facts: dict[str, LayerFacts]
) -> list[Member]:
    """Members of one layer of the architecture: itself, or those inside it if its weights have several scopes."""
    scopes = list(dict.fromkeys(weight.scope for weight in weights))
    shared = len(common_scope(scopes))
    below = {scope[shared:] for scope in scopes}
    members = []
    for weight in weights:
        rest = inner_path(weight.scope[shared:], below)
        path = "/".join((layer, *rest))
        known = facts.get(path) or facts_of(node, rest, kinds(dialects))
        scope = "/".join(weight.scope)
        if scope not in known.aliases:
            known = replace(known, aliases=(*known.aliases, scope))
        facts[path] = known
        members.append(Member(weight.key, path, weight.word, aliases=(weight.name,)))
    return members


def _top_level(weights: Weights, dialects: tuple[str, ...]) -> list[Member]:
    """Weights that a model owns itself, outside of its layers."""
    members = []
    for name, key in weights:
        weight = _take_apart(name, key, dialects)
        members.append(Member(key, "/".join(weight.scope) or "top_level_model_weights", weight.word, aliases=(name,)))
    return members


def _optimizer(
    contents: Contents,
    legacy: LegacyKeras,
    members: Sequence[Member],
    dialects: tuple[str, ...],
    facts: Mapping[str, LayerFacts],
) -> list[Aside]:
    """Slots and counters. Names tell the weight if they hold it; Keras 2's `Variable_7:0` goes by count and shapes."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    names = {without_output(name): key for group in legacy.groups for name, key in group.weights}
    candidates = {**underscored(names.items()), **names}
    asides: dict[str, Aside] = {}
    unnamed: list[StoredTensor] = []
    aliases = {member.key: member.aliases for member in members}
    scaled = any(name.startswith(_SCALED) for name, _ in legacy.optimizer)
    for name, key in legacy.optimizer:
        tensor = tensors.get(key)
        if tensor is None:
            continue
        clean = without_output(name)
        owner = find_owner(clean, candidates)
        if owner is not None:
            asides[key] = Aside(key, owner[1], "slot", owner[0], (name,))
        elif is_counter(clean) or not tensor.shape:
            asides[key] = Aside(key, f"optimizer/{_counter(clean, scaled=scaled)}", "state", None, (name,))
        else:
            unnamed.append(tensor)
            asides[key] = Aside(key, f"optimizer/{clean}", "slot", None, (name,))
    trained = [tensors[member.key] for member in members if member.key in tensors and _is_trained(member, dialects)]
    # Keras 1 and 2.0 gave the weights to the optimizer sorted by name.
    by_name = sorted(trained, key=lambda tensor: aliases[tensor.key])
    frozen = {layer for layer, known in facts.items() if known.config and known.config.get("trainable") is False}
    flagged = [
        tensors[member.key] for member in members if member.layer not in frozen and _is_trained(member, dialects)
    ]
    orders = [deal(unnamed, each, Optimizer(), ordered=True, trained=False) for each in (trained, by_name)]
    if frozen:
        orders = [deal(unnamed, flagged, Optimizer(), ordered=True, trained=True), *orders]
    dealt: Dealt = next(filter(None, orders), {})
    for key, (weight, word) in dealt.items():
        asides[key] = Aside(key, word or "slot", "slot", weight, asides[key].aliases)
    return list(asides.values())


def _counter(name: str, *, scaled: bool) -> str:
    """What a counter is called where optimizers are objects: one around another keeps its own."""
    word = name.rpartition("/")[2]
    inner = "inner_optimizer/" if scaled and "/" in name and not name.startswith(_SCALED) else ""
    return inner + ("iterations" if word == "iteration" else word)


def _is_trained(member: Member, dialects: tuple[str, ...]) -> bool:
    return (member.role or role_of(member.word, dialects)) not in ("moving_mean", "moving_variance")
