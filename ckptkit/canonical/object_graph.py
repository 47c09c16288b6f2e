"""Object-based checkpoints: `tf.train.Checkpoint` of Keras, Sonnet 2 and plain modules, and SavedModels.

A variable has two names: the path of attributes that leads to it, and the one it was made with (`full_name`). The
path is unique and the user's own, except where Keras puts numbers in it (`layer_with_weights-3`, `_operations/3`):
there the layer's real name is taken from the SavedModel's metadata or from the full name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.canonical.draft import Aside, LayerFacts, MapDraft, Member
from ckptkit.canonical.fit import begins_row, kinds
from ckptkit.canonical.graph_kept import find_kept, may_be_metric
from ckptkit.canonical.graph_slots import GraphSlots, find_slots
from ckptkit.canonical.graph_walk import Walk, walk
from ckptkit.canonical.naming import VARIABLE_VALUE, clipped, is_cell, public, without_attribute, without_output
from ckptkit.canonical.scopes import draft_scopes
from ckptkit.canonical.topology import read_topology
from ckptkit.canonical.words import NEVER_TRAINED, split_paths
from ckptkit.canonical.wrapped import PROJECTIONS, Scope, modern
from ckptkit.model import HANDLES, Contents, ObjectGraph, StoredTensor

# Attributes that Keras numbers, and lists of its own whose places are no names.
_NUMBERED = re.compile(r"layer(?:_with_weights)?-[0-9]+")
_LISTS = frozenset({"_operations", "_trainable_variables", "_functional", "variables"})

# Those of them that hold variables and no layers: an optimizer's, and that of what Keras 3 exports.
_VARIABLE_LISTS = frozenset({"_trainable_variables", "variables"})

# Generators of random numbers: Keras's and TensorFlow's hold integers in a variable called so.
_GENERATORS = frozenset({"state", "_state_var", "seed_generator_state"})
_INTEGERS = ("int", "uint", "bool")

# What holds no numbers: names, serialised objects, the state of datasets' iterators.
_NO_NUMBERS = frozenset({"string", *HANDLES})


@dataclass(frozen=True, slots=True)
class _Found:
    """A variable of the graph."""

    node: int
    tensor: StoredTensor
    full_name: str
    chain: Sequence[int]
    path: Scope


def draft_graph(contents: Contents, graph: ObjectGraph) -> MapDraft:
    """Layers by object, in the order in which the graph lists them."""
    walked = walk(graph.nodes)
    variables, rest = _variables(contents, walked)
    if not variables:
        return draft_scopes(contents)
    dialects = _dialects(graph)
    full_names = {found.node: found.full_name for found in variables}
    stored = {found.node: found.tensor for found in variables}
    slots = find_slots(walked, full_names, stored)
    kept = find_kept(walked, stored, full_names)
    asides = [_beside(tensor) for tensor in rest]
    optimizers = {found.path[:place] for found in variables if (place := _optimizer_at(found)) is not None}
    weights = []
    keys = {found.node: found.tensor.key for found in variables}
    for found in variables:
        slot = slots.slots.get(found.node)
        if slot is not None:
            owner = keys.get(slot.weight) if slot.weight is not None else None
            name = slot.word if owner else "/".join(found.path) or found.full_name
            asides.append(Aside(found.tensor.key, name, "slot", owner, _aliases(found)))
        elif found.node in kept or _is_state(found, slots, walked):
            asides.append(Aside(found.tensor.key, _state_name(found, optimizers), "state", None, _aliases(found)))
        else:
            weights.append(found)
    facts: dict[str, LayerFacts] = {}
    root = parse_architecture(walked.nodes[0].metadata)
    members = _in_order(_members(weights, walked, dialects, facts, root), weights, slots)
    return MapDraft(
        members=tuple(members if dialects[0].startswith("sonnet") else _owners_first(members)),
        asides=tuple(asides),
        order_source="object-graph",
        dialects=dialects,
        facts=facts,
        keep_order=False,
        doubtful=frozenset(
            found.tensor.key
            for found in weights
            if found.node in slots.doubtful or may_be_metric(found.node, walked, full_names)
        ),
        read_flow=partial(read_topology, root, tuple(facts)) if root else None,
    )


def _variables(contents: Contents, walked: Walk) -> tuple[list[_Found], list[StoredTensor]]:
    """The variables that the graph reaches or lists as slots, in its order, and the tensors it does not explain."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    found: list[_Found] = []
    names = _full_names(walked)
    # Where one name of a scope was given twice, its other names are not those of one layer either.
    unclear = {name.rpartition("/")[0] for name, count in names.items() if count > 1}
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
            if (
                len(path) > 1
                and path[-2] in _VARIABLE_LISTS
                and full_name
                and full_name.rpartition("/")[0] not in unclear
            ):
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


