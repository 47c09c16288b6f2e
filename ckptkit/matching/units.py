"""The units that are matched: layers with weights, and weights that belong to no layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckptkit.matching.paths import LayerPath, parse_path
from ckptkit.matching.rename import Rename, apply_rules
from ckptkit.model import CheckpointSpec, Form, OrderSource, Variable

# Where the order of a checkpoint's layers is what the framework recorded, and not made from names.
_RECORDED: frozenset[OrderSource] = frozenset({"stored", "config", "object-graph", "meta-graph", "file-layout"})


@dataclass(frozen=True, slots=True)
class Unit:
    """A layer with weights, or one weight that belongs to no layer.

    Attributes:
        name: the layer's path, or the variable's name; of the source after renaming.
        original: the same before renaming.
        weights: its variables of kind `weight`, in the framework's order.
        forms: readings of the layer; empty for what nobody knows.
        is_layer: False for a variable that belongs to none.
        kind: Keras's class word, or None.
    """

    name: str
    original: str
    weights: tuple[Variable, ...]
    forms: tuple[Form, ...]
    is_layer: bool
    kind: str | None

    def renamed(self, variable: Variable) -> str:
        """The name of one of its variables after renaming."""
        if self.name == self.original or not variable.name.startswith(self.original):
            return variable.name
        return self.name + variable.name[len(self.original) :]


@dataclass(frozen=True, slots=True)
class Side:
    """One checkpoint as a sequence of units.

    Attributes:
        units: in order; variables without a layer last.
        order_source: where the order comes from.
        recorded: whether the framework recorded that order.
    """

    units: tuple[Unit, ...]
    order_source: OrderSource

    @property
    def recorded(self) -> bool:
        """Whether the framework itself recorded the order."""
        return self.order_source in _RECORDED

    def paths(self) -> list[LayerPath]:
        """The units' paths, taken apart."""
        return [parse_path(unit.name, unit.kind) for unit in self.units]


def read_side(spec: CheckpointSpec, rules: Sequence[Rename] = ()) -> Side:
    """The units of a checkpoint, renamed by `rules`."""
    weights = {variable.name: variable for variable in spec.variables if variable.kind == "weight"}
    units = []
    placed = 0
    for layer in spec.layers:
        own = tuple([weights[name] for name in layer.variables if name in weights])
        if own:
            placed += len(own)
            name = apply_rules(rules, layer.name) if rules else layer.name
            units.append(Unit(name, layer.name, own, layer.forms, True, layer.kind))
    if placed < len(weights):
        in_layers = {variable.name for unit in units for variable in unit.weights}
        for name, variable in weights.items():
            if name not in in_layers:
                units.append(Unit(apply_rules(rules, name), name, (variable,), (), False, None))
    return Side(tuple(units), spec.order_source)
