"""Object-based checkpoints: `tf.train.Checkpoint` of Keras, Sonnet 2 and plain modules, and SavedModels.

A variable has two names: the path of attributes that leads to it, and the one it was made with (`full_name`). The
path is unique and the user's own, except where Keras puts numbers in it (`layer_with_weights-3`, `_operations/3`):
there the layer's real name is taken from the SavedModel's metadata or from the full name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.canonical.draft import Aside, Draft, LayerFacts, Member
from ckptkit.canonical.fit import kinds
from ckptkit.canonical.graph_slots import GraphSlots, find_slots
from ckptkit.canonical.graph_walk import Walk, walk
from ckptkit.canonical.naming import VARIABLE_VALUE, clipped, is_cell, public, without_attribute, without_output
from ckptkit.canonical.scopes import OBJECT_GRAPH_KEY, draft_scopes
from ckptkit.canonical.slots import is_counter
from ckptkit.canonical.words import split_paths
from ckptkit.canonical.wrapped import PROJECTIONS, Scope, modern
from ckptkit.model import Contents, ObjectGraph, StoredTensor

# Attributes that Keras numbers, and lists of its own whose places are no names.
_NUMBERED = re.compile(r"layer(?:_with_weights)?-[0-9]+")
_LISTS = frozenset({"_operations", "_trainable_variables", "_functional", "variables"})

# Those of them that hold variables and no layers: an optimizer's, and that of what Keras 3 exports.
_VARIABLE_LISTS = frozenset({"_trainable_variables", "variables"})

# Objects beside the model, or inside of it, whose variables are no weights. Keras 3 exports a second copy of every
# variable that its functions use in `_all_variables`; what the functions read is in `variables`.
_STATE = frozenset(
    {"_all_variables", "metrics", "_metrics", "_compile_metrics", "compile_metrics", "_loss_tracker", "loss_tracker", "states",
     "keras_api", "seed_generator", "_seed_generator", "_random_generator"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Found:
    """A variable of the graph."""

    node: int
    tensor: StoredTensor
    full_name: str
    chain: Sequence[int]
    path: Scope


def draft_graph(contents: Contents, graph: ObjectGraph) -> Draft:
    """Layers by object, in the order in which the graph lists them."""
    walked = walk(graph.nodes)
    variables, rest = _variables(contents, walked)
    if not variables:
        return draft_scopes(contents)
    dialects = _dialects(graph)
    slots = find_slots(walked, {found.node: found.full_name for found in variables})
    asides = [_metadata(tensor) for tensor in rest]
    weights = []
    keys = {found.node: found.tensor.key for found in variables}
    for found in variables:
        slot = slots.slots.get(found.node)
        if slot is not None:
            owner = keys.get(slot.weight) if slot.weight is not None else None
            name = slot.word if owner else "/".join(found.path) or found.full_name
            asides.append(Aside(found.tensor.key, name, "slot", owner, _aliases(found)))
        elif _is_state(found, slots):
            asides.append(Aside(found.tensor.key, "/".join(map(public, found.path)), "state", None, _aliases(found)))
        else:
            weights.append(found)
    facts: dict[str, LayerFacts] = {}
    members = _members(weights, walked, dialects, facts)
    return Draft(
        members=tuple(_in_order(members, weights, slots)),
        asides=tuple(asides),
        order_source="object-graph",
        dialects=dialects,
        facts=facts,
        keep_order=False,
    )


def _variables(contents: Contents, walked: Walk) -> tuple[list[_Found], list[StoredTensor]]:
    """The variables that the graph reaches or lists as slots, in its order, and the tensors it does not explain."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    found: list[_Found] = []
    names = _full_names(walked)
    reached = set(walked.order)
    beyond = (node for node in range(len(walked.nodes)) if node not in reached)
    for node in (*walked.order, *beyond):
        for attribute in walked.nodes[node].attributes:
            tensor = tensors.get(attribute.key) if attribute.name == VARIABLE_VALUE else None
            if tensor is None:
                continue
            del tensors[tensor.key]
            chain = walked.chain(node) if node in reached else None
            path = walked.path(chain) if chain else tuple(without_attribute(tensor.key).split("/"))
            full_name = without_output(attribute.full_name)
            if len(path) > 1 and path[-2] in _VARIABLE_LISTS and names[full_name] == 1:
                path = (*path[:-1], *full_name.split("/"))
            found.append(_Found(node, tensor, full_name, chain or (), path))
    return found, list(tensors.values())