def _beside(tensor: StoredTensor) -> Aside:
    """What the graph has no variable for: serialised objects, tables of keys and values, counters."""
    return Aside(tensor.key, without_attribute(tensor.key), "metadata" if tensor.dtype in _NO_NUMBERS else "state")


def _is_state(found: _Found, slots: GraphSlots, walked: Walk) -> bool:
    """Whether a variable is no weight. A word alone is no reason; an object of a kind, or an integer that counts, is."""
    if found.tensor.dtype in _NO_NUMBERS or found.node in slots.counters:
        return True
    called = {found.path[-1], found.full_name.rpartition("/")[2]}
    if found.tensor.dtype.startswith(_INTEGERS) and (not found.tensor.shape or not called.isdisjoint(_GENERATORS)):
        return True
    return _is_rnn_state(found, walked)


def _optimizer_at(found: _Found) -> int | None:
    """Where the path of a variable says that it is a model's optimizer's."""
    return next((place for place, part in enumerate(found.path) if part in ("optimizer", "_optimizer")), None)


def _state_name(found: _Found, optimizers: Collection[Scope]) -> str:
    """Path of a state; an optimizer's, where there is one, is called alike in every container of the model."""
    place = _optimizer_at(found)
    path = found.path[place:] if place is not None and len(optimizers) == 1 else found.path
    return "/".join(map(public, path))


def _is_rnn_state(found: _Found, walked: Walk) -> bool:
    """Whether it is among the `states` of a recurrent layer of Keras, which has a cell besides and calls them so.

    keras/src/layers/rnn/rnn.py, `reset_state`. A cell and learned states in an object of the user's own are weights.
    """
    if found.full_name.rpartition("/")[2] not in ("rnn_state", ""):
        return False
    for place, node in enumerate(found.chain):
        if walked.edges[node] == "states":
            above = found.chain[place - 1] if place else 0
            return any(name == "cell" for name, _ in walked.nodes[above].children)
    return False


def _aliases(found: _Found) -> tuple[str, ...]:
    return (found.full_name,) if found.full_name else ()


