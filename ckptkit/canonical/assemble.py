"""A draft -> canonical map: fits the convention tables, names every tensor once, and puts all in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ckptkit.canonical.draft import LayerFacts, MapDraft, Member
from ckptkit.canonical.fit import Fitter, RowFit, role_of
from ckptkit.canonical.naming import UniqueNames, without_attribute, without_auto_suffix, without_output
from ckptkit.model import CheckpointSpec, Contents, Kind, Layer, StoredTensor, Tree, Variable, layout_in

# Integers that are no weights wherever they appear in a layer: seeds of dropout, and what a normalisation counted.
_STATE_WORDS = frozenset({"seed_generator_state", "seed", "count", "num_batches_tracked"})
_INTEGERS = ("int", "uint")

_NO_FACTS = LayerFacts()

# Kinds of layers that are remembered; a file can hold any number of them.
_MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Described:
    """A member with what the tables say of it.

    Attributes:
        place: among the layer's members.
        role: see `Variable.role`.
        kind: see `Variable.kind`.
        word: last part of the variable's name; "" where the layer's own name is all of it.
    """

    place: int
    role: str | None
    kind: Kind
    word: str


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the tables say of a layer: its members in the order of its variables, its kind and its dialect."""

    members: tuple[_Described, ...]
    kind: str | None
    dialect: str


def assemble(contents: Contents, path: str, draft: MapDraft) -> CheckpointSpec:
    """Name and order what `draft` says of `contents`; tensors it leaves out are added at the end, unknown."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    names = UniqueNames()
    layers: list[Layer] = []
    variables: dict[str, Variable] = {}
    reader = _Reader(draft, tensors)
    for layer, members in _by_layer(draft.members, tensors).items():
        facts = draft.facts.get(layer, _NO_FACTS)
        reading = reader.read(layer, members, facts)
        own = []
        for each in reading.members:
            name = names.take(f"{layer}/{each.word}" if each.word else layer)
            member = members[each.place]
            tensor = tensors[member.key]
            variables[tensor.key] = _variable(tensor, name, each.kind, layer, each.role, None, member.aliases)
            if member.key in draft.doubtful:
                variables[tensor.key] = replace(variables[tensor.key], doubtful=True)
            own.append(name)
        aliases = (
            tuple([each for each in dict.fromkeys(facts.aliases) if each and each != layer]) if facts.aliases else ()
        )
        layers.append(
            Layer(
                layer, reading.kind, tuple(own), facts.calls, reading.dialect, facts.config,
                aliases=aliases, ordered=facts.ordered,
            )
        )  # fmt: skip
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
        wants=contents.wants,
        # What travelled here counts where it says something of every weight, and so gave the order.
        layout=layout_in(contents.structure) or (contents.layout if draft.keep_order else None),
        architecture=getattr(contents.structure, "config", None),
        tree=contents.structure.leaves if isinstance(contents.structure, Tree) else (),
        read_flow=draft.read_flow,
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


class _Reader:
    """Says what the tables say of layer after layer, remembering the answers: large models repeat their layers."""

    def __init__(self, draft: MapDraft, tensors: Mapping[str, StoredTensor]) -> None:
        self._draft = draft
        self._tensors = tensors
        self._fitter = Fitter(draft.dialects)
        self._hint = lru_cache(maxsize=_MOST_KEPT)(self._fitter.hint)
        self._seen: dict[object, _Reading] = {}

    def read(self, layer: str, members: Sequence[Member], facts: LayerFacts) -> _Reading:
        """What they say of a layer, by its members' words, shapes and types, its kind, configuration and name."""
        scope = without_auto_suffix((facts.called or layer).rpartition("/")[2])
        if facts.config:
            return self._read(scope, members, facts)
        told = [(each.word, each.role, (tensor := self._tensors[each.key]).shape, tensor.dtype) for each in members]
        question = tuple(told), facts.kind, facts.placed, facts.unsure, self._hint(scope)
        found = self._seen.get(question)
        if found is None:
            found = self._read(scope, members, facts)
            if len(self._seen) < _MOST_KEPT:
                self._seen[question] = found
        return found

    def _read(self, scope: str, members: Sequence[Member], facts: LayerFacts) -> _Reading:
        words = [(member.word, self._tensors[member.key].shape) for member in members]
        fit = self._fitter.best(words, facts.kind, facts.config, scope)
        described = [self._describe(member, fit) for member in members]
        order = list(range(len(members)))
        # The order of the fitted row, unless the file's own order is the framework's.
        if fit and not self._draft.keep_order:
            places = {word: place for place, word in enumerate(fit.natives)}
            order.sort(key=lambda number: places.get(members[number].word, len(places)))
        counts = Counter(role for role, _ in described)
        # A variable is called by its role, or its own word where it has none or several of its layer have it.
        found = [
            _Described(number, role, kind, role if role and counts[role] == 1 else members[number].word)
            for number, (role, kind) in ((number, described[number]) for number in order)
        ]
        kind = facts.kind or (fit.kind if fit and not facts.unsure else None)
        dialect = fit.row.dialect if fit else self._draft.dialects[0] if facts.placed else "plain"
        return _Reading(tuple(found), kind, dialect)

    def _describe(self, member: Member, fit: RowFit | None) -> tuple[str | None, Kind]:
        """Role and kind of a member."""
        tensor = self._tensors[member.key]
        native = fit.natives.get(member.word) if fit else None
        role = member.role or (native.roles[0] if native and native.roles else None)
        if role is None and native is None and tensor.shape:
            role = role_of(member.word, self._draft.dialects)
        integer = tensor.dtype.startswith(_INTEGERS)
        # `count` is a row's word for a counter: one that holds fractions is something else.
        state = native.kind == "state" and (integer or "/" in native.suffix) if native else False
        state = state or (integer and member.word in _STATE_WORDS)
        return role, "state" if state else "weight"


def _add_asides(
    draft: MapDraft, tensors: dict[str, StoredTensor], variables: dict[str, Variable], names: UniqueNames
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
        found = _variable(tensor, name, aside.kind, "", None, slot_of, aside.aliases)
        first = variables.get(aside.copy_of) if aside.copy_of is not None else None
        variables[tensor.key] = replace(found, copy_of=first.name) if first else found
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
    others: tuple[str, ...] = ()
    if tensor.aliases or aliases:
        others = tuple([each for each in dict.fromkeys((*tensor.aliases, *aliases)) if each not in (name, tensor.key)])
    return Variable(
        name=name,
        key=tensor.key,
        aliases=others,
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
