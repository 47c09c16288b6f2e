"""One kind taken for another: both layers run on the same numbers, and what must not be joined is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import tf_keras

from ckptkit.conventions import FURTHER, by_id, read_forms
from ckptkit.conventions.views import VIEWS
from tests.conventions.layers import moved
from tests.conventions.test_reading import forms_of
from tests.conventions.test_rows_run import apart

# name of the layer, how it is made, its input, and how the input looks to the layer of the other kind
HEADS = ("EinsumDense(heads, as Dense)", lambda k: k.layers.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de"),
         (2, 6, 5), (2, 6, 5))  # fmt: skip
OUTPUT = ("EinsumDense(output, as Dense)", lambda k: k.layers.EinsumDense("abcd,cde->abe", (None, 5), bias_axes="e"),
          (2, 6, 3, 4), (2, 6, 12))  # fmt: skip
CASES: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    HEADS,
    OUTPUT,
    ("Conv1D(as Dense)", lambda k: k.layers.Conv1D(7, 1), (2, 6, 5), (2, 6, 5)),
    ("Conv2D(as Dense)", lambda k: k.layers.Conv2D(7, 1), (2, 3, 4, 5), (2, 3, 4, 5)),
    ("Conv3D(as Dense)", lambda k: k.layers.Conv3D(7, 1), (2, 2, 3, 4, 5), (2, 2, 3, 4, 5)),
    ("Conv1D(covering, as Dense)", lambda k: k.layers.Conv1D(7, 6), (2, 6, 5), (2, 30)),
    ("Conv2D(covering, as Dense)", lambda k: k.layers.Conv2D(7, (3, 4)), (2, 3, 4, 5), (2, 60)),
    ("Conv3D(covering, as Dense)", lambda k: k.layers.Conv3D(7, (2, 3, 4)), (2, 2, 3, 4, 5), (2, 120)),
]


def values_of(layer: Any, suffixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    return dict(zip(suffixes, map(np.asarray, layer.get_weights()), strict=True))


def randomise(layer: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    layer.set_weights([random.normal(size=value.shape) for value in layer.get_weights()])


@pytest.mark.parametrize("generation", ["keras3", "keras2"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("first", [False, True], ids=["channels last", "channels first"])
def test_both_kinds_compute_the_same(generation: str, case: Any, first: bool) -> None:
    name, make, shape, seen = case
    if first and "covering" not in name:
        pytest.skip("nothing is flattened")
    lib = {"keras3": keras, "keras2": tf_keras}[generation]
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    flat = np.moveaxis(x, -1, 1) if first else x
    layer, dense = make(lib), keras.layers.Dense(12 if case is HEADS else 5 if case is OUTPUT else 7)
    layer(x), dense(flat.reshape(seen))
    row = by_id(f"{generation}/{name.replace('covering', 'covering, channels first') if first else name}")
    other, words = by_id("keras3/Dense"), ("kernel", "bias")

    randomise(layer, 2), randomise(dense, 3)
    made = moved(row, values_of(layer, words), other, values_of(dense, words))
    dense.set_weights([made[word] for word in words])
    assert apart(layer(x), dense(flat.reshape(seen))) < 1e-5

    randomise(dense, 4)
    before = np.asarray(layer(x))
    made = moved(other, values_of(dense, words), row, values_of(layer, words))
    layer.set_weights([made[word] for word in words])
    assert apart(layer(x), dense(flat.reshape(seen))) < 1e-5
    assert apart(before, layer(x)) > 1e-2


def test_every_view_is_that_of_a_proven_row() -> None:
    """A view only writes a row's first variable in other letters, so the row's own proof and one view's prove it."""
    proven = {case[0].partition("(")[2] for case in CASES} | {"covering, channels first, as Dense)"}
    words = {view.called for view in VIEWS if view.kind == "Dense"}
    assert all(any(word in name for name in proven) for word in words)
    for row in FURTHER:
        if row.of and not row.kind.startswith("Quantized"):
            view = next(
                view
                for view in VIEWS
                if view.called in row.name and view.of == row.of and view.new == row.natives[0].layout
            )
            assert row.natives[0].roles == (view.role,)
            assert row.kind == view.kind


