"""Object graph -> layers: what each variable's layer is called, by attributes, places in lists and full names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptkit.canonical.architecture import Node, preorder
from ckptkit.canonical.draft import LayerFacts, Member
from ckptkit.canonical.fit import begins_row, kinds
from ckptkit.canonical.graph_walk import Walk
from ckptkit.canonical.naming import clipped, is_cell, public
from ckptkit.canonical.words import split_paths
from ckptkit.canonical.wrapped import PROJECTIONS, Scope, modern
from ckptkit.model import StoredTensor

# Attributes that Keras numbers, and lists of its own whose places are no names.
NUMBERED = re.compile(r"layer(?:_with_weights)?-[0-9]+")
_LISTS = frozenset({"_operations", "_trainable_variables", "_functional", "variables"})


# Those of them that hold variables and no layers: an optimizer's, and that of what Keras 3 exports.
VARIABLE_LISTS = frozenset({"_trainable_variables", "variables"})


@dataclass(frozen=True, slots=True)
class GraphVariable:
    """A variable of the graph."""

    node: int
    tensor: StoredTensor
    full_name: str
    chain: Sequence[int]
    path: Scope


def own_names(found: GraphVariable) -> tuple[str, ...]:
    """The name that a variable was made with, where the file has one."""
    return (found.full_name,) if found.full_name else ()


def name_layers(
    weights: Sequence[GraphVariable],
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
        Member(found.tensor.key, layers[index], _word(found, split[index][1]), aliases=own_names(found))
        for index, found in enumerate(weights)
    ]


def _cut_lists(weights: Sequence[GraphVariable], split: list[tuple[Scope, str]], dialects: tuple[str, ...]) -> None:
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
        if scope[-1:] == () or scope[-1] not in VARIABLE_LISTS or not word.isdigit():
            continue
        named = found.full_name.rpartition("/")[2]
        follows = scope == owner and int(word) == last + 1 and named and begins_row((*before, named), dialects)
        if not follows:
            place, before = word, []
        before.append(named)
        owner, last = scope, int(word)
        split[index] = (*scope, place), word


def _word(found: GraphVariable, word: str) -> str:
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
    owner: Scope, through: frozenset[int], members: Sequence[GraphVariable], scopes: Collection[Scope], walked: Walk
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


def _scope(found: GraphVariable, word: str) -> Scope:
    """What a variable's full name says of its layer: the components before its own."""
    return tuple(found.full_name.split("/")[: -(word.count("/") + 1)])


def _places_in_lists(owner: Scope) -> frozenset[int]:
    """Which components are nothing but a place in one of Keras's own lists of layers."""
    return frozenset(
        place
        for place, part in enumerate(owner)
        if NUMBERED.fullmatch(part) or part in _LISTS or (place and owner[place - 1] in _LISTS)
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


def _facts(found: GraphVariable, word: str, walked: Walk, words: Mapping[str, str], node: Node | None) -> LayerFacts:
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
