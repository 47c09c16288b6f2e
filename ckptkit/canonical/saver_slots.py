"""Slots among flat names: what stands below or around the name of a weight as the full set of an optimizer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from ckptkit.canonical.naming import without_attribute
from ckptkit.canonical.slots import Slots, find_owner, is_optimizer_scope, is_slot_word, set_of
from ckptkit.model import Contents, MetaGraph

# Between a variable and what an optimizer keeps for it, in keys of object-based checkpoints.
_OPTIMIZER_SLOT = "/.OPTIMIZER_SLOT/"

# What Adam counts beside its slots (tensorflow/python/training/adam.py).
_BOOKKEPT = frozenset({"beta1_power", "beta2_power"})

Owners = dict[str, tuple[str | None, str]]


def flags(graph: MetaGraph | None, known: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the variables that a graph says are trained, and of those that are not.

    A graph in which someone made the slots as plain variables lists even Adam's counters as trained: it says nothing.
    """
    variables = graph.variables if graph else ()
    if any(variable.trainable and variable.name in _BOOKKEPT for variable in variables) and known >= _BOOKKEPT:
        return frozenset(), frozenset()
    trained = frozenset(variable.name for variable in variables if variable.trainable)
    return trained, frozenset(variable.name for variable in variables) - trained


def find_slots(contents: Contents, names: Mapping[str, str]) -> Slots:
    """Slots, with their weights.

    They are those that a key marks, those that stand below a weight of their shape as the full set of an optimizer of
    TensorFlow 1, and those in an optimizer's own scope that has one of each kind for every weight that it names. What a
    graph says is trained is none.

    Args:
        contents: the file's.
        names: path of each key.
    """
    by_name: dict[str, str] = {}
    for key, name in names.items():
        by_name.setdefault(name, key)
    shapes = {tensor.key: tensor.shape for tensor in contents.tensors}
    trained, _ = flags(contents.meta_graph, frozenset(by_name))
    slots: Owners = {}
    sets: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    scoped: dict[str, Owners] = defaultdict(dict)
    for tensor in contents.tensors:
        key, name = tensor.key, names[tensor.key]
        variable, marked, slot = without_attribute(key).partition(_OPTIMIZER_SLOT)
        if marked:
            slots[key] = by_name.get(variable), slot.rpartition("/")[2]
            continue
        head, _, last = name.rpartition("/")
        if not head or name in trained:
            continue
        found = set_of(last)
        if found is not None:
            sets[head, found[0], found[1]].append(key)
        elif any(map(is_optimizer_scope, name.split("/")[:-1])):
            owner = find_owner(name, by_name)
            # `Adam/m/w` and `Adam/w/m` are slots; `Adam/w` may be one of two twins.
            named = owner is not None and is_slot_word(owner[1]) and not is_optimizer_scope(owner[1])
            if owner and named and owner[0] != key and shapes[owner[0]] == tensor.shape:
                scoped[_scope(name)][key] = owner
    grouped = [*sets.values(), *([*found] for found in scoped.values())]
    others = sum(bool(shape) for shape in shapes.values()) - sum(map(len, grouped))
    whole = {scope: _whole(own, others) for scope, own in scoped.items()}
    for own in whole.values():
        slots.update(own)
    words: set[str] = set()
    below: dict[tuple[str, int], list[Owners]] = defaultdict(list)
    for (_, word, size), keys in sets.items():
        owner = find_owner(names[keys[0]], by_name)
        alike = owner is not None and {shapes[key] for key in keys} == {shapes[owner[0]]}
        if owner and alike and len(keys) >= size and owner[0] not in keys:
            below[word, size].append({key: (owner[0], names[key].rpartition("/")[2]) for key in keys})
    for (word, size), complete in below.items():
        # One variable below one other is no set, unless there are no more weights that could have it.
        if size > 1 or len(complete) > 1 or others < 2:
            words.add(word)
            for each in complete:
                slots.update(each)
    return Slots(slots, words, {scope for scope, own in whole.items() if own})


def _scope(name: str) -> str:
    """The path down to the optimizer's own scope."""
    parts = name.split("/")
    place = next(place for place, part in enumerate(parts) if is_optimizer_scope(part))
    return "/".join(parts[: place + 1])


def _whole(found: Owners, others: int) -> Owners:
    """Slots in an optimizer's scope whose weights have as many as most have; one alone is none where others could have it.

    Args:
        found: what may be slots.
        others: how many weights there are.
    """
    kinds: dict[str | None, set[str]] = defaultdict(set)
    for owner, word in found.values():
        kinds[owner].add(word)
    counts = Counter(frozenset(each) for each in kinds.values())
    usual = max(counts, key=lambda each: (counts[each], len(each)))
    whole = {key: each for key, each in found.items() if kinds[each[0]] == usual and each[0] not in found}
    return whole if len(whole) > 1 or others < 2 else {}