def test_a_layers_own_kind_comes_first() -> None:
    for weights in ({"kernel": (1, 1, 5, 7), "bias": (7,)}, {"kernel": (6, 5, 7), "bias": (7,)}, {"kernel": (5, 3, 4)}):
        forms = forms_of("layer", "keras3", weights)
        own = [bool(form.of) for form in forms]
        assert own == sorted(own)
        assert own[0] is False
        assert any(form.kind == "Dense" for form in forms)


def test_the_architecture_leaves_only_its_own_kind_and_what_that_can_be_taken_for() -> None:
    forms = forms_of("q", "keras3", {"kernel": (6, 3, 4), "bias": (3, 4)}, "EinsumDense", {"equation": "abc,cde->abde"})
    assert {form.of or form.kind for form in forms} == {"EinsumDense"}
    assert [form.kind for form in forms] == ["EinsumDense", "Dense"]


def test_layers_of_one_kind_are_not_joined_as_another() -> None:
    """Three heads of four are another function than four of three, and a window of 3 than one of 1."""
    for one, other in (((6, 3, 4), (6, 4, 3)), ((3, 3, 4, 5), (1, 1, 36, 5))):
        forms = [forms_of("layer", "keras3", {"kernel": shape}) for shape in (one, other)]
        joined = [
            (a, b)
            for a in forms[0]
            for b in forms[1]
            if (a.kind, a.parts) == (b.kind, b.parts) and {*a.options} == {*b.options}
        ]
        assert not joined


def test_the_order_of_flattening_is_assumed_aloud_and_can_be_said() -> None:
    weights = {"kernel": (3, 4, 5, 7), "bias": (7,)}
    dense = [form for form in forms_of("fc6", "keras3", weights) if form.kind == "Dense"]
    assert [form.assumed for form in dense] == [("flatten=channels_last",), ("flatten=channels_first",)]
    told = [
        form
        for form in forms_of("fc6", "keras3", weights, assume={"flatten": "channels_first"})
        if form.kind == "Dense"
    ]
    assert [(form.row, form.assumed) for form in told] == [("keras3/Conv2D(covering, channels first, as Dense)", ())]


def test_words_of_nobody_count_where_no_framework_explains_the_layer() -> None:
    assert [
        form.row for form in forms_of("c1", "sonnet1", {"w": (3, 4, 5, 7), "b": (7,)}) if form.kind == "Conv2D"
    ] == ["sonnet1/Conv2D"]
    for bias in ((1, 1, 1, 7), (1, 7, 1, 1), (1, 7)):
        forms = forms_of("c1", "sonnet1", {"w": (3, 4, 5, 7), "b": bias})
        assert forms[0].row == "by_hand/conv2d"
        assert [part.shape for part in forms[0].parts] == [(3, 4, 5, 7), (7,)]
    assert forms_of("ln_1", "plain", {"g": (7,), "b": (7,)})[0].row == "by_hand/layer_norm"
    norm = {"scale": (7,), "offset": (7,), "mean/EMA": (7,), "variance/EMA": (7,)}
    assert forms_of("bn", "plain", norm)[0].kind == "BatchNormalization"
    assert forms_of("bn", "plain", {"beta": (7,), "pop_mean": (7,), "pop_var": (7,)})[0].kind == "BatchNormalization"
    assert forms_of("table", "plain", {"lookup_table": (19, 5)})[0].kind == "Embedding"


def test_reading_twice_is_reading_once() -> None:
    from tests.conventions.test_reading import layer_of, spec_of

    spec = read_forms(spec_of(layer_of("c1", "sonnet1", {"w": (1, 5, 7), "b": (7,)})))
    assert read_forms(spec) == spec
