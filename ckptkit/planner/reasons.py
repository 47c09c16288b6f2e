"""Why what a match leaves over has no partner, where it is the maths and not a shape."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product
from typing import TYPE_CHECKING

from ckptkit.conventions import by_id, read_forms
from ckptkit.planner.tied import twins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.matching.result import Unmatched
    from ckptkit.model import CheckpointSpec, Form, Layer

# What only a quantized layer holds more than a number of.
_QUANTIZED = ("int8", "uint8", "int4", "uint4", "qint8", "quint8")

# So many layers of one sort tell what is wrong.
_LOOKED_AT = 3


def why_missing(
    missing: Sequence[Unmatched], unexpected: Sequence[Unmatched], source: CheckpointSpec, target: CheckpointSpec
) -> str:
    """What keeps the source from having what is missing, as the end of a sentence; "" where nothing is known."""
    sides = _layers_of(unexpected, source), _layers_of(missing, target)
    return _quantized((source, target), sides) or _in_the_way(*sides) or _tied(missing, source, target)


def why_unexpected(unexpected: Sequence[Unmatched], source: CheckpointSpec) -> str:
    """What is lost with what has no place, as the end of a sentence; "" where nothing is known."""
    return _quantized((source,), (_layers_of(unexpected, source),)) or _lost(unexpected, source)


def _layers_of(items: Sequence[Unmatched], spec: CheckpointSpec) -> Sequence[Layer]:
    """The first few layers that have these variables, read by the convention tables."""
    names = {item.name for item in items}
    layers = islice((layer for layer in spec.layers if not names.isdisjoint(layer.variables)), _LOOKED_AT)
    return read_forms(replace(spec, layers=tuple(layers))).layers


def _lost(unexpected: Sequence[Unmatched], source: CheckpointSpec) -> str:
    """What a convention says would go with the first of them: `(it would lose peephole connections …)`."""
    layer = next(iter(_layers_of(unexpected, source)), None)
    lost = by_id(layer.forms[0].row).lost if layer and layer.forms else ""
    return f" (it would lose {lost})" if lost else ""


def _quantized(specs: Sequence[CheckpointSpec], sides: Sequence[Sequence[Layer]]) -> str:
    """That a layer has integers with scales where the other side has none: no cast makes one the other."""
    for spec, layers in zip(specs, sides, strict=True):
        variables = {variable.name: variable for variable in spec.variables}
        for layer in layers:
            integers = any(variables[name].shape and variables[name].dtype in _QUANTIZED for name in layer.variables)
            if integers or any(form.kind.startswith("Quantized") for form in layer.forms):
                return (
                    f": {layer.name} of {spec.path} is quantized, and only a model quantized in the same way holds it"
                )
    return ""


def _tied(missing: Sequence[Unmatched], source: CheckpointSpec, target: CheckpointSpec) -> str:
    """That the source's table may be what the target wants, transposed: logits over a tied embedding."""
    wanted = {variable.name: variable for variable in target.variables}
    weights = [variable for variable in source.variables if variable.kind == "weight"]
    for variable in (wanted[item.name] for item in missing[:_LOOKED_AT] if item.name in wanted):
        found = twins(variable, weights)
        if len(found) == 1:
            return f": if the two are tied, it is {found[0].name} transposed, which --assume tied=transposed says"
    return ""


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