def _members(
    weights: Sequence[_Found],
    walked: Walk,
    dialects: tuple[str, ...],
    facts: dict[str, LayerFacts],
    root: Node | None,
) -> list[Member]:
    """Split each path into layer and word, and give layers with numbers in their path a name."""
    split = split_paths([found.path for found in weights], [found.tensor.shape for found in weights], dialects)
    _cut_lists(weights, split, dialects)
    most: dict[str, int] = {}
    for full_name, count in Counter(found.full_name for found in weights).items():
        scope = full_name.rpartition("/")[0]
        most[scope] = max(count, most.get(scope, 1))
    words = kinds(dialects)
    architecture = {node.path: node for node in preorder(root)} if root is not None else {}
    by_owner: dict[Scope, list[int]] = {}
    for index, (owner, _) in enumerate(split):
        by_owner.setdefault(owner, []).append(index)
    layers: dict[int, str] = {}
    taken: set[tuple[str, str]] = set()
    for owner, indexes in by_owner.items():
        through = _transparent(owner, by_owner)
        found = [weights[index] for index in indexes]
        # A name that several variables were made with is that of none of them; one that most were made with (Keras 3
        # makes those of subclasses in the scope of the model) is not even another name.
        scopes = {_scope(weights[index], split[index][1]) for index in indexes if weights[index].full_name}
        shared = max(most[weight.full_name.rpartition("/")[0]] for weight in found)
        name = _layer_name(owner, through, found, scopes if shared == 1 else (), walked)
        scopes = scopes if shared <= max(2, len(by_owner) // 2) else set()
        mine = {(name, _word(weights[index], split[index][1])) for index in indexes}
        if not name or mine & taken:
            name = "/".join(map(public, owner)) or "root"
        taken |= mine
        first = weights[indexes[0]]
        known = facts.get(name) or _facts(first, split[indexes[0]][1], walked, words, architecture.get(name))
        others = ("/".join(map(public, owner)), *sorted("/".join(scope) for scope in scopes))
        facts[name] = replace(known, aliases=tuple(dict.fromkeys((*known.aliases, *others))))
        for index in indexes:
            layers[index] = name
    return [
        Member(found.tensor.key, layers[index], _word(found, split[index][1]), aliases=_aliases(found))
        for index, found in enumerate(weights)
    ]


def _cut_lists(weights: Sequence[_Found], split: list[tuple[Scope, str]], dialects: tuple[str, ...]) -> None:
    """Put variables that only a list of Keras's has, and that no full name tells apart, in layers of that list.

    The list holds the variables of one layer after those of the other. A layer ends where no row of the tables has what it
    would hold with the next one; it is called by the place of its first.
    """
    place = ""
    before: list[str] = []
    owner: Scope = ()
    last = -1
    for index, found in enumerate(weights):
        scope, word = split[index]
        if scope[-1:] == () or scope[-1] not in _VARIABLE_LISTS or not word.isdigit():
            continue
        named = found.full_name.rpartition("/")[2]
        follows = scope == owner and int(word) == last + 1 and named and begins_row((*before, named), dialects)
        if not follows:
            place, before = word, []
        before.append(named)
        owner, last = scope, int(word)
        split[index] = (*scope, place), word


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
    owner: Scope, through: frozenset[int], members: Sequence[_Found], scopes: Collection[Scope], walked: Walk
) -> str:
    """The readable path of a layer, or "" where its attributes are all there is.

    Args:
        owner: the path of its object.
        through: see `_transparent`.
        members: its variables.
        scopes: those of its variables' full names, where they tell it from other layers.
        walked: the walk over the graph.
    """
    places = _places_in_lists(owner)
    if not places:
        # In attributes of the user's own, `layer` is a name as good as any.
        return "/".join(public(part) for place, part in enumerate(owner) if place not in through or not is_cell(part))
    named = _from_metadata(owner, places, through, members[0].chain, walked)
    if named:
        return named
    if len(scopes) != 1:
        return ""
    scope = next(iter(scopes))
    # tf_keras names what is in a wrapper after the wrapper alone.
    if len(owner) - 1 in through and len(scope) > 1 and (owner[-1] == "layer" or is_cell(scope[-1])):
        scope = scope[:-1]
    return "/".join(scope)


def _scope(found: _Found, word: str) -> Scope:
    """What a variable's full name says of its layer: the components before its own."""
    return tuple(found.full_name.split("/")[: -(word.count("/") + 1)])


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


def _facts(found: _Found, word: str, walked: Walk, words: Mapping[str, str], node: Node | None) -> LayerFacts:
    """Class and calls of the object that owns `found`."""
    if node is not None:
        inner = node.parts.get("layer")
        node = inner if inner is not None and not inner.is_model else node
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


def _owners_first(members: Sequence[Member]) -> list[Member]:
    """Put what a layer owns itself before what the layers in it own, as Keras has its variables in every other container.

    What is never trained comes last there (keras/src/layers/layer.py, `variables`; tf_keras/src/engine/base_layer.py).
    """
    layers: dict[str, list[Member]] = {}
    for member in members:
        layers.setdefault(member.layer, []).append(member)
    found: dict[str, list[Member]] = {}
    seen: set[str] = set()
    for layer in layers:
        around, way = layer, list[str]()
        while around and around not in seen:
            if around == layer or any(member.word not in NEVER_TRAINED for member in layers.get(around, ())):
                seen.add(around)
                way.append(around)
            around = around.rpartition("/")[0]
        found.update((path, layers[path]) for path in reversed(way) if path in layers)
    return [member for own in found.values() for member in own]


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
