"""Flat names: TF1 savers, safetensors, npz, plain HDF5, and object-based bundles whose graph is lost.

A name is a path of scopes; the layer is the path without what the convention tables know as a variable's name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ckptkit.canonical.draft import Aside, Draft, LayerFacts, Member
from ckptkit.canonical.fit import role_of, suffixes
from ckptkit.canonical.naming import natural_key, public, without_attribute, without_auto_suffix, without_output
from ckptkit.canonical.slots import find_owner, is_counter, is_setting, is_slot_word
from ckptkit.canonical.words import split_paths
from ckptkit.canonical.wrapped import Scope
from ckptkit.model import Contents, MetaGraph, OrderSource, StoredTensor

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"

_TENSORFLOW = ("tf_layers", "slim", "sonnet1", "keras2", "rnn_cell", "keras1")
_ARRAYS = ("keras3", "keras2", "tf_layers", "slim", "sonnet2", "sonnet1", "rnn_cell", "keras1")
_OBJECTS = ("keras2", "keras3", "sonnet2", "tf_layers")

# What each dialect calls a kernel and no other does: it tells whose the names are that several share (`gamma`).
_KERNEL_WORDS = {"weights": "slim", "w": "sonnet1"}

# Between a variable and what an optimizer keeps for it, in keys of object-based checkpoints.
_OPTIMIZER_SLOT = "/.OPTIMIZER_SLOT/"

# Scalars of these types count or switch something; none is trained.
_COUNTING = ("int", "uint", "bool")

# A matrix called so is looked up by index, whoever made it; there is no further word below it.
_EMBEDDING = re.compile(r"(?:.*_)?embeddings?(?:_(?:table|matrix|weights?|map))?", re.IGNORECASE)


def draft_scopes(contents: Contents) -> Draft:
    """Layers by scope, in the order of creation where a graph tells it, else by the numbers in the names."""
    names = {tensor.key: _path_of(tensor.key) for tensor in contents.tensors}
    dialects = _dialects(contents)
    weights, asides = _sort_out(contents, names)
    ordered, source, notes = _ordered(weights, names, contents.meta_graph)
    split = split_paths([_components(names[tensor.key]) for tensor in ordered], [t.shape for t in ordered], dialects)
    facts: dict[str, LayerFacts] = {}
    members = _members(ordered, split, dialects, facts)
    # Variables of a layer may be created apart from each other; the layer stands where its first one does.
    return Draft(
        members=tuple(members),
        asides=tuple(asides),
        order_source=source,
        dialects=dialects,
        facts=facts,
        keep_order=False,
        notes=notes,
    )


def _dialects(contents: Contents) -> tuple[str, ...]:
    """Whose names these can be, the one that names most kernels first."""
    usual = _usual_dialects(contents)
    counts = dict.fromkeys(usual, 0)
    for tensor in contents.tensors:
        word = without_auto_suffix(without_output(tensor.key).rpartition("/")[2])
        dialect = _KERNEL_WORDS.get(word, usual[0] if word == "kernel" else "")
        if dialect in counts and len(tensor.shape) > 1:
            counts[dialect] += 1
    return tuple(sorted(usual, key=lambda dialect: -counts[dialect]))


def _usual_dialects(contents: Contents) -> tuple[str, ...]:
    if contents.format in ("tensor-bundle", "tf-v1", "saved-model"):
        objects = any(tensor.key == OBJECT_GRAPH_KEY for tensor in contents.tensors)
        return _OBJECTS if objects else _TENSORFLOW
    return _ARRAYS


def _path_of(key: str) -> str:
    """A key with `/` between its parts: safetensors and npz files of other frameworks have dots."""
    name = without_output(without_attribute(key)).strip("/")
    if "/" not in name and "." in name:
        name = name.replace(".", "/")
    return name or key or "unnamed"


def _components(path: str) -> Scope:
    return tuple(part for part in path.split("/") if part) or (path,)


def _sort_out(contents: Contents, names: Mapping[str, str]) -> tuple[list[StoredTensor], list[Aside]]:
    """Part weights from slots, counters and metadata."""
    by_name: dict[str, str] = {}
    for key, name in names.items():
        by_name.setdefault(name, key)
    untrained = _untrained(contents.meta_graph)
    weights: list[StoredTensor] = []
    asides: list[Aside] = []
    for tensor in contents.tensors:
        key, name = tensor.key, names[tensor.key]
        slot = _slot(key, name, by_name)
        if key == OBJECT_GRAPH_KEY or tensor.dtype == "string":
            asides.append(Aside(key, name, "metadata"))
        elif slot is not None:
            asides.append(Aside(key, slot[1] if slot[0] else name, "slot", slot[0]))
        elif not tensor.shape and _counts(tensor, name, untrained):
            asides.append(Aside(key, name, "state"))
        else:
            weights.append(tensor)
    return weights, asides


def _counts(scalar: StoredTensor, name: str, untrained: frozenset[str]) -> bool:
    """Whether a scalar is a counter or a setting of the training rather than a weight."""
    return is_counter(name) or is_setting(name) or name in untrained or scalar.dtype.startswith(_COUNTING)


def _untrained(graph: MetaGraph | None) -> frozenset[str]:
    variables = graph.variables if graph else ()
    return frozenset(variable.name for variable in variables if not variable.trainable)


def _slot(key: str, name: str, by_name: Mapping[str, str]) -> tuple[str | None, str] | None:
    """(key of the weight or None, what the slot is called) where `name` is that of a slot."""
    variable, found, slot = without_attribute(key).partition(_OPTIMIZER_SLOT)
    if found:
        return by_name.get(variable), slot.rpartition("/")[2]
    head, _, last = name.rpartition("/")
    if not head or not is_slot_word(last):
        return None
    owner = find_owner(name, by_name)
    if owner is not None and owner[0] != key:
        return owner
    # The weights may be in another file; then only names that no layer uses count.
    return (None, last) if last[0].isupper() or last.startswith(("adam_", "lamb_")) else None


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


def _members(
    tensors: Sequence[StoredTensor],
    split: Sequence[tuple[Scope, str]],
    dialects: tuple[str, ...],
    facts: dict[str, LayerFacts],
) -> list[Member]:
    """Put each variable in its layer; variables that no scope names make layers of their own."""
    numbered = _numbered(split, dialects)
    known = suffixes(dialects)
    quantised = {(*scope, word) for scope, word in split if word == "ema_dw"}
    members = []
    for tensor, (scope, word) in zip(tensors, split, strict=True):
        path = "/".join(scope)
        base, role = without_auto_suffix(word), role_of(word, dialects)
        # A quantiser has its codebook among the averages that keep it, a layer has it under the tables' own word.
        looked_up = _EMBEDDING.fullmatch(base) and word != "embeddings" and (*scope, "ema_dw") not in quantised
        if looked_up and len(tensor.shape) == 2:
            path = "/".join((*scope, word))
            facts[path] = LayerFacts("Embedding")
            members.append(Member(tensor.key, path, "embeddings"))
        elif role is None and base != word and (role := role_of(base, dialects)) is not None:
            number = word[len(base) :]
            alone = len(numbered[path]) == 1
            layer = path if path and alone else f"{path or 'root'}{number}"
            members.append(Member(tensor.key, layer, base, role))
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
