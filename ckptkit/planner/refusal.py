"""What a match leaves over, as the one line a person reads."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product
from typing import TYPE_CHECKING

from ckptkit.conventions import by_id, read_forms
from ckptkit.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.matching.result import Ambiguous, Candidate, Unmatched
    from ckptkit.model import CheckpointSpec, Form, Layer, Variable

_KEEP = "Keep the template's values with --allow-missing, or name one with --rename."
_LEAVE = "Leave it behind with --allow-unexpected, or name its place with --rename."
_NAME = "Name one with --rename, or match by another method."

# So many names of one sort tell what is wrong; the rest are counted.
_SHOWN = 3


def refuse_missing(
    missing: Sequence[Unmatched], unexpected: Sequence[Unmatched], source: CheckpointSpec, target: CheckpointSpec
) -> None:
    """Raise `RefusedError` unless every weight of the target has found its source; `unexpected` helps to say why."""
    if missing:
        wanted = _named(missing, target, source)
        reason = _in_the_way(_layers_of(unexpected, source), _layers_of(missing, target))
        raise RefusedError(f"{target.path} wants {wanted}; {source.path} has no weight for it{reason}", hint=_KEEP)


def refuse_unexpected(unexpected: Sequence[Unmatched], source: CheckpointSpec, target: CheckpointSpec) -> None:
    """Raise `RefusedError` unless every weight of the source goes somewhere."""
    if unexpected:
        found = _named(unexpected, source, target)
        lost = _lost(unexpected, source)
        raise RefusedError(f"{source.path} has {found}; {target.path} has no place for it{lost}", hint=_LEAVE)


def _layers_of(items: Sequence[Unmatched], spec: CheckpointSpec) -> Sequence[Layer]:
    """The first few layers that have these variables, read by the convention tables."""
    names = {item.name for item in items}
    layers = islice((layer for layer in spec.layers if not names.isdisjoint(layer.variables)), _SHOWN)
    return read_forms(replace(spec, layers=tuple(layers))).layers


def _lost(unexpected: Sequence[Unmatched], source: CheckpointSpec) -> str:
    """What a convention says would go with the first of them: `(it would lose peephole connections …)`."""
    layer = next(iter(_layers_of(unexpected, source)), None)
    lost = by_id(layer.forms[0].row).lost if layer and layer.forms else ""
    return f" (it would lose {lost})" if lost else ""


def _in_the_way(sources: Sequence[Layer], targets: Sequence[Layer]) -> str:
    """Why two layers of one kind cannot hold each other's weights, where it is the maths and not a shape."""
    for target, source in product(targets, sources):
        if not (target.forms and source.forms) or not _alike(source.forms[0], target.forms[0]):
            continue
        for layer in (source, target):
            lost = by_id(layer.forms[0].row).lost
            if lost:
                return f": {layer.name} has {lost}"
        known = dict(option.split("=", 1) for option in source.forms[0].options)
        for option in target.forms[0].options:
            key, value = option.split("=", 1)
            if known.get(key, value) != value:
                return f": {source.name} computes {key}={known[key]}, {target.name} {option}"
    return ""


def _alike(one: Form, other: Form) -> bool:
    """Whether two readings are of one kind and of one size, by the part that the kind is known by: its kernel."""
    return one.kind == other.kind and one.parts[:1] == other.parts[:1]


def refuse_ambiguous(ambiguous: Sequence[Ambiguous], source: CheckpointSpec, target: CheckpointSpec) -> None:
    """Raise `RefusedError` where variables fit each other in more than one way."""
    if ambiguous:
        first, *rest = ambiguous
        more = f", and {len(rest)} more such groups" if rest else ""
        sides = " and ".join(
            f"{', '.join(names[:_SHOWN])} of {spec.path}"
            for names, spec in ((first.source, source), (first.target, target))
        )
        raise RefusedError(f"ambiguous: {sides} fit in more than one way ({first.why}){more}", hint=_NAME)


def _named(items: Sequence[Unmatched], own: CheckpointSpec, other: CheckpointSpec) -> str:
    """`head/kernel [128, 3] (nearest: cls/kernel [128, 10], another shape)`, and how many more there are."""
    ours = {variable.name: variable for variable in own.variables}
    theirs = {variable.name: variable for variable in other.variables}
    shown = []
    for item in items[:_SHOWN]:
        nearest = "; ".join(_turned_down(near, theirs) for near in item.nearest)
        shown.append(_shaped(item.name, ours) + (f" (nearest: {nearest})" if nearest else ""))
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(shown) + more


def _turned_down(near: Candidate, variables: Mapping[str, Variable]) -> str:
    """`cls/kernel [128, 10], another shape`: the shape stands there once."""
    shaped = _shaped(near.name, variables)
    return f"{shaped}, {near.why.removesuffix(shaped.removeprefix(near.name))}"


def _shaped(name: str, variables: Mapping[str, Variable]) -> str:
    return f"{name} {list(variables[name].shape)}" if name in variables else name
