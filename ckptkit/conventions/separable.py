"""A separable convolution seen as two, where the other checkpoint has two: a group for each channel, then width 1.

Keras and TensorFlow 1 keep both kernels and one bias in a `SeparableConv`; PyTorch, Flax and Haiku have a layer for each.
Between the two layers there is nothing: a normalization or a bias in the middle is another function.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.conventions.fused import Expanded, StoredSlice, with_parts
from ckptkit.conventions.tables import by_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.model import CheckpointSpec, Form, Layer, Variable

# Orders that are none of calls or of creation.
_NO_ORDER = ("natural", "sorted")

# Layouts of both kernels in all rows that have two, and the layers of Keras 3 that have one of them each.
_PLAIN = {("X C M", "1 C.M O"): "1D", ("X Y C M", "1 1 C.M O"): "2D"}

Size = tuple[int, ...]
"""Width, and height, of the first kernel, its outputs, and those of the second."""


def expand_separable(spec: CheckpointSpec, other: CheckpointSpec, assume: Mapping[str, str] | None = None) -> Expanded:
    """`spec` with every separable convolution as two layers, where `other` has two.

    Args:
        spec: the map of one side, read by `read_forms`.
        other: that of the other side, read too.
        assume: as for `read_forms`.

    Returns:
        The map as it is, unless for some size `other` has as many pairs of convolutions as `spec` has separable
        convolutions, and none of these.
    """
    found = {layer.name: size for layer in spec.layers if (size := _separable(layer)) is not None}
    if not found:
        return Expanded(spec)
    taken = {_separable(layer) for layer in other.layers}
    pairs, own = Counter(_pairs(other)), Counter(found.values())
    chosen = {name for name, size in found.items() if pairs[size] == own[size] and size not in taken}
    return _expand(spec, chosen, assume) if chosen else Expanded(spec)


def _separable(layer: Layer) -> Size | None:
    form = next((form for form in layer.forms if form.kind.startswith("SeparableConv")), None)
    if form is None or len(form.natives) < len(layer.variables) or _dimensions(form) is None:
        return None
    first, second = form.parts[0].shape, form.parts[1].shape
    return *first[:-2], first[-2] * first[-1], second[-1]


def _dimensions(form: Form) -> str | None:
    natives = by_id(form.row).natives
    return _PLAIN.get((natives[0].layout, natives[1].layout)) if len(natives) > 1 else None


def _pairs(spec: CheckpointSpec) -> Iterator[Size]:
    """The sizes of convolutions that follow each other as in a separable one."""
    scopes = Counter(layer.name.rpartition("/")[0] for layer in spec.layers)
    for one, two in zip(spec.layers, spec.layers[1:], strict=False):
        alone = one.name.rpartition("/")[0] == two.name.rpartition("/")[0] and scopes[one.name.rpartition("/")[0]] == 2
        if spec.order_source in _NO_ORDER and not alone:
            continue
        # Of two in a scope of their own the names need not be in the order of the calls.
        for first, second in ((one, two), (two, one)) if alone else ((one, two),):
            outer, inner = _spatial(first), _of_width_1(second)
            if outer is not None and inner is not None and outer[-1] == inner[0]:
                yield *outer, inner[1]
                break


def _spatial(layer: Layer) -> Size | None:
    """Sizes and outputs of a convolution without a bias whose kernel has one input for each output."""
    for form in layer.forms:
        kernel = form.parts[0].shape
        if len(form.parts) > 1 or len(kernel) < 3:
            continue
        if form.kind.startswith("DepthwiseConv") or (form.kind in ("Conv1D", "Conv2D") and kernel[-2] == 1):
            return *kernel[:-2], kernel[-2] * kernel[-1]
    return None


def _of_width_1(layer: Layer) -> tuple[int, int] | None:
    for form in layer.forms:
        kernel = form.parts[0].shape
        if form.kind in ("Conv1D", "Conv2D") and math.prod(kernel[:-2]) == 1:
            return kernel[-2], kernel[-1]
    return None


def _expand(spec: CheckpointSpec, chosen: set[str], assume: Mapping[str, str] | None) -> Expanded:
    variables = {variable.name: variable for variable in spec.variables}
    layers: list[Layer] = []
    made: list[Variable] = []
    parts: dict[str, StoredSlice] = {}
    for layer in spec.layers:
        if layer.name not in chosen:
            layers.append(_fed(layer, chosen))
            continue
        form = next(form for form in layer.forms if form.kind.startswith("SeparableConv"))
        names = [name for _, name in form.natives]
        ends = (f"{layer.name}/depthwise", f"{layer.name}/pointwise")
        words = (("kernel",), ("kernel", "bias")[: len(names) - 1])
        kinds = (f"DepthwiseConv{_dimensions(form)}", f"Conv{_dimensions(form)}")
        for own, end, called, kind in zip((names[:1], names[1:]), ends, words, kinds, strict=True):
            new = [replace(variables[name], name=f"{end}/{word}", layer=end, aliases=(), role=word)
                   for name, word in zip(own, called, strict=True)]  # fmt: skip
            made += new
            parts |= {
                each.name: StoredSlice(name, 0, 0, each.shape[0], whole=True)
                for each, name in zip(new, own, strict=True)
            }
            half = replace(layer, name=end, kind=kind, variables=tuple(each.name for each in new), dialect="keras3")
            half = replace(half, config=None, forms=())
            layers.append(_fed(half, chosen) if end == ends[0] else replace(half, feeds=ends[:1], passes=()))
    gone = {part.of for part in parts.values()}
    outputs = spec.outputs and tuple(tuple(_after(name, chosen) for name in each) for each in spec.outputs)
    return Expanded(replace(with_parts(spec, layers, made, gone, assume), outputs=outputs), parts)


def _after(name: str, chosen: set[str]) -> str:
    return f"{name}/pointwise" if name in chosen else name


def _fed(layer: Layer, chosen: set[str]) -> Layer:
    """`layer` with what feeds it under its new name."""
    feeds = layer.feeds and tuple(_after(name, chosen) for name in layer.feeds)
    passes = layer.passes and tuple((_after(name, chosen), through) for name, through in layer.passes)
    return replace(layer, feeds=feeds, passes=passes)
