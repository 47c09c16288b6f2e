"""Adapters and quantized layers of Keras 3: merged as Keras merges them, and refused where no weights would do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras

from ckptkit.conventions import by_id
from ckptkit.conventions.adapters import ROWS
from tests.conventions.layers import make_layer, move
from tests.conventions.test_reading import forms_of
from tests.conventions.test_rows_run import apart

LAYERS: dict[str, Any] = {
    "Dense": lambda: (keras.layers.Dense(7), (2, 5)),
    "EinsumDense(heads)": lambda: (keras.layers.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de"), (2, 6, 5)),
    "EinsumDense(matrix)": lambda: (keras.layers.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d"), (2, 6, 5)),
    "EinsumDense(output)": lambda: (keras.layers.EinsumDense("abcd,cde->abe", (None, 7), bias_axes="e"), (2, 6, 3, 4)),
    "Conv1D": lambda: (keras.layers.Conv1D(7, 2), (2, 6, 5)),
    "Conv2D": lambda: (keras.layers.Conv2D(7, (2, 3)), (2, 5, 6, 5)),
    "Conv3D": lambda: (keras.layers.Conv3D(7, (2, 3, 4)), (2, 5, 6, 7, 5)),
    "Embedding": lambda: (keras.layers.Embedding(19, 5), None),
}


def words_of(name: str) -> tuple[str, ...]:
    return tuple(native.suffix for native in by_id(f"keras3/{name}").natives)


def row_of(name: str, words: str) -> Any:
    base, _, variant = name.partition("(")
    return by_id(f"keras3/{base}({' '.join(filter(None, (variant.removesuffix(')'), words)))})")


def made(name: str, rank: int, alpha: float | None = None) -> tuple[Any, dict[str, Any], np.ndarray]:
    """A layer with an adapter (none for rank 0), its variables by suffix, all random, and an input."""
    layer, shape = LAYERS[name]()
    x = np.arange(19).reshape(1, 19) if shape is None else np.random.default_rng(1).normal(size=shape).astype("float32")
    layer(x)
    if rank:
        layer.enable_lora(rank, lora_alpha=alpha)
    held = {variable.name: variable for variable in layer.weights}
    random = np.random.default_rng(rank + 2)
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape))
    return layer, held, x


def values(held: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(variable) for name, variable in held.items()}


def test_every_adapted_row_has_a_case() -> None:
    assert {row.name for row in ROWS if row.adapters} == {row_of(name, "lora merged").name for name in LAYERS}


@pytest.mark.parametrize("name", LAYERS)
def test_merging_is_what_keras_computes(name: str) -> None:
    adapted, held, x = made(name, 2, 3.0)
    plain, wanted, _ = made(name, 0)
    assert apart(adapted(x), plain(x)) > 1e-2
    source = make_layer(row_of(name, "lora merged"), values=values(held), lora_scale=1.5)
    plan, found = move(source, make_layer(by_id(f"keras3/{name}"), values=values(wanted)))
    for suffix, value in found.items():
        wanted[suffix].assign(value)
    assert apart(adapted(x), plain(x)) < 1e-5
    assert any("is merged into it" in doubt for step in plan.steps for doubt in step.doubts)
    assert any("lora_scale=1.5" in doubt for step in plan.steps for doubt in step.doubts)


@pytest.mark.parametrize("name", LAYERS)
def test_a_new_adapter_adds_nothing(name: str) -> None:
    plain, held, x = made(name, 0)
    adapted, wanted, _ = made(name, 2)
    target = make_layer(row_of(name, "lora merged"), values=values(wanted))
    plan, found = move(make_layer(by_id(f"keras3/{name}"), values=values(held)), target)
    for suffix, value in found.items():
        wanted[suffix].assign(value)
    assert apart(adapted(x), plain(x)) < 1e-5
    assert [item.target for item in plan.kept] == [next(n for n in target.names if n.endswith("_a"))]
    assert plan.missing == ()
    assert np.abs(np.asarray(wanted[next(word for word in wanted if word.endswith("_a"))])).min() > 0


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("ranks", [(2, 3), (2, 2)], ids=str)
def test_from_adapter_to_adapter(name: str, ranks: tuple[int, int]) -> None:
    one, held, x = made(name, ranks[0])
    other, wanted, _ = made(name, ranks[1])
    words = "lora" if ranks[0] == ranks[1] else "lora merged"
    source, target = (make_layer(row_of(name, words), values=values(item)) for item in (held, wanted))
    _, found = move(source, target)
    for suffix, value in found.items():
        wanted[suffix].assign(value)
    assert apart(one(x), other(x)) < 1e-5


def test_an_adapter_is_read_both_ways_and_its_scale_is_said() -> None:
    weights = {"kernel": (5, 7), "bias": (7,), "lora_kernel_a": (5, 2), "lora_kernel_b": (2, 7)}
    kept, merged = forms_of("d", "keras3", weights)
    assert [part.role for part in kept.parts] == ["kernel", "bias", "lora_kernel_a", "lora_kernel_b"]
    assert [part.role for part in merged.parts] == ["kernel", "bias"]
    assert merged.assumed == ("lora_scale=1.0",)
    config = {"lora_rank": 2, "lora_alpha": 8}
    assert forms_of("d", "keras3", weights, "Dense", config)[1].assumed == ("lora_scale=4.0",)
    assert forms_of("d", "keras3", weights, assume={"lora_scale": "0.5"})[1].assumed == ("lora_scale=0.5",)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_a_quantized_layer_is_known_and_no_dense(mode: str) -> None:
    layer = keras.layers.Dense(8)
    layer(np.zeros((1, 16), "float32"))
    layer.quantize(mode)
    weights = {variable.name: tuple(variable.shape) for variable in layer.weights}
    forms = forms_of("d", "keras3", weights)
    assert forms[0].kind == "QuantizedDense"
    assert all(form.kind.startswith("Quantized") for form in forms)
