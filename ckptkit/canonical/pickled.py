"""What a file of `torch.save` means: state dicts, wherever they lie, and optimizers, whose slots belong to weights by number.

A `state_dict` lists modules in the order in which they were assigned, which is that of creation. An optimizer numbers the
parameters that it was given (torch/optim/optimizer.py, `state_dict`); the names are in the file only since PyTorch 2.6.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptkit.canonical.draft import Aside, LayerFacts, MapDraft, Member
from ckptkit.canonical.scopes import ARRAYS, BY_HAND, as_stored
from ckptkit.canonical.torch_names import DIALECT, is_buffer, is_torch, split_torch
from ckptkit.canonical.words import split_paths
from ckptkit.canonical.wrapped import Scope
from ckptkit.model import Contents, PickledState, StoredTensor

# Wrappers that put themselves in front of every name: torch/nn/parallel, and torch/_dynamo/eval_frame.py, which can stand
# in the middle, too.
_DATA_PARALLEL = "module"
_COMPILED = "_orig_mod"

# States of random generators: `rng_state`, `cuda_rng_state_all`, `random_states`.
_RANDOM = re.compile(r"(?:.*_)?(?:rng|random)(?:_.*)?")
_RANDOM_TYPES = ("uint", "int")
# Averages of weights, to which an optimizer does not belong.
_AVERAGE = re.compile(r"(?:.*_)?(?:ema|swa|averaged?|shadow)(?:_.*)?", re.IGNORECASE)
# Buffers of floats, by the names that PyTorch gives them; an optimizer has no slots for them.
_FLOAT_BUFFERS = frozenset({"running_mean", "running_var"})

# Orders that are none of layers.
_UNKNOWN = ("sorted", "attributes")

_STATE, _GROUPS, _PARAMS, _NAMES = "state", "param_groups", "params", "param_names"

Path = tuple[str, ...]


def draft_pickled(contents: Contents, structure: PickledState) -> MapDraft:
    """Layers of every state dict in the file, slots of every optimizer, and the rest as state."""
    places = structure.places
    optimizers = _optimizers(contents.tensors, structure)
    inside = {tensor.key for found in optimizers for tensor, _, _ in found.slots}
    rest = [tensor for tensor in contents.tensors if tensor.key not in inside]
    weights, states = _parted(rest, places)
    stored = as_stored(weights, contents.layout)
    weights, source, notes = stored or (weights, "sorted" if structure.unordered else "registration", ())
    scopes = _scopes(weights, places)
    paths, others = _paths(weights, weights, places), _paths(states, weights, places)
    asides = [Aside(tensor.key, "/".join(path), "state") for tensor, path in zip(states, others, strict=True)]
    top = {path[0] for path in paths if len(path) == 1}
    members = []
    named = is_torch(places[tensor.key][-1] for tensor in contents.tensors)
    dialects = (DIALECT,) if named else ARRAYS
    shapes = [tensor.shape for tensor in weights]
    split = split_torch(paths) if named else split_paths(paths, shapes, (*ARRAYS, BY_HAND))
    for tensor, path, (scope, word) in zip(weights, paths, split, strict=True):
        layer = "/".join(scope)
        home = (layer, word) if layer else ("root", word) if is_torch(top) else (word, "")
        alias = places[tensor.key][-1]
        members.append(Member(tensor.key, *home, aliases=(alias,) if "/".join(path) != alias else ()))
    lost = 0
    for found in optimizers:
        owners = _owners(found, scopes)
        for tensor, number, word in found.slots:
            owner = owners.get(number)
            lost += owner is None
            asides.append(Aside(tensor.key, word if owner else "/".join(places[tensor.key]), "slot", owner))
    facts = dict.fromkeys((each.layer for each in members), LayerFacts(ordered=False)) if source in _UNKNOWN else {}
    notes = (*notes, *_notes(structure))
    if lost:
        notes = (*notes, f"nothing tells to which weights {lost} slots of an optimizer belong: its groups number them")
    return MapDraft(
        tuple(members), tuple(asides), source, dialects, facts, keep_order=source not in _UNKNOWN, notes=notes
    )


def _notes(structure: PickledState) -> Iterator[str]:
    if structure.unordered:
        yield "it was made from a file that told no order of its layers"
    if structure.tied:
        shown = ", ".join(f"{other[-1]} is {one[-1]}" for one, other in structure.tied[:3])
        more = f" and {len(structure.tied) - 3} more" if len(structure.tied) > 3 else ""
        yield f"tied in the file: {shown}{more}"


def _parted(
    tensors: Sequence[StoredTensor], places: Mapping[str, Path]
) -> tuple[list[StoredTensor], list[StoredTensor]]:
    """Part weights from counters, buffers of integers, states of random generators, and scalars beside state dicts."""
    around = {
        place[:length] for place in (places[tensor.key] for tensor in tensors) for length in range(len(place) - 1)
    }
    weights: list[StoredTensor] = []
    states: list[StoredTensor] = []
    for tensor in tensors:
        place = places[tensor.key]
        random = any(map(_RANDOM.fullmatch, place)) and tensor.dtype.startswith(_RANDOM_TYPES)
        beside = not tensor.shape and place[:-1] in around
        (states if random or beside or _counts(tensor, place) else weights).append(tensor)
    return weights, states


def _counts(tensor: StoredTensor, place: Path) -> bool:
    return is_buffer(StoredTensor(place[-1], tensor.shape, tensor.dtype, tensor.nbytes))


def _scopes(weights: Sequence[StoredTensor], places: Mapping[str, Path]) -> dict[Path, list[StoredTensor]]:
    """The weights of each dictionary, in order."""
    scopes: dict[Path, list[StoredTensor]] = {}
    for tensor in weights:
        scopes.setdefault(places[tensor.key][:-1], []).append(tensor)
    return scopes


def _paths(tensors: Sequence[StoredTensor], weights: Sequence[StoredTensor], places: Mapping[str, Path]) -> list[Scope]:
    """The path of each tensor, without what lies around all weights and without the names of wrappers."""
    common = _common([places[tensor.key][:-1] for tensor in weights])
    wrapped = {
        scope
        for scope, found in _scopes(weights, places).items()
        if all(places[tensor.key][-1].startswith(f"{_DATA_PARALLEL}.") for tensor in found)
    }
    around = places[weights[0].key][:common] if weights else ()
    paths = []
    for tensor in tensors:
        place = places[tensor.key]
        dotted = place[-1].split(".")
        dotted = dotted[1:] if place[:-1] in wrapped else dotted
        outer = place[common:-1] if place[:common] == around else place[:-1]
        parts = [part for part in (*outer, *dotted) if part not in ("", _COMPILED)]
        paths.append(tuple(parts) or (place[-1] or "unnamed",))
    return paths


def _common(paths: Sequence[Path]) -> int:
    """How many parts all paths have in common at their beginning."""
    if not paths:
        return 0
    first, last = min(paths), max(paths)
    pairs = enumerate(zip(first, last, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(last)))


Slot = tuple[StoredTensor, str, str]
"""A slot, the number or name of its parameter, and what the slot is called."""


@dataclass(frozen=True, slots=True)
class _Optimizer:
    """The `state_dict` of an optimizer.

    Attributes:
        slots: what it keeps.
        groups: numbers of the parameters of each group, in order.
        names: number -> name of the parameter, where the file has it.
    """

    slots: Sequence[Slot]
    groups: Sequence[Sequence[str]]
    names: Mapping[str, str]


def _optimizers(tensors: Sequence[StoredTensor], structure: PickledState) -> list[_Optimizer]:
    groups: dict[Path, dict[str, dict[str, Sequence[object]]]] = {}
    for at, value in structure.plain.items():
        if len(at) > 2 and at[-3] == _GROUPS and at[-1] in (_PARAMS, _NAMES) and isinstance(value, tuple):
            groups.setdefault(at[:-3], {}).setdefault(at[-2], {})[at[-1]] = value
    slots: dict[Path, list[Slot]] = {path: [] for path in groups}
    for tensor in tensors:
        place = structure.places[tensor.key]
        begin = next((at for at in range(len(place) - 2) if place[at] == _STATE and place[:at] in groups), None)
        if begin is not None:
            slots[place[:begin]].append((tensor, place[begin + 1], "/".join(place[begin + 2 :])))
    flat = _flat_slots(tensors, structure.places)
    return [
        *(_optimizer(slots[path], list(found.values())) for path, found in groups.items()),
        *(_Optimizer(found, (), {}) for found in flat.values()),
    ]


def _flat_slots(tensors: Sequence[StoredTensor], places: Mapping[str, Path]) -> dict[Path, list[Slot]]:
    """Slots of optimizers whose dictionaries were made one: `state.<weight>.<slot>`, as a distributed checkpoint has them.

    Source: torch/distributed/checkpoint/state_dict.py, `_flatten_optim_state_dict`.
    """
    known = {places[tensor.key][-1] for tensor in tensors}
    found: dict[Path, list[Slot]] = {}
    for tensor in tensors:
        *around, name = places[tensor.key]
        weight, _, word = name.removeprefix(f"{_STATE}.").rpartition(".")
        if name.startswith(f"{_STATE}.") and weight in known:
            found.setdefault(tuple(around), []).append((tensor, weight, word))
    return found


def _optimizer(slots: list[Slot], groups: Sequence[Mapping[str, Sequence[object]]]) -> _Optimizer:
    names: dict[str, str] = {}
    for group in groups:
        params, named = group.get(_PARAMS, ()), group.get(_NAMES, ())
        if len(params) == len(named):
            names.update((str(number), str(name)) for number, name in zip(params, named, strict=True))
    return _Optimizer(slots, [[str(number) for number in group.get(_PARAMS, ())] for group in groups], names)


def _owners(found: _Optimizer, scopes: Mapping[Path, Sequence[StoredTensor]]) -> dict[str, str]:
    """Number of a parameter -> key of the weight, where one answer is left."""
    answers = []
    for scope, weights in scopes.items():
        if any(map(_AVERAGE.fullmatch, scope)):
            continue
        names = {tensor.key[len("/".join(scope)) :].lstrip("/"): tensor for tensor in weights}
        answer = _by_name(found, names) or _by_order(found, names)
        if answer:
            answers.append(answer)
    return answers[0] if len(answers) == 1 else {}


def _by_name(found: _Optimizer, weights: Mapping[str, StoredTensor]) -> dict[str, str]:
    """By the names that the optimizer has for its parameters, or that its state is kept under (as FSDP gathers it)."""
    names = found.names or {number: number for _, number, _ in found.slots if not number.isdecimal()}
    if not names or not set(names.values()) <= weights.keys():
        return {}
    return {number: weights[name].key for number, name in names.items()}


def _by_order(found: _Optimizer, weights: Mapping[str, StoredTensor]) -> dict[str, str]:
    """By their number: those of a group come in the order of the state dict, some of whose tensors may be none of them.

    Every way to leave some out is thought of; a number is answered where the first way and the last one agree, and no
    other group's has the same answer.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor, number, _ in found.slots:
        if tensor.shape:
            shapes.setdefault(number, tensor.shape)
    able = [tensor for name, tensor in weights.items() if name.rpartition(".")[2] not in _FLOAT_BUFFERS]
    answer: dict[str, str] = {}
    for group in found.groups:
        first = _embedded(group, shapes, able)
        last = _embedded(group[::-1], shapes, able[::-1])
        answer |= {number: key for number, key in first.items() if last.get(number) == key}
    taken = Counter(answer.values())
    return {number: key for number, key in answer.items() if taken[key] == 1}


def _embedded(
    numbers: Sequence[str], shapes: Mapping[str, tuple[int, ...]], weights: Sequence[StoredTensor]
) -> dict[str, str]:
    """Each number with the first weight behind that of the number before that has its shape; none where one has none."""
    answer: dict[str, str] = {}
    pending = iter(weights)
    for number in numbers:
        wanted = shapes.get(number)
        weight = next((each for each in pending if wanted is None or each.shape == wanted), None)
        if weight is None:
            return {}
        answer[number] = weight.key
    return answer
