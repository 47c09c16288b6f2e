"""Flat names: TF1 savers, safetensors, npz, plain HDF5, and object-based bundles whose graph is lost.

A name is a path of scopes; the layer is the path without what the convention tables know as a variable's name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ckptkit.canonical.draft import Aside, LayerFacts, MapDraft, Member
from ckptkit.canonical.fit import Aligner, role_of, suffixes
from ckptkit.canonical.flat_trees import FLAX, HAIKU, family_of, join_collections
from ckptkit.canonical.graph_flow import read_flow
from ckptkit.canonical.keras_v3_places import by_attributes
from ckptkit.canonical.naming import natural_key, public, without_attribute, without_auto_suffix, without_output
from ckptkit.canonical.saver_slots import find_slots, flags
from ckptkit.canonical.slots import find_bookkeeping
from ckptkit.canonical.torch_names import DIALECT as TORCH
from ckptkit.canonical.torch_names import is_buffer, is_torch, split_torch
from ckptkit.canonical.words import split_paths
from ckptkit.canonical.wrapped import Scope
from ckptkit.model import HANDLES, Contents, Layout, MetaGraph, OrderSource, StoredTensor

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"

_TENSORFLOW = ("tf_layers", "slim", "sonnet1", "keras2", "rnn_cell", "keras1")
ARRAYS = ("keras3", "keras2", "tf_layers", "slim", "sonnet2", "sonnet1", "rnn_cell", "keras1", HAIKU)
_OF_TENSORFLOW = ("tensor-bundle", "tf-v1", "saved-model")
# Whose words of several components (`mean/EMA`) can stand in any of them.
BY_HAND = "by_hand"
_OBJECTS = ("keras2", "keras3", "sonnet2", "tf_layers")

# What each dialect calls a kernel and no other does: it tells whose the names are that several share (`gamma`).
_KERNEL_WORDS = {"weights": "slim", "w": "sonnet1"}

# What holds no numbers: names, serialised objects, the state of datasets' iterators.
_NO_NUMBERS = frozenset({"string", *HANDLES})

# Layers of which nothing is known but whether they are in order, of which there may be 100,000.
_PLACES = (LayerFacts(ordered=False), LayerFacts(ordered=True))

# What counts layers of one word: `dense`, `dense_1`, `h0`.
_DIGITS = "0123456789"

# A matrix called so is looked up by index, whoever made it; there is no further word below it.
_TABLE_WORDS = ("embeddings", "embedding")  # the tables' own; the second one is Flax's
_EMBEDDING = re.compile(r"(?:.*_)?embeddings?(?:_(?:table|matrix|weights?|map))?", re.IGNORECASE)


def draft_scopes(contents: Contents, family: str | None = None) -> MapDraft:
    """Layers by scope, in the order of creation where a graph tells it, else by the numbers in the names.

    Args:
        contents: the file's.
        family: `flax` or `haiku` where that is known; None for what the names tell.
    """
    stored = {tensor.key: _path_of(tensor.key) for tensor in contents.tensors}
    names = stored if contents.format in _OF_TENSORFLOW else join_collections(stored)
    dialects = _dialects(contents, stored, family)
    weights, asides, doubtful = _sort_out(contents, names, torch=dialects == (TORCH,))
    ordered, source, notes = as_stored(weights, contents.layout) or _ordered(weights, names, contents.meta_graph)
    paths = [_components(names[tensor.key]) for tensor in ordered]
    if dialects == (TORCH,):
        split = split_torch(paths)
    else:
        split = split_paths(paths, [tensor.shape for tensor in ordered], (*dialects, BY_HAND))
    facts: dict[str, LayerFacts] = {}
    _read_places(ordered, split, dialects, facts)
    members = _members(ordered, split, dialects, facts)
    _mark_order(dict.fromkeys(member.layer for member in members), source, facts)
    owners = {names[member.key]: member.layer for member in members}
    read_nodes = contents.meta_graph.read_nodes if contents.meta_graph else None
    # Variables of a layer may be created apart from each other; the layer stands where its first one does.
    return MapDraft(
        members=tuple(members),
        asides=tuple(asides),
        order_source=source,
        dialects=dialects,
        facts=facts,
        keep_order=source in ("stored", "attributes"),
        notes=notes,
        doubtful=doubtful,
        read_flow=partial(read_flow, read_nodes, owners) if read_nodes else None,
    )


def _dialects(contents: Contents, names: Mapping[str, str], family: str | None) -> tuple[str, ...]:
    """Whose names these can be, the one that names most kernels first."""
    if is_torch(tensor.key for tensor in contents.tensors):
        return (TORCH,)
    usual = _usual_dialects(contents, names, family)
    kernel_words = {**_KERNEL_WORDS, "w": HAIKU} if usual[0] == HAIKU else _KERNEL_WORDS
    counts = dict.fromkeys(usual, 0)
    for tensor in contents.tensors:
        word = without_auto_suffix(without_output(tensor.key).rpartition("/")[2])
        dialect = kernel_words.get(word, usual[0] if word == "kernel" else "")
        if dialect in counts and len(tensor.shape) > 1:
            counts[dialect] += 1
    return tuple(sorted(usual, key=lambda dialect: -counts[dialect]))


def _usual_dialects(contents: Contents, names: Mapping[str, str], family: str | None) -> tuple[str, ...]:
    if contents.format in _OF_TENSORFLOW:
        objects = any(tensor.key == OBJECT_GRAPH_KEY for tensor in contents.tensors)
        return _OBJECTS if objects else _TENSORFLOW
    if family is None and not contents.layout:
        family = family_of(names.values())
    return tuple(dict.fromkeys((family, *ARRAYS))) if family else ARRAYS


def _path_of(key: str) -> str:
    """A key with `/` between its parts: safetensors and npz files of other frameworks have dots."""
    name = without_output(without_attribute(key)).strip("/")
    if "/" not in name and "." in name:
        name = name.replace(".", "/")
    return name or key or "unnamed"


def _components(path: str) -> Scope:
    return tuple(part for part in path.split("/") if part) or (path,)


def _sort_out(
    contents: Contents, names: Mapping[str, str], *, torch: bool
) -> tuple[list[StoredTensor], list[Aside], frozenset[str]]:
    """Part weights from slots, counters and metadata. A word alone makes nothing a slot or a state: what is doubtful stays.

    Returns:
        (weights, the others, keys of the weights that may be an optimizer's).
    """
    slots = find_slots(contents, names)
    trained, untrained = flags(contents.meta_graph, frozenset(names.values()))
    slotted = {names[owner] for owner, _ in slots.owners.values() if owner}
    scalars = {names[t.key]: t.dtype for t in contents.tensors if not t.shape and t.key not in slots.owners}
    for name in (*trained, *slotted):
        scalars.pop(name, None)
    kept, doubtful = find_bookkeeping(scalars, untrained, slots)
    weights: list[StoredTensor] = []
    asides: list[Aside] = []
    for tensor in contents.tensors:
        key, name = tensor.key, names[tensor.key]
        if key == OBJECT_GRAPH_KEY or tensor.dtype in _NO_NUMBERS:
            asides.append(Aside(key, name, "metadata"))
        elif key in slots.owners:
            owner, word = slots.owners[key]
            asides.append(Aside(key, word if owner else name, "slot", owner))
        elif (torch and is_buffer(tensor)) or (not tensor.shape and name in kept):
            asides.append(Aside(key, name, "state"))
        else:
            weights.append(tensor)
    return weights, asides, frozenset(tensor.key for tensor in weights if names[tensor.key] in doubtful)


def as_stored(
    weights: Sequence[StoredTensor], layout: Layout | None
) -> tuple[list[StoredTensor], OrderSource, tuple[str, ...]] | None:
    """The order that travelled here with the weights; None where it says nothing of one of them."""
    places = {place.key: number for number, place in enumerate(layout.places)} if layout else {}
    if not places or any(tensor.key not in places for tensor in weights):
        return None
    alphabet = layout is not None and layout.kind == "v3" and by_attributes({each.group for each in layout.places})
    return sorted(weights, key=lambda tensor: places[tensor.key]), "attributes" if alphabet else "stored", ()


def _ordered(
    weights: Sequence[StoredTensor], names: Mapping[str, str], graph: MetaGraph | None
) -> tuple[list[StoredTensor], OrderSource, tuple[str, ...]]:
    places = {variable.name: place for place, variable in enumerate(graph.variables)} if graph else {}
    known = sum(names[tensor.key] in places for tensor in weights)
    natural = sorted(weights, key=lambda tensor: natural_key(names[tensor.key]))
    if known:
        # What the graph does not list comes last: sorting is stable.
        return sorted(natural, key=lambda tensor: places.get(names[tensor.key], len(places))), "meta-graph", ()
    scopes = {names[tensor.key].rpartition("/")[0] for tensor in weights}
    if len(scopes) < 2 or any(character.isdigit() for scope in scopes for character in scope):
        return natural, "natural", ()
    note = "nothing in the file tells the order of the layers: they are sorted by name"
    return natural, "sorted", (note,)


def _mark_order(layers: Iterable[str], source: OrderSource, facts: dict[str, LayerFacts]) -> None:
    """Without a graph, or an order that came along, only layers that one scope numbers are in order; the alphabet is none."""
    if source in ("meta-graph", "stored"):
        return
    words: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for layer in layers:
        parent, _, last = layer.rpartition("/")
        base = last.rstrip(_DIGITS)
        words[parent][base if len(base) == len(last) else base.removesuffix("_")].append(layer)
    for found in words.values():
        series = [names for names in found.values() if len(names) > 1]
        ordered = set(series[0]) if len(series) == 1 else set()
        for name in (name for names in found.values() for name in names):
            known = facts.get(name)
            facts[name] = _PLACES[name in ordered] if known is None else replace(known, ordered=name in ordered)


def _read_places(
    tensors: Sequence[StoredTensor],
    split: list[tuple[Scope, str]],
    dialects: tuple[str, ...],
    facts: dict[str, LayerFacts],
) -> None:
    """Give the words of a row to variables that are known by their places alone, as a file of Keras 3's layout had them."""
    places: dict[Scope, dict[str, int]] = defaultdict(dict)
    for index, (scope, word) in enumerate(split):
        if len(scope) > 1 and scope[-1] == "vars" and word.isdigit():
            places[scope[:-1]][word] = index
    aligner = Aligner(tuple(dialect for dialect in dialects if dialect not in (FLAX, HAIKU)))
    for scope, found in places.items():
        numbers = [str(number) for number in range(len(found))]
        if set(numbers) != found.keys():
            continue
        read = aligner.align([tensors[found[number]].shape for number in numbers], None, {})
        for number, native in zip(numbers, read.natives, strict=True):
            split[found[number]] = scope, native.suffix if native else f"vars/{number}"
        facts["/".join(scope)] = LayerFacts(read.kind, placed=not all(read.natives), unsure=read.kind is None)


def _members(
    tensors: Sequence[StoredTensor],
    split: Sequence[tuple[Scope, str]],
    dialects: tuple[str, ...],
    facts: dict[str, LayerFacts],
) -> list[Member]:
    """Put each variable in its layer; variables that no scope names make layers of their own."""
    # Words repeat from layer to layer: without the number behind it, its role, and that of what is without the number.
    words = {
        word: (base := without_auto_suffix(word), role_of(word, dialects), role_of(base, dialects))
        for word in {word for _, word in split}
    }
    counted = any(base != word for word, (base, _, _) in words.items())
    numbered = _numbered(split, dialects) if counted else {}
    known = suffixes(dialects)
    quantised = {(*scope, word) for scope, word in split if word == "ema_dw"}
    members = []
    for tensor, (scope, word) in zip(tensors, split, strict=True):
        path = "/".join(scope)
        base, role, base_role = words[word]
        # A quantiser has its codebook among the averages that keep it, a layer has it under the tables' own word.
        tabled = word in (_TABLE_WORDS if dialects[0] == FLAX else _TABLE_WORDS[:1])
        looked_up = len(tensor.shape) == 2 and not tabled and _EMBEDDING.fullmatch(base)
        if looked_up and (*scope, "ema_dw") not in quantised:
            path = "/".join((*scope, word))
            facts[path] = LayerFacts("Embedding")
            members.append(Member(tensor.key, path, "embeddings"))
        elif role is None and base != word and base_role is not None:
            number = word[len(base) :]
            alone = len(numbered[path]) == 1
            layer = path if path and alone else f"{path or 'root'}{number}"
            members.append(Member(tensor.key, layer, base, base_role))
        elif not path and (not tensor.shape or public(word) not in known):
            members.append(Member(tensor.key, word, ""))
        else:
            members.append(Member(tensor.key, path or "root", word))
    return members


def _numbered(split: Sequence[tuple[Scope, str]], dialects: tuple[str, ...]) -> dict[str, set[str]]:
    """The numbers by which a scope tells variables of one name apart: `weights`, `weights_1` … are several layers."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for scope, word in split:
        base = without_auto_suffix(word)
        if role_of(word, dialects) is not None:
            numbers["/".join(scope)].add("")
        elif base != word and role_of(public(base), dialects) is not None:
            numbers["/".join(scope)].add(word[len(base) :])
    return numbers
