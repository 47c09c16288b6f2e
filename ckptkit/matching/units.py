"""The units that are matched: layers with weights, and weights that belong to no layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ckptkit.matching.paths import LayerPath, parse_path
from ckptkit.matching.rename import Renaming
from ckptkit.matching.within import below
from ckptkit.model import CheckpointSpec, Form, OrderSource, Variable

Nature = Literal["creation", "depth"]
"""Whether layers stand as they were made, or depth by depth as a functional model lists them."""

# Keras's own lists of a functional model's layers, as tf.train.Checkpoint names them.
_LISTED = re.compile(r"layer_with_weights-\d|/_operations/\d")

# The list of a model's variables in what Keras 3 exports, which stands as the model has its layers, of whatever kind it is.
_EXPORTED = re.compile(r"variables/\d")

# Where the order of a checkpoint's layers is what the framework recorded, and not made from names.
_RECORDED: frozenset[OrderSource] = frozenset(
    {"stored", "config", "object-graph", "meta-graph", "file-layout", "registration"}
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A layer with weights, or one weight that belongs to no layer.

    Attributes:
        name: the layer's path, or the variable's name; without the scope that was named, of the source after renaming.
        original: the same as the checkpoint has it.
        weights: its variables of kind `weight`, in the framework's order.
        forms: readings of the layer; empty for what nobody knows.
        is_layer: False for a variable that belongs to none.
        kind: Keras's class word, or None.
        aliases: other paths that the file knows for it.
        ordered: whether its place is one (see `Layer.ordered`).
        feeds: what reaches it (see `Layer.feeds`), by the names of layers before renaming.
        names: what its variables are called now, where that is not told by `name`.
        ruled: whether a rule made its name or one of `names`.
    """

    name: str
    original: str
    weights: tuple[Variable, ...]
    forms: tuple[Form, ...]
    is_layer: bool
    kind: str | None
    aliases: tuple[str, ...] = ()
    ordered: bool = True
    feeds: tuple[str, ...] | None = None
    names: Mapping[str, str] | None = None
    ruled: bool = False

    def renamed(self, variable: Variable) -> str:
        """The name of one of its variables, without the scope and after renaming."""
        if self.names is not None and variable.name in self.names:
            return self.names[variable.name]
        if self.name == self.original or not variable.name.startswith(self.original):
            return variable.name
        return self.name + variable.name[len(self.original) :]


@dataclass(frozen=True, slots=True)
class Side:
    """One checkpoint as a sequence of units.

    Attributes:
        units: in order; variables without a layer last.
        order_source: where the order comes from.
        nature: what kind of order it is; None where the file does not tell, or for no order.
    """

    units: tuple[Unit, ...]
    order_source: OrderSource
    nature: Nature | None = None

    @property
    def listed(self) -> bool:
        """Whether a functional model's own list of its layers gives the order, which follows from what feeds what."""
        if self.order_source == "stored":
            return all(unit.feeds is not None for unit in self.units if unit.is_layer)
        return self.nature == "depth"

    @property
    def may_list(self) -> bool:
        """Whether the order could be such a list: nothing says that the layers are attributes of a class of the user's.

        In files of tf_keras the variables of such a class begin with its own name (`my_model/dense/kernel`).
        """
        if self.order_source == "stored":
            return not any(alias.endswith(f"/{unit.name}") for unit in self.units for alias in unit.aliases)
        return self.order_source == "file-layout" or (self.order_source == "object-graph" and self.nature is None)

    @property
    def recorded(self) -> bool:
        """Whether the framework itself recorded the order."""
        return self.order_source in _RECORDED

    def paths(self) -> list[LayerPath]:
        """The units' paths, taken apart."""
        return [parse_path(unit.name, unit.kind) for unit in self.units]


def read_side(spec: CheckpointSpec, rules: Sequence[str] = (), scope: Sequence[str] = ()) -> Side:
    """The units of a checkpoint.

    Args:
        spec: the checkpoint, or what lies below a scope of it (see `within`).
        rules: `REGEX=REPLACEMENT`, for the names without the scope.
        scope: components that are taken off every name.

    Raises:
        UsageError: a rule that is none, or matches nothing.
    """
    renaming = Renaming(rules)
    weights = {variable.name: variable for variable in spec.variables if variable.kind == "weight"}
    units = []
    placed = 0
    for layer in spec.layers:
        own = tuple([weights[name] for name in layer.variables if name in weights])
        if own:
            placed += len(own)
            aliases = tuple([below(alias, scope) for alias in layer.aliases]) if scope else layer.aliases
            unit = Unit(layer.name, layer.name, own, layer.forms, True, layer.kind, aliases, layer.ordered, layer.feeds)
            units.append(_named(unit, renaming, scope) if scope or renaming else unit)
    if placed < len(weights):
        in_layers = {variable.name for unit in units for variable in unit.weights}
        for name, variable in weights.items():
            if name not in in_layers:
                unit = Unit(name, name, (variable,), (), False, None)
                units.append(_named(unit, renaming, scope) if scope or renaming else unit)
    if renaming:
        paths = [below(unit.original, scope) for unit in units]
        names = [below(variable.name, scope) for unit in units for variable in unit.weights]
        renaming.check(dict.fromkeys([*paths, *names]), spec.path)
    return Side(tuple(units), spec.order_source, _nature(spec, units))


def _named(unit: Unit, renaming: Renaming, scope: Sequence[str]) -> Unit:
    """`unit` under the name that it has without the scope and after the rules."""
    path = below(unit.original, scope)
    before = [below(variable.name, scope) for variable in unit.weights]
    name, after = renaming.apply(path, before)
    named = replace(unit, name=name, ruled=name != path or after != before)
    own = {v.name: new for v, new in zip(unit.weights, after, strict=True) if named.renamed(v) != new}
    return replace(named, names=own) if own else named


def _nature(spec: CheckpointSpec, units: Sequence[Unit]) -> Nature | None:
    """What kind of order the layers stand in, where the container tells."""
    if spec.order_source in ("meta-graph", "registration"):
        return "creation"
    if spec.order_source == "config":
        return "depth"
    if spec.order_source == "object-graph":
        keys = [variable.key for unit in units for variable in unit.weights[:1]]
        if keys and all(map(_EXPORTED.match, keys)):
            return None
        return "depth" if any(map(_LISTED.search, keys)) else "creation"
    return None