def _full_names(walked: Walk) -> Counter[str]:
    """How many variables in Keras's lists of variables have each full name; those without one are never counted."""
    lists = {
        node
        for node in walked.order
        if walked.parents[node] >= 0 and walked.edges[walked.parents[node]] in _VARIABLE_LISTS
    }
    return Counter(
        without_output(attribute.full_name)
        for node in lists
        for attribute in walked.nodes[node].attributes
        if attribute.name == VARIABLE_VALUE and attribute.full_name
    )


def _dialects(graph: ObjectGraph) -> tuple[str, ...]:
    """Whose objects these are: each framework's have attributes that no other has."""
    names = {name for node in graph.nodes for name, _ in node.children}
    if "_operations" in names or "_inbound_nodes" in names or "_tracked" in names:
        return ("keras3", "keras2", "sonnet2")
    if "keras_api" in names or any(_NUMBERED.fullmatch(name) for name in names):
        return ("keras2", "keras3", "sonnet2")
    return ("sonnet2", "keras2", "keras3", "tf_layers")


def _metadata(tensor: StoredTensor) -> Aside:
    name = without_attribute(tensor.key)
    strings = tensor.key == OBJECT_GRAPH_KEY or tensor.dtype == "string"
    return Aside(tensor.key, name, "metadata" if strings else "state")


def _is_state(found: _Found, slots: GraphSlots) -> bool:
    if found.tensor.dtype == "string" or found.node in slots.counters:
        return True
    if not _STATE.isdisjoint(found.path):
        return True
    return not found.tensor.shape and is_counter(found.path[-1])


def _aliases(found: _Found) -> tuple[str, ...]:
    return (found.full_name,) if found.full_name else ()


def _members(
    weights: Sequence[_Found], walked: Walk, dialects: tuple[str, ...], facts: dict[str, LayerFacts]
) -> list[Member]:
    """Split each path into layer and word, and give layers with numbers in their path a name."""
    split = split_paths([found.path for found in weights], [found.tensor.shape for found in weights], dialects)
    words = kinds(dialects)
    architecture = _architecture(walked)
    by_owner: dict[Scope, list[int]] = {}
    for index, (owner, _) in enumerate(split):
        by_owner.setdefault(owner, []).append(index)
    layers: dict[int, str] = {}
    taken: set[tuple[str, str]] = set()
    for owner, indexes in by_owner.items():
        through = _transparent(owner, by_owner)
        found = [weights[index] for index in indexes]
        name = _layer_name(owner, through, found, [split[index][1] for index in indexes], walked)
        mine = {(name, _word(weights[index], split[index][1])) for index in indexes}
        if not name or mine & taken:
            name = "/".join(map(public, owner)) or "root"
        taken |= mine
        first = weights[indexes[0]]
        facts.setdefault(name, _facts(first, split[indexes[0]][1], walked, words, architecture.get(name)))
        for index in indexes:
            layers[index] = name
    return [
        Member(found.tensor.key, layers[index], _word(found, split[index][1]), aliases=_aliases(found))
        for index, found in enumerate(weights)
    ]


def _word(found: _Found, word: str) -> str:
    """The name below the layer; a number in a list of the optimizer's is none, and the full name helps."""
    if word.isdigit() and found.full_name:
        return found.full_name.rpartition("/")[2]
    return public(word)


def _transparent(owner: Scope, owners: Collection[Scope]) -> frozenset[int]:
    """Which components are the one layer in a wrapper, or the cell in a layer, that has no variables beside it."""
    return frozenset(
        place
        for place, part in enumerate(owner)
        if place and (part == "layer" or is_cell(part)) and owner[:place] not in owners
    )


