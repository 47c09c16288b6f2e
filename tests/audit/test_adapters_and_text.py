"""Adapters that a saver merges are no losses; models of text and of ragged rows are called with such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import tensorflow as tf
import tf_keras

from ckptkit.api.audit import audit
from ckptkit.auditing.inputs import read_inputs
from ckptkit.errors import UsageError
from ckptkit.inputs import parse_shape

L = keras.layers


def adapted(make: Callable[[], Any], shape: tuple[int, ...], dtype: str = "float32", quantized: str = "") -> Any:
    def build() -> Any:
        model = keras.Sequential([keras.Input(shape, dtype=dtype), make()])
        if quantized:
            model.layers[0].quantize(quantized)
        model.layers[0].enable_lora(2)
        return model

    return build


CASES: dict[str, tuple[Any, np.ndarray]] = {
    "Dense": (adapted(lambda: L.Dense(5), (4,)), np.ones((2, 4), "float32")),
    "Embedding": (adapted(lambda: L.Embedding(6, 5), (3,), "int32"), np.ones((2, 3), "int32")),
    "EinsumDense": (
        adapted(lambda: L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"), (3, 4)),
        np.ones((2, 3, 4), "float32"),
    ),
    "Conv2D": (adapted(lambda: L.Conv2D(5, 3), (8, 7, 4)), np.ones((2, 8, 7, 4), "float32")),
    "Dense int8": (adapted(lambda: L.Dense(5), (4,), quantized="int8"), np.ones((2, 4), "float32")),
    "Embedding int8": (
        adapted(lambda: L.Embedding(6, 5), (3,), "int32", quantized="int8"),
        np.ones((2, 3), "int32"),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_a_merged_adapter_is_said_and_is_no_error(case: str) -> None:
    build, inputs = CASES[case]
    found = audit(build, inputs)
    assert found.clean, [finding.message for finding in found.findings]
    said = [finding for finding in found.findings if finding.kind == "merged"]
    assert len(said) == 2
    assert {finding.severity for finding in said} == {"info"}
    assert all("merged into what it adapts" in finding.message for finding in said)


class Forgetful(L.Dense):
    """Writes the kernel without its adapter: the sum does not come back."""

    def save_own_variables(self, store: Any) -> None:
        store["0"], store["1"] = self._kernel, self.bias


def test_an_adapter_that_is_dropped_is_an_error() -> None:
    found = audit(adapted(lambda: Forgetful(5), (4,)), np.ones((2, 4), "float32"))
    lost = {finding.facts.variable.rpartition("/")[2] for finding in found.errors if finding.facts}
    assert lost >= {"lora_kernel_a", "lora_kernel_b"}


def text() -> Any:
    inputs = keras.Input((1,), dtype="string")
    lookup = L.TextVectorization(output_sequence_length=4, vocabulary=["a", "b"])
    return keras.Model(inputs, L.Dense(2)(L.Embedding(4, 3)(lookup(inputs))))


def test_texts_from_a_file_and_by_shape(tmp_path: Path) -> None:
    for name, words in (("u", np.array([["a b"], ["c"]])), ("s", np.array([[b"a b"], [b"c"]]))):
        np.savez(tmp_path / f"{name}.npz", words=words)
        given = read_inputs(str(tmp_path / f"{name}.npz"))
        assert given["words"].dtype == tf.string
        assert given["words"].numpy().tolist() == [[b"a b"], [b"c"]]
        assert audit(text, given).clean
    assert parse_shape("2,1:string") == ((2, 1), "string")
    assert audit(text, input_shapes=["2,1:string"]).clean
    assert audit(text).clean


def test_ragged_rows(tmp_path: Path) -> None:
    def build() -> Any:
        ragged = tf_keras.Input((None,), dtype="int32", ragged=True)
        return tf_keras.Sequential([ragged, tf_keras.layers.Embedding(9, 3), tf_keras.layers.LSTM(4)])

    parts = {"x/values": np.array([1, 2, 3, 4], "int32"), "x/row_splits": np.array([0, 1, 4])}
    np.savez(tmp_path / "x.npz", **parts)
    given = read_inputs(str(tmp_path / "x.npz"))
    assert given["x"].to_list() == [[1], [2, 3, 4]]
    assert audit(build, given).clean
    for splits in ([0, 5, 4], [1, 4], [0, 3], [[0, 4]]):
        np.savez(tmp_path / "x.npz", **{**parts, "x/row_splits": np.array(splits)})
        with pytest.raises(UsageError, match="row_splits do not divide the values"):
            read_inputs(str(tmp_path / "x.npz"))
