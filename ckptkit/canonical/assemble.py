"""Draft -> canonical map: fits the convention tables, names every tensor once, and puts all in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ckptkit.canonical.draft import Draft, LayerFacts, Member
from ckptkit.canonical.fit import Fit, Fitter, role_of
from ckptkit.canonical.naming import UniqueNames, without_attribute, without_auto_suffix, without_output
from ckptkit.model import CheckpointSpec, Contents, Kind, Layer, StoredTensor, Variable

# Tensors that are no weights wherever they appear in a layer: seeds of dropout, and what a normalisation counted.
_STATE_WORDS = frozenset({"seed_generator_state", "seed", "count"})


@dataclass(frozen=True, slots=True)
class _Described:
    """A member with what the tables say of it."""

    member: Member
    role: str | None
    kind: Kind


def assemble(contents: Contents, path: str, draft: Draft) -> CheckpointSpec:
    """Name and order what `draft` says of `contents`; tensors it leaves out are added at the end, unknown."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    names = UniqueNames()
    layers: list[Layer] = []
    variables: dict[str, Variable] = {}
    fitter = Fitter(draft.dialects)
    for layer, members in _by_layer(draft.members, tensors).items():
        facts = draft.facts.get(layer, LayerFacts())
        words = [(member.word, tensors[member.key].shape) for member in members]
        fit = fitter.best(words, facts.kind, facts.config, _scope(facts.called or layer))
        described = _describe(members, fit, draft, tensors)
        wishes = _words(described)
        own = []
        for item, word in zip(described, wishes, strict=True):
            name = names.take(f"{layer}/{word}" if word else layer)
            tensor = tensors[item.member.key]
            variables[tensor.key] = _variable(tensor, name, item.kind, layer, item.role, None, item.member.aliases)
            own.append(name)
        kind = facts.kind or (fit.row.kind if fit else None)
        dialect = fit.row.dialect if fit else "plain"
        layers.append(Layer(layer, kind, tuple(own), facts.calls, dialect, facts.config))
    _add_asides(draft, tensors, variables, names)
    return CheckpointSpec(
        path=path,
        format=contents.format,
        producer=contents.producer,
        order_source=draft.order_source,
        layers=tuple(layers),
        variables=tuple(variables.values()),
        weightless=draft.weightless,
        notes=(*contents.notes, *draft.notes),
        damage=contents.damage,
    )


def _by_layer(members: Iterable[Member], tensors: dict[str, StoredTensor]) -> dict[str, list[Member]]:
    """Members by layer, in order of first appearance; keys that the file does not hold or that repeat are dropped."""
    layers: dict[str, list[Member]] = {}
    seen: set[str] = set()
    for member in members:
        if member.key in tensors and member.key not in seen:
            seen.add(member.key)
            layers.setdefault(member.layer, []).append(member)
    return layers


def _scope(layer: str) -> str:
    return without_auto_suffix(layer.rpartition("/")[2])


def _describe(
    members: list[Member], fit: Fit | None, draft: Draft, tensors: dict[str, StoredTensor]
) -> list[_Described]:
    """Role and kind of each member, in the order of the fitted row unless the file's own order is the framework's."""
    natives = fit.natives if fit else {}
    described = []
    for member in members:
        native = natives.get(member.word)
        role = member.role or (native.roles[0] if native and native.roles else None)
        if role is None and native is None and tensors[member.key].shape:
            role = role_of(member.word, draft.dialects)
        state = native.kind == "state" if native else member.word in _STATE_WORDS
        described.append(_Described(member, role, "state" if state else "weight"))
    if not draft.keep_order:
        places = {word: place for place, word in enumerate(natives)}
        described.sort(key=lambda item: places.get(item.member.word, len(places)))
    return described


def _words(described: list[_Described]) -> list[str]:
    """Last part of each variable's name: its role, or its own word where no role or several of one are in the layer."""
    counts: dict[str | None, int] = {}
    for item in described:
        counts[item.role] = counts.get(item.role, 0) + 1
    return [item.role if item.role and counts[item.role] == 1 else item.member.word for item in described]


def _add_asides(
    draft: Draft, tensors: dict[str, StoredTensor], variables: dict[str, Variable], names: UniqueNames
) -> None:
    """Append what belongs to no layer, then every tensor that nothing has explained."""
    # Variables without a layer first: a slot is named after the variable it belongs to.
    for aside in sorted(draft.asides, key=lambda aside: aside.slot_of is not None):
        tensor = tensors.get(aside.key)
        if tensor is None or aside.key in variables:
            continue
        owner = variables.get(aside.slot_of) if aside.slot_of is not None else None
        name = names.take(f"{owner.name}/{aside.name}" if owner else aside.name)
        slot_of = owner.name if owner else None
        variables[tensor.key] = _variable(tensor, name, aside.kind, "", None, slot_of, aside.aliases)
    for tensor in tensors.values():
        if tensor.key not in variables:
            name = names.take(without_output(without_attribute(tensor.key)) or "unnamed")
            variables[tensor.key] = _variable(tensor, name, "weight", "", None, None, ())


def _variable(
    tensor: StoredTensor,
    name: str,
    kind: Kind,
    layer: str,
    role: str | None,
    slot_of: str | None,
    aliases: tuple[str, ...],
) -> Variable:
    others = dict.fromkeys((*tensor.aliases, *aliases))
    others.pop(name, None)
    others.pop(tensor.key, None)
    return Variable(
        name=name,
        key=tensor.key,
        aliases=tuple(others),
        layer=layer,
        role=role,
        kind=kind,
        slot_of=slot_of,
        shape=tensor.shape,
        dtype=tensor.dtype,
        nbytes=tensor.nbytes,
        trainable=tensor.trainable,
        problem=tensor.problem,
    )
