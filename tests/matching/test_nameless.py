"""Weights of which one side says only the places."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckptkit.matching import match
from ckptkit.model import By, CheckpointSpec
from tests.matching.specs import accounted, batch_norm, conv, dense, spec, variable

Shape = tuple[int, ...]

STYLES = {
    "savez": [f"arr_{n}" for n in range(12)],
    "tf.Variable": ["Variable", *(f"Variable_{n}" for n in range(1, 12))],
    "list": [f"net/weights/{n}" for n in range(12)],
    "gaps": [f"Variable_{n}" for n in range(3, 39, 3)],
}


def listed(names: Sequence[str], shapes: Sequence[Shape], **more: object) -> CheckpointSpec:
    """Weights without layers, in the alphabet of their names: `arr_10` before `arr_2`."""
    return spec(
        order="sorted", loose=[variable(n, s, **more) for n, s in sorted(zip(names, shapes, strict=False))]
    )  # fmt: skip


def model() -> CheckpointSpec:
    return spec(conv("c1", 3, 3, 4), batch_norm("n1", 4), conv("c2", 3, 4, 4), dense("head", 4, 4))


def shapes_of(target: CheckpointSpec) -> list[Shape]:
    return [v.shape for v in target.variables]


@pytest.mark.parametrize("by", ["auto", "order"])
@pytest.mark.parametrize("style", STYLES)
def test_places_are_the_order_of_the_other_side(style: str, by: By) -> None:
    target = model()
    source = listed(STYLES[style], shapes_of(target))
    found = match(source, target, by=by)
    accounted(found, source, target)
    assert found.complete
    assert [pair.source[0] for pair in found.pairs] == STYLES[style][: len(target.variables)]
    assert [pair.target[0] for pair in found.pairs] == [v.name for v in target.variables]
    assert {pair.evidence for pair in found.pairs} == {("order",)}
    back = match(target, source, by=by)
    assert {p.source + p.target for p in back.pairs} == {p.target + p.source for p in found.pairs}


def test_what_is_trained_first() -> None:
    """Older Keras lists all that is trained before all that is not."""
    target = spec(batch_norm("n1", 4), conv("c1", 3, 4, 5), batch_norm("n2", 5))
    trained = [v for v in target.variables if v.role not in ("moving_mean", "moving_variance")]
    order = [*trained, *(v for v in target.variables if v not in trained)]
    source = listed(STYLES["savez"], [v.shape for v in order])
    found = match(source, target)
    assert found.complete
    assert {p.source[0]: p.target[0] for p in found.pairs} == {f"arr_{n}": v.name for n, v in enumerate(order)}


def test_two_orders_that_fit_are_no_order() -> None:
    """Two normalisations of one width: whether the means come after each scale or at the end cannot be seen."""
    target = spec(batch_norm("n1", 4), batch_norm("n2", 4))
    found = match(listed(STYLES["savez"], shapes_of(target)), target)
    assert not found.complete
    assert not found.pairs


@pytest.mark.parametrize("order", ["sorted", "attributes", "natural"])
def test_an_order_that_is_only_the_names(order: str) -> None:
    """Layers that stand by the alphabet have no order; shapes that occur once need none."""
    different = spec(dense("b", 4, 6), dense("a", 6, 3), order=order)  # type: ignore[arg-type]
    found = match(listed(STYLES["savez"], [(6, 3), (4, 6), (3,), (6,)]), different)
    assert found.complete
    assert {pair.evidence for pair in found.pairs} == {("shape",)}
    alike = spec(dense("b", 4, 4), dense("a", 4, 4), order=order)  # type: ignore[arg-type]
    assert not match(listed(STYLES["savez"], shapes_of(alike)), alike).complete


def test_a_list_that_is_too_short_is_no_order() -> None:
    target = spec(dense("d1", 4, 4), dense("d2", 4, 4))
    assert all(p.evidence != ("order",) for p in match(listed(STYLES["savez"], shapes_of(target)[:-1]), target).pairs)


def test_names_that_say_something_are_names() -> None:
    """`W1` and `b1` are not places, however numbered."""
    target = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    source = listed(["W1", "b1", "W2", "b2"], shapes_of(target))
    assert all(pair.evidence != ("order",) for pair in match(source, target).pairs)


def test_by_order_alone() -> None:
    """Where a person asks for the order, names are none of its business, and neither is which of them make a layer."""
    target = spec(dense("d1", 4, 6), dense("d2", 6, 6), dense("d3", 6, 6))
    names = [v.name for v in target.variables]
    for order in ([0, 1, 2, 3, 4, 5], [0, 2, 4, 1, 3, 5]):
        loose = [variable(f"{'xyzuvw'[n]}", target.variables[n].shape) for n in order]
        found = match(spec(order="meta-graph", loose=loose), target, by="order")
        assert found.complete
        assert {p.target[0]: p.source[0] for p in found.pairs} == {names[n]: "xyzuvw"[n] for n in order}
    assert not match(spec(order="sorted", loose=loose), target, by="order").complete


def test_by_order_alone_never_mixes_the_parts_of_a_layer() -> None:
    target = spec(batch_norm("n1", 4), dense("d", 4, 5), batch_norm("n2", 4))
    trained = [v for v in target.variables if v.role not in ("moving_mean", "moving_variance")]
    order = [*trained, *(v for v in target.variables if v not in trained)]
    loose = [variable(f"{'xyzuvwabcd'[n]}", v.shape) for n, v in enumerate(order)]
    assert not match(spec(order="meta-graph", loose=loose), target, by="order").complete


@pytest.mark.parametrize(("last", "paired"), [("out", True), ("extra", False)])
def test_a_bias_beside_its_kernel_in_another_scope(last: str, paired: bool) -> None:
    """`weights/out` and `biases/out`: of the kernel's name, in a scope of biases."""
    loose = [
        variable(name, shape)
        for name, shape in (
            ("biases/b1", (6,)),
            (f"biases/{last}", (3,)),
            ("weights/h1", (4, 6)),
            ("weights/out", (6, 3)),
        )
    ]
    found = match(spec(order="sorted", loose=loose), spec(dense("dense", 4, 6), dense("dense_1", 6, 3), order="sorted"))
    assert ({p.target[0]: p.source[0] for p in found.pairs}.get("dense_1/bias") == "biases/out") is paired
