"""Query, key and value in one layer, seen as three, where the other checkpoint has three.

GPT-2's `c_attn` is one projection `[n, 3 * n]` whose outputs are the query's, the key's and the value's, in that order;
Keras has a layer for each. `expand_fused` gives the map of such a checkpoint with three layers `<layer>/query`,
`<layer>/key` and `<layer>/value` in place of the one, whose variables are slices. Whatever compares layers then needs
to know nothing of it; `ckptkit.planner` turns what concerns a slice into operations on what is stored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ckptkit.conventions.layout import UNITS
from ckptkit.conventions.reading import linear_of, read_forms
from ckptkit.conventions.tables import by_id
from ckptkit.model import CheckpointSpec, Form, Layer, Variable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

PIECES = ("query", "key", "value")
"""The order in which a fused projection holds them (GPT-2, src/model.py, attn: `tf.split(c, 3, axis=2)`)."""

# What the layers of an attention are called, as words of a path's last component.
_WORDS = {
    word: piece
    for piece, words in zip(PIECES, (("query", "q", "wq"), ("key", "k", "wk"), ("value", "v", "wv")), strict=True)
    for word in words
}

# Words of a layer that holds all three, which tell it from another of the same shape.
_FUSED_WORDS = frozenset(("attn", "attention", "qkv", "attend", "selfattn"))

_WORD = re.compile(r"[A-Za-z]+")

Size = tuple[int, int]
"""Inputs and outputs of one of the three."""


@dataclass(frozen=True, slots=True)
class StoredSlice:
    """A variable that is a slice of a stored one.

    Attributes:
        of: name of the stored variable.
        axis: along which it is cut.
        start: first position.
        stop: the position after the last.
        whole: whether it is all of it, under another name.
    """

    of: str
    axis: int
    start: int
    stop: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Expanded:
    """A map in which layers stand as several.

    Attributes:
        spec: the map, its layers with their readings.
        parts: name of each variable that is a slice, or has another name -> of what; empty where none is.
    """

    spec: CheckpointSpec
    parts: Mapping[str, StoredSlice] = field(default_factory=dict)


def expand_fused(spec: CheckpointSpec, other: CheckpointSpec, assume: Mapping[str, str] | None = None) -> Expanded:
    """`spec` with every layer that holds query, key and value in one as three, where `other` has three.

    Args:
        spec: the map of one side, read by `read_forms`.
        other: that of the other side, read too.
        assume: as for `read_forms`.

    Returns:
        The map as it is, unless for some size `other` has layers called query, key and value, `spec` has none of that
        size, and exactly as many layers of three times the outputs.
    """
    wanted = _triples(other)
    if not wanted:
        return Expanded(spec)
    present = _triples(spec)
    candidates = _candidates(spec, wanted.keys() - present.keys())
    chosen: dict[str, Size] = {}
    for size, found in candidates.items():
        named = [layer for layer in found if _FUSED_WORDS & _words(layer.name)]
        for group in (found, named):
            if len(group) == wanted[size]:
                chosen.update((layer.name, size) for layer in group)
                break
    return _expand(spec, chosen, assume) if chosen else Expanded(spec)


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


def _triples(spec: CheckpointSpec) -> dict[Size, int]:
    """How many attentions have a layer each for query, key and value, by the size of one."""
    found: dict[tuple[str, str], dict[str, Size | None]] = defaultdict(dict)
    for layer in spec.layers:
        scope, _, own = layer.name.rpartition("/")
        words = [word for word in _WORD.findall(own.lower()) if word in _WORDS]
        if len(words) == 1:
            rest = re.sub(rf"(?<![a-z]){words[0]}(?![a-z])|_?[0-9]+$", "", own.lower())
            piece = _WORDS[words[0]]
            # Two of one name in one scope are told apart by numbers that mean nothing here.
            found[scope, rest][piece] = None if piece in found[scope, rest] else _dense_size(layer.forms)
    counts: dict[Size, int] = defaultdict(int)
    for sizes in found.values():
        size = sizes.get("query")
        if size is not None and all(sizes.get(piece) == size for piece in PIECES):
            counts[size] += 1
    return dict(counts)


def _dense_size(forms: Iterable[Form]) -> Size | None:
    """Inputs and outputs of a layer that is, or can be taken for, a matrix product."""
    for form in forms:
        kernel = next((part.shape for part in form.parts if part.role == "kernel"), ())
        if form.kind == "Dense" and len(kernel) == 2:
            return kernel[0], kernel[1]
    return None


def _candidates(spec: CheckpointSpec, sizes: Iterable[Size]) -> Mapping[Size, list[Layer]]:
    """The layers with three times the outputs of one of `sizes`, whose outputs are an axis of the kernel's own."""
    wanted = {(inputs, 3 * outputs): (inputs, outputs) for inputs, outputs in sizes}
    found: dict[Size, list[Layer]] = defaultdict(list)
    for layer in spec.layers if wanted else ():
        form = next((form for form in layer.forms if form.kind == "Dense"), None)
        size = wanted.get(_dense_size(layer.forms) or (0, 0))
        if form is not None and size is not None and "O" in by_id(form.row).natives[0].layout.split():
            found[size].append(layer)
    return found


