"""Object-based checkpoints: `tf.train.Checkpoint` of Keras, Sonnet 2 and plain modules, and SavedModels.

A variable has two names: the path of attributes that leads to it, and the one it was made with (`full_name`). The
path is unique and the user's own, except where Keras puts numbers in it (`layer_with_weights-3`, `_operations/3`):
there the layer's real name is taken from the SavedModel's metadata or from the full name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

from ckptkit.canonical.architecture import parse_architecture
from ckptkit.canonical.draft import Aside, LayerFacts, MapDraft, Member
from ckptkit.canonical.graph_kept import find_kept, may_be_metric
from ckptkit.canonical.graph_layers import NUMBERED, VARIABLE_LISTS, GraphVariable, name_layers, own_names
from ckptkit.canonical.graph_slots import GraphSlots, find_slots
from ckptkit.canonical.graph_walk import Walk, walk
from ckptkit.canonical.naming import VARIABLE_VALUE, public, without_attribute, without_output
from ckptkit.canonical.scopes import draft_scopes
from ckptkit.canonical.topology import read_topology
from ckptkit.canonical.words import NEVER_TRAINED
from ckptkit.canonical.wrapped import Scope
from ckptkit.model import HANDLES, Contents, ObjectGraph, StoredTensor

# Generators of random numbers: Keras's and TensorFlow's hold integers in a variable called so.
_GENERATORS = frozenset({"state", "_state_var", "seed_generator_state"})
_INTEGERS = ("int", "uint", "bool")

# What holds no numbers: names, serialised objects, the state of datasets' iterators.
_NO_NUMBERS = frozenset({"string", *HANDLES})


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
            asides.append(Aside(found.tensor.key, name, "slot", owner, own_names(found)))
        elif found.node in kept or _is_state(found, slots, walked):
            asides.append(Aside(found.tensor.key, _state_name(found, optimizers), "state", None, own_names(found)))
        else:
            weights.append(found)
    facts: dict[str, LayerFacts] = {}
    root = parse_architecture(walked.nodes[0].metadata)
    members = _in_order(name_layers(weights, walked, dialects, facts, root), weights, slots)
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


def _variables(contents: Contents, walked: Walk) -> tuple[list[GraphVariable], list[StoredTensor]]:
    """The variables that the graph reaches or lists as slots, in its order, and the tensors it does not explain."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    found: list[GraphVariable] = []
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
                and path[-2] in VARIABLE_LISTS
                and full_name
                and full_name.rpartition("/")[0] not in unclear
            ):
                path = (*path[:-1], *full_name.split("/"))
            found.append(GraphVariable(node, tensor, full_name, chain or (), path))
    return found, list(tensors.values())


def _full_names(walked: Walk) -> Counter[str]:
    """How many variables in Keras's lists of variables have each full name; those without one are never counted."""
    lists = {
        node
        for node in walked.order
        if walked.parents[node] >= 0 and walked.edges[walked.parents[node]] in VARIABLE_LISTS
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
    if "keras_api" in names or any(NUMBERED.fullmatch(name) for name in names):
        return ("keras2", "keras3", "sonnet2")
    return ("sonnet2", "keras2", "keras3", "tf_layers")


def _beside(tensor: StoredTensor) -> Aside:
    """What the graph has no variable for: serialised objects, tables of keys and values, counters."""
    return Aside(tensor.key, without_attribute(tensor.key), "metadata" if tensor.dtype in _NO_NUMBERS else "state")


def _is_state(found: GraphVariable, slots: GraphSlots, walked: Walk) -> bool:
    """Whether a variable is no weight. A word alone is no reason; an object of a kind, or an integer that counts, is."""
    if found.tensor.dtype in _NO_NUMBERS or found.node in slots.counters:
        return True
    called = {found.path[-1], found.full_name.rpartition("/")[2]}
    if found.tensor.dtype.startswith(_INTEGERS) and (not found.tensor.shape or not called.isdisjoint(_GENERATORS)):
        return True
    return _is_rnn_state(found, walked)


def _optimizer_at(found: GraphVariable) -> int | None:
    """Where the path of a variable says that it is a model's optimizer's."""
    return next((place for place, part in enumerate(found.path) if part in ("optimizer", "_optimizer")), None)


def _state_name(found: GraphVariable, optimizers: Collection[Scope]) -> str:
    """Path of a state; an optimizer's, where there is one, is called alike in every container of the model."""
    place = _optimizer_at(found)
    path = found.path[place:] if place is not None and len(optimizers) == 1 else found.path
    return "/".join(map(public, path))


def _is_rnn_state(found: GraphVariable, walked: Walk) -> bool:
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


def _in_order(members: Sequence[Member], weights: Sequence[GraphVariable], slots: GraphSlots) -> list[Member]:
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
