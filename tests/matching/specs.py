"""Checkpoint specs made by hand, as the canonical map would have them."""

from __future__ import annotations

from collections.abc import Sequence

from ckptkit.matching.result import Match
from ckptkit.model import CheckpointSpec, Form, Layer, OrderSource, Part, Variable

Shape = tuple[int, ...]


def variable(
    name: str, shape: Shape, *, layer: str = "", role: str | None = None, dtype: str = "float32", **more: object
) -> Variable:
    """A weight; `more` sets further fields."""
    fields: dict[str, object] = {"kind": "weight", "slot_of": None, "nbytes": 0} | more
    return Variable(name, name, (), layer, role, shape=shape, dtype=dtype, **fields)  # type: ignore[arg-type]


def layer(
    name: str,
    kind: str | None,
    natives: Sequence[tuple[str, Shape]],
    parts: Sequence[tuple[str, Shape] | tuple[str, Shape, bool]] | None = None,
    *,
    row: str | None = None,
    options: tuple[str, ...] = (),
    assumed: tuple[str, ...] = (),
    dtype: str = "float32",
) -> tuple[Layer, tuple[Variable, ...]]:
    """A layer of `kind` (None: nobody knows it), whose variables are `natives`: label (roles joined by `+`) and shape.

    `parts` are its logical parameters where they are not simply the variables.
    """
    variables = []
    for label, shape in natives:
        role = label if "+" not in label and "/" not in label else None
        leaf = label.replace("+", "_and_")
        variables.append(variable(f"{name}/{leaf}", shape, layer=name, role=role, dtype=dtype))
    forms: tuple[Form, ...] = ()
    if kind is not None:
        logical = tuple(Part(*part) for part in (parts if parts is not None else natives))
        held = tuple((label, v.name) for (label, _), v in zip(natives, variables, strict=True))
        forms = (Form(row or f"keras3/{kind}", kind, logical, {}, held, assumed, options),)
    return Layer(name, kind, tuple(v.name for v in variables), forms=forms), tuple(variables)


def dense(
    name: str, inputs: int, units: int, *, bias: bool = True, row: str = "keras3/Dense", dtype: str = "float32"
) -> tuple[Layer, tuple[Variable, ...]]:
    """A Dense layer."""
    natives = [("kernel", (inputs, units)), *([("bias", (units,))] if bias else [])]
    parts = [("kernel", (inputs, units), False), *([("bias", (units,), True)] if bias else [])]
    return layer(name, "Dense", natives, parts, row=row, dtype=dtype)


def conv(name: str, size: int, inputs: int, units: int) -> tuple[Layer, tuple[Variable, ...]]:
    """A Conv2D layer."""
    return layer(name, "Conv2D", [("kernel", (size, size, inputs, units)), ("bias", (units,))])


def batch_norm(name: str, units: int, *, gamma: bool = True) -> tuple[Layer, tuple[Variable, ...]]:
    """A BatchNormalization layer."""
    roles = [*(["gamma"] if gamma else []), "beta", "moving_mean", "moving_variance"]
    parts = [(role, (units,), role in ("gamma", "beta")) for role in roles]
    return layer(name, "BatchNormalization", [(role, (units,)) for role in roles], parts)


def spec(
    *layers: tuple[Layer, tuple[Variable, ...]], order: OrderSource = "stored", loose: Sequence[Variable] = ()
) -> CheckpointSpec:
    """A checkpoint with these layers, and variables that belong to none."""
    variables = tuple(v for _, own in layers for v in own) + tuple(loose)
    return CheckpointSpec("file", "keras-h5", None, order, tuple(made for made, _ in layers), variables)


def layer_pairs(match: Match) -> dict[str, str]:
    """Source layer -> target layer of all one-to-one pairs; fails where a layer goes to two."""
    found: dict[str, str] = {}
    for pair in match.pairs:
        if pair.source and pair.target:
            one, other = pair.source[0].rpartition("/")[0], pair.target[0].rpartition("/")[0]
            assert found.setdefault(one, other) == other, (one, other, found)
    return found


def accounted(match: Match, a: CheckpointSpec, b: CheckpointSpec) -> None:
    """Every weight of either side is in exactly one of pairs, leftovers and ambiguous."""
    source = [n for p in match.pairs for n in p.source] + [u.name for u in match.unexpected]
    source += [n for g in match.ambiguous for n in g.source]
    target = [n for p in match.pairs for n in p.target] + [u.name for u in match.missing]
    target += [n for g in match.ambiguous for n in g.target]
    assert sorted(source) == sorted(v.name for v in a.variables if v.kind == "weight")
    assert sorted(target) == sorted(v.name for v in b.variables if v.kind == "weight")