def _expand(spec: CheckpointSpec, chosen: Mapping[str, Size], assume: Mapping[str, str] | None) -> Expanded:
    variables = {variable.name: variable for variable in spec.variables}
    parts: dict[str, StoredSlice] = {}
    layers: list[Layer] = []
    ours: list[Variable] = []
    gone: set[str] = set()
    for layer in spec.layers:
        weights = [variables[name] for name in layer.variables if variables[name].kind == "weight"]
        if layer.name not in chosen or len(weights) < len(layer.variables):
            layers.append(layer)
            continue
        gone.update(layer.variables)
        for piece in _pieces(layer, weights, chosen[layer.name][1]):
            layers.append(piece[0])
            ours += [variable for variable, _ in piece[1]]
            parts.update((variable.name, part) for variable, part in piece[1])
    # What the whole file tells of how matrices lie holds for slices of one, too.
    known = {**linear_of(spec), **(assume or {})}
    return Expanded(with_parts(spec, layers, ours, gone, known), parts)


def with_parts(
    spec: CheckpointSpec,
    layers: Sequence[Layer],
    made: Sequence[Variable],
    gone: Container[str],
    assume: Mapping[str, str] | None,
) -> CheckpointSpec:
    """`spec` with these layers for its own; those that hold what was made are read.

    Args:
        spec: the map.
        layers: all of its layers, some in parts.
        made: the variables of the parts.
        gone: names of the variables that these are of.
        assume: as for `read_forms`.
    """
    mine = {variable.layer for variable in made}
    parts = tuple(layer for layer in layers if layer.name in mine)
    read = {
        layer.name: layer for layer in read_forms(replace(spec, layers=parts, variables=tuple(made)), assume).layers
    }
    return replace(
        spec, layers=tuple(read.get(layer.name, layer) for layer in layers),
        variables=(*made, *(variable for variable in spec.variables if variable.name not in gone)),
    )  # fmt: skip


def _pieces(
    layer: Layer, weights: Sequence[Variable], outputs: int
) -> Iterator[tuple[Layer, list[tuple[Variable, StoredSlice]]]]:
    """The three layers of a fused one, each with its variables and what they are slices of."""
    form = next(form for form in layer.forms if form.kind == "Dense")
    layouts = {native.suffix: native.layout for native in by_id(form.row).natives}
    suffixes = {name: suffix for suffix, name in form.natives}
    for place, piece in enumerate(PIECES):
        name = f"{layer.name}/{piece}"
        made = []
        for weight in weights:
            axis = _axis_of_outputs(layouts[suffixes[weight.name]], weight.shape, 3 * outputs)
            part = StoredSlice(weight.name, axis, place * outputs, (place + 1) * outputs)
            shape = (*weight.shape[:axis], outputs, *weight.shape[axis + 1 :])
            word = weight.name.removeprefix(f"{layer.name}/")
            variable = replace(
                weight, name=f"{name}/{word}", aliases=(), layer=name, shape=shape, nbytes=weight.nbytes // 3
            )
            made.append((variable, part))
        names = tuple(variable.name for variable, _ in made)
        # What the architecture says is of the whole layer, and so is what it is shown as.
        yield replace(layer, name=name, variables=names, config=None, forms=()), made


def _axis_of_outputs(layout: str, shape: tuple[int, ...], size: int) -> int:
    """The axis of the outputs, which a bias that keeps the axes along which it is added has anywhere."""
    words = layout.split()
    return shape.index(size) if UNITS in words else words.index("O")
