"""Query, key and value in one layer: when it stands as three, and what becomes of a plan over slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ckptkit.conventions import Expanded, read_forms
from ckptkit.conventions.fused import expand_fused
from ckptkit.errors import RefusedError
from ckptkit.execute import evaluate
from ckptkit.matching.result import Match, Pair
from ckptkit.model import CheckpointSpec
from ckptkit.planner import make_plan
from tests.conventions.test_reading import layer_of, spec_of

Shape = tuple[int, ...]
THREE = {"query": (12, 3, 4), "key": (12, 3, 4), "value": (12, 3, 4)}


def fused_spec(name: str = "h0/attn/c_attn", kernel: Shape = (1, 12, 36), bias: Shape | None = (36,)) -> CheckpointSpec:
    weights = {"w": kernel, **({"b": bias} if bias else {})}
    return read_forms(spec_of(layer_of(name, "sonnet1", weights)))


def three_spec(*scopes: str, kernels: Mapping[str, Shape] = THREE, bias: bool = True) -> CheckpointSpec:
    layers = [
        layer_of(f"{scope}/{name}", "keras3", {"kernel": shape, **({"bias": shape[1:]} if bias else {})})
        for scope in scopes or ("block0/attention",)
        for name, shape in kernels.items()
    ]
    return read_forms(spec_of(*layers))


def names(expanded: Expanded) -> list[str]:
    return [layer.name for layer in expanded.spec.layers]


def test_it_stands_as_three_where_the_other_side_has_three() -> None:
    expanded = expand_fused(fused_spec(), three_spec())
    assert names(expanded) == [f"h0/attn/c_attn/{piece}" for piece in ("query", "key", "value")]
    shapes = {variable.name.rpartition("c_attn/")[2]: variable.shape for variable in expanded.spec.variables}
    assert shapes["query/w"] == (1, 12, 12)
    assert shapes["value/b"] == (12,)
    part = expanded.parts["h0/attn/c_attn/key/w"]
    assert (part.of, part.axis, part.start, part.stop) == ("h0/attn/c_attn/w", 2, 12, 24)
    assert all(any(form.kind == "Dense" for form in layer.forms) for layer in expanded.spec.layers)
    assert sum(variable.nbytes for variable in expanded.spec.variables) == sum(v.nbytes for v in fused_spec().variables)


@pytest.mark.parametrize(
    "kernels",
    [
        {"q_proj": (12, 12), "k_proj": (12, 12), "v_proj": (12, 12)},
        {"self_query": (12, 12), "self_key": (12, 12), "self_value": (12, 12)},
        {"wq": (12, 12), "wk": (12, 12), "wv": (12, 12)},
        {"query_dense_3": (12, 3, 4), "key_dense_3": (12, 3, 4), "value_dense_3": (12, 3, 4)},
    ],
    ids=lambda kernels: next(iter(kernels)),
)
def test_words_for_the_three(kernels: Mapping[str, Shape]) -> None:
    assert len(expand_fused(fused_spec(), three_spec(kernels=kernels)).parts) == 6


@pytest.mark.parametrize(
    ("fused", "three"),
    [
        (fused_spec(kernel=(1, 12, 24), bias=(24,)), three_spec()),
        (fused_spec(kernel=(1, 10, 36)), three_spec()),
        (fused_spec(), three_spec(kernels={"query": (12, 3, 4), "key": (12, 3, 4)})),
        (fused_spec(), three_spec(kernels={"query": (12, 3, 4), "key": (12, 2, 4), "value": (12, 3, 4)})),
        (fused_spec(), three_spec("block0", "block1")),
        (fused_spec(), three_spec(kernels={"tick": (12, 12), "tack": (12, 12), "toe": (12, 12)})),
        (three_spec(), three_spec()),
        (fused_spec(kernel=(12, 3, 12), bias=(3, 12)), three_spec()),
    ],
    ids=["two", "other inputs", "no value", "grouped", "too many", "other words", "three already", "dealt over heads"],
)
def test_it_stays_one_layer(fused: CheckpointSpec, three: CheckpointSpec) -> None:
    expanded = expand_fused(fused, three)
    assert (expanded.spec, expanded.parts) == (fused, {})


def test_a_name_tells_it_from_another_layer_of_that_shape() -> None:
    """An inner layer of three times the width has the very shapes."""
    both = [layer_of(name, "sonnet1", {"w": (12, 36), "b": (36,)}) for name in ("h0/attn/c_attn", "h0/mlp/c_fc")]
    expanded = expand_fused(read_forms(spec_of(*both)), three_spec())
    assert names(expanded)[-1] == "h0/mlp/c_fc"
    assert {part.of for part in expanded.parts.values()} == {"h0/attn/c_attn/w", "h0/attn/c_attn/b"}
    unnamed = [layer_of(name, "sonnet1", {"w": (12, 36), "b": (36,)}) for name in ("h0/a", "h0/b")]
    assert not expand_fused(read_forms(spec_of(*unnamed)), three_spec()).parts


def test_layers_that_nobody_knows_stay_as_they_are() -> None:
    strange = layer_of("tables", "plain", {"one": (50, 12), "two": (16, 12)})
    fused = layer_of("h0/attn/c_attn", "sonnet1", {"w": (1, 12, 36), "b": (36,)})
    expanded = expand_fused(read_forms(spec_of(strange, fused)), three_spec())
    assert names(expanded)[0] == "tables"
    assert len(expanded.spec.variables) == 2 + 6


def form_of(layer: Any) -> Any:
    return next(form for form in layer.forms if form.kind == "Dense")


def matched(a: Expanded, b: Expanded) -> Match:
    """The pairs that a matcher would make of query, key and value."""
    by_piece = {layer.name.rpartition("/")[2]: layer for layer in a.spec.layers}
    pairs = []
    for layer in b.spec.layers:
        other = by_piece[layer.name.rpartition("/")[2]]
        pairs.append(Pair(other.variables, layer.variables, ("scope",), (form_of(other), form_of(layer))))
    return Match("auto", tuple(pairs))


@pytest.mark.parametrize("bias", [(36,), (1, 1, 36), None], ids=str)
def test_there_and_back(bias: Shape | None) -> None:
    fused, three = fused_spec(bias=bias), three_spec(bias=bias is not None)
    a, b = expand_fused(fused, three), expand_fused(three, fused)
    assert b.parts == {}
    random = np.random.default_rng(1)
    held = {variable.name: random.normal(size=variable.shape).astype("float32") for variable in fused.variables}
    plan = make_plan(matched(a, b), fused, three, expanded=(a, b))
    made = {step.target.name: evaluate(step.op, held.__getitem__) for step in plan.steps}
    kernel = held["h0/attn/c_attn/w"][0]
    for place, piece in enumerate(("query", "key", "value")):
        wanted = kernel[:, place * 12 : place * 12 + 12].reshape(12, 3, 4)
        np.testing.assert_array_equal(made[f"block0/attention/{piece}/kernel"], wanted)
    back = make_plan(matched(b, a), three, fused, expanded=(b, a))
    assert [step.target.name for step in back.steps] == [variable.name for variable in fused.variables]
    for step in back.steps:
        np.testing.assert_array_equal(evaluate(step.op, made.__getitem__), held[step.target.name])
    for step in (*plan.steps, *back.steps):
        assert any(doubt.endswith("holds query, key and value, in that order") for doubt in step.doubts)


def test_a_part_without_a_source_is_refused_by_name() -> None:
    fused, three = fused_spec(bias=None), three_spec(bias=False)
    a, b = expand_fused(fused, three), expand_fused(three, fused)
    found = matched(b, a)
    two = replace(found, pairs=found.pairs[:2])
    with pytest.raises(RefusedError, match="h0/attn/c_attn/w: only a part of it has a source"):
        make_plan(two, three, fused, expanded=(b, a), allow_missing=True, allow_unexpected=True)
    kept = make_plan(Match("auto", ()), three, fused, expanded=(b, a), allow_missing=True, allow_unexpected=True)
    assert [(item.target, item.key) for item in kept.kept] == [("h0/attn/c_attn/w", "h0/attn/c_attn/w")]
    assert kept.missing == ("h0/attn/c_attn/w",)