def _layer_name(
    owner: Scope, through: frozenset[int], members: Sequence[_Found], words: Sequence[str], walked: Walk
) -> str:
    """The readable path of a layer, or "" where its attributes are all there is."""
    places = _places_in_lists(owner)
    if not places:
        # In attributes of the user's own, `layer` is a name as good as any.
        return "/".join(public(part) for place, part in enumerate(owner) if place not in through or not is_cell(part))
    named = _from_metadata(owner, places, through, members[0].chain, walked)
    if named:
        return named
    scopes = {
        tuple(found.full_name.split("/")[: -(word.count("/") + 1)])
        for found, word in zip(members, words, strict=True)
        if found.full_name
    }
    if len(scopes) != 1:
        return ""
    scope = scopes.pop()
    # tf_keras names what is in a wrapper after the wrapper alone.
    if len(owner) - 1 in through and len(scope) > 1 and (owner[-1] == "layer" or is_cell(scope[-1])):
        scope = scope[:-1]
    return "/".join(scope)


def _places_in_lists(owner: Scope) -> frozenset[int]:
    """Which components are nothing but a place in one of Keras's own lists of layers."""
    return frozenset(
        place
        for place, part in enumerate(owner)
        if _NUMBERED.fullmatch(part) or part in _LISTS or (place and owner[place - 1] in _LISTS)
    )


def _from_metadata(
    owner: Scope, places: frozenset[int], through: frozenset[int], chain: Sequence[int], walked: Walk
) -> str:
    """The path with every place replaced by the name in a SavedModel's metadata; "" where one is missing."""
    parts = []
    for place, (part, node) in enumerate(zip(owner, chain, strict=False)):
        if place in through:
            continue
        name = (walked.nodes[node].metadata or {}).get("name")
        if isinstance(name, str) and name:
            parts.append(clipped(name))
        elif place in places:
            return ""
        else:
            parts.append(public(part))
    return "/".join(parts)


def _architecture(walked: Walk) -> dict[str, Node]:
    """Layers of the architecture that a SavedModel's metadata holds, by path."""
    metadata = walked.nodes[0].metadata if walked.nodes else None
    root = parse_architecture(metadata)
    return {node.path: node for node in preorder(root)} if root is not None else {}


def _facts(found: _Found, word: str, walked: Walk, words: Mapping[str, str], node: Node | None) -> LayerFacts:
    """Class and calls of the object that owns `found`."""
    if node is not None:
        return LayerFacts(modern(node.class_name, words), node.calls, node.config or None)
    owners = found.chain[: -(word.count("/") + 1)]
    if owners and public(walked.edges[owners[-1]]) in PROJECTIONS:
        return LayerFacts("EinsumDense")
    scope = found.full_name.split("/")[: -(word.count("/") + 1)]
    called = scope[-1] if scope else None
    for owner in reversed(owners[-2:]):
        metadata = walked.nodes[owner].metadata
        class_name = metadata.get("class_name") if metadata else None
        if isinstance(class_name, str) and class_name:
            kind = modern(class_name, words)
            config = metadata.get("config") if metadata else None
            return LayerFacts(kind, 1, config if isinstance(config, Mapping) else None, called)
        if walked.edges[owner] not in ("cell", "layer"):
            break
    return LayerFacts(called=called)


def _in_order(members: Sequence[Member], weights: Sequence[_Found], slots: GraphSlots) -> list[Member]:
    """Put layers that only the optimizer's list of variables holds where that list has them."""
    stray = {
        member.layer for member, found in zip(members, weights, strict=True) if "_trainable_variables" in found.path
    }
    reached = {
        member.layer for member, found in zip(members, weights, strict=True) if "_trainable_variables" not in found.path
    }
    stray -= reached
    if not stray:
        return list(members)
    layer_of = {found.node: member.layer for member, found in zip(members, weights, strict=True)}
    follows: dict[str, list[str]] = {}
    before = ""
    placed: set[str] = set()
    for node in slots.trained:
        layer = layer_of.get(node)
        if layer is None:
            continue
        if layer in stray and layer not in placed:
            follows.setdefault(before, []).append(layer)
            placed.add(layer)
        before = layer
    by_layer: dict[str, list[Member]] = {}
    for member in members:
        by_layer.setdefault(member.layer, []).append(member)
    order: list[str] = []
    firsts = [layer for layer in by_layer if layer not in placed]
    stack = [*reversed(firsts), *reversed(follows.get("", ()))]
    while stack:
        layer = stack.pop()
        order.append(layer)
        stack += reversed(follows.get(layer, ()))
    return [member for layer in order for member in by_layer[layer]]
