"""Layers made from rows: specs and values of any row, with pairwise different dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ckptkit import dtypes
from ckptkit.conventions import Row
from ckptkit.conventions.layout import REST, UNITS, parse_layout, solve
from ckptkit.conventions.reading import adds_forget_bias
from ckptkit.conventions.reference import infer_parts
from ckptkit.execute import evaluate
from ckptkit.matching.result import Match, Pair
from ckptkit.model import Checkpoint, CheckpointSpec, Form, Layer, Variable
from ckptkit.planner import make_plan
from ckptkit.plans import Plan

# Pairwise different, also as products and as multiples of gates, so that no two axes can be taken for one another.
DIMS = {
    "X": 2, "Y": 3, "Z": 4, "I": 5, "O": 7, "H": 11, "P": 13, "C": 17, "M": 3, "V": 19, "D": 23, "N": 2, "K": 29,
    "Q": 31, "S": 37, "W": 41, "G": 1, "R": 43,
}  # fmt: skip

Shape = tuple[int, ...]


class MemorySource:
    """Arrays by key, as a `TensorSource`; counts what is read."""

    def __init__(self, values: Mapping[str, np.ndarray]) -> None:
        self._values = {key: np.ascontiguousarray(value) for key, value in values.items()}
        self.largest_piece = 0

    def _bytes(self, key: str) -> memoryview:
        return memoryview(self._values[key].reshape(-1).view(np.uint8).data)

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._bytes(key)[offset : offset + len(buffer)]

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        data = self._bytes(key)
        for start in range(0, len(data), len(buffer)):
            piece = data[start : start + len(buffer)]
            self.largest_piece = max(self.largest_piece, len(piece))
            buffer[: len(piece)] = piece
            yield buffer[: len(piece)]

    def read_strings(self, key: str) -> list[bytes]:
        raise KeyError(key)

    def close(self) -> None:
        pass


def shape_of(layout: str, dims: Mapping[str, int], *, units: int = 0) -> Shape:
    """The shape of a layout; `1..` is `units` axes, `...` two."""
    shape: list[int] = []
    for axis in parse_layout(layout).axes:
        if axis.word == UNITS:
            shape += [1] * units
            units = 0
        elif axis.word == REST:
            shape += [2, 3]
        else:
            shape.append(sum(piece.size(dims) for piece in axis.pieces))
    return tuple(shape)


def dims_of(row: Row, dims: Mapping[str, int] = DIMS) -> dict[str, int]:
    """`dims` with the products that the row takes apart."""
    known = dict(dims)
    for name, product in row.where:
        known[name] = math.prod(1 if factor == "1" else known[factor] for factor in product.split("."))
    return known


@dataclass(frozen=True)
class Made:
    """A layer of one row: its spec, its reading, and its values by suffix."""

    spec: CheckpointSpec
    form: Form
    values: Mapping[str, np.ndarray]

    def checkpoint(self) -> Checkpoint:
        source = MemorySource({f"key/{suffix}": value for suffix, value in self.values.items()})
        return Checkpoint(self.spec, source)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.form.natives)


def make_layer(
    row: Row,
    shapes: Mapping[str, Shape] | None = None,
    *,
    dims: Mapping[str, int] = DIMS,
    absent: tuple[str, ...] = (),
    values: Mapping[str, np.ndarray] | None = None,
    forget_bias: float = 1.0,
    dtype: str = "float32",
    seed: int = 0,
    name: str = "layer",
    lora_scale: float = 1.0,
) -> Made:
    """A layer called `layer` that is read by `row`; random values unless given."""
    known = dims_of(row, dims)
    weights = [native for native in row.natives if native.kind == "weight" and native.suffix not in absent]
    if values is not None:
        shapes = {suffix: value.shape for suffix, value in values.items()}
        layouts = {native.suffix: native.layout for native in row.natives}
        known = solve(((layouts[suffix], shape) for suffix, shape in shapes.items()), row.where) or known
        weights = [native for native in weights if native.suffix in values]
    shapes = shapes or {native.suffix: shape_of(native.layout, known) for native in weights}
    random = np.random.default_rng(seed)
    values = values or {
        suffix: random.normal(size=shape).astype(dtypes.numpy_dtype(dtype)) for suffix, shape in shapes.items()
    }
    variables = tuple(
        Variable(
            name=f"{name}/{native.suffix}",
            key=f"key/{native.suffix}",
            aliases=(),
            layer=name,
            role=native.roles[0] if native.roles else None,
            kind="weight",
            slot_of=None,
            shape=shapes[native.suffix],
            dtype=values[native.suffix].dtype.name,
            nbytes=values[native.suffix].nbytes,
        )
        for native in weights
    )
    form = Form(
        row=row.id,
        kind=row.kind,
        parts=infer_parts(row, known, shapes),
        dims=known,
        natives=tuple((native.suffix, f"{name}/{native.suffix}") for native in weights),
        assumed=(f"forget_bias={forget_bias}",)
        if adds_forget_bias(row)
        else (f"lora_scale={lora_scale}",)
        if row.adapters
        else (),
        options=row.options,
    )
    layer = Layer(name, row.kind, tuple(variable.name for variable in variables), dialect=row.dialect, forms=(form,))
    spec = CheckpointSpec(f"{row.id}.ckpt", "npz", None, "stored", (layer,), variables)
    return Made(spec, form, values)


def move(a: Made, b: Made, *, allow_unexpected: bool = False) -> tuple[Plan, dict[str, np.ndarray]]:
    """The plan from one layer to another, and what it makes of a's values, by b's suffixes."""
    match = Match("auto", (Pair(a.names, b.names, ("shape",), (a.form, b.form)),))
    plan = make_plan(match, a.spec, b.spec, allow_unexpected=allow_unexpected)
    by_name = {name: a.values[suffix] for suffix, name in a.form.natives}
    suffixes = {name: suffix for suffix, name in b.form.natives}
    return plan, {suffixes[step.target.name]: evaluate(step.op, by_name.__getitem__) for step in plan.steps}


def moved(
    row_a: Row,
    values: Mapping[str, np.ndarray],
    row_b: Row,
    template: Mapping[str, np.ndarray],
    *,
    allow_unexpected: bool = False,
) -> dict[str, np.ndarray]:
    """`values` of a layer of `row_a` as a layer of `row_b` wants them, which now holds `template`."""
    dims = dims_of(row_b, dims_of(row_a))
    a, b = make_layer(row_a, dims=dims, values=values), make_layer(row_b, dims=dims, values=template)
    return move(a, b, allow_unexpected=allow_unexpected)[1]
