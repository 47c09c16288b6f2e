"""Every row against Keras 3: both layers are run on one input with the same weights, there and back.

Random weights, pairwise different sizes; the outputs agree to 1e-5 of their largest. Kinds that Keras does not have
are run against Sonnet 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import sonnet
import tensorflow as tf

from ckptkit.conventions import ROWS, Row, by_id, rows_of
from ckptkit.conventions.layout import parse_layout
from tests.conventions.definitions import DEFINED, defined_subject, reference_subject
from tests.conventions.layers import moved
from tests.conventions.subjects import RUNNABLE, H, Subject, input_of, keras_subject
from tests.conventions.test_rows_loader import LOADED
from tests.conventions.test_rows_theano import TURNED

# What runs differently from Keras's layer although the weights mean the same.
NOT_RUN: Mapping[str, str] = {
    "keras3/Normalization": "its weights are statistics that adapt() sets; taken as they lie",
    "keras2/Normalization": "its weights are statistics that adapt() sets; taken as they lie",
    "keras3/SpectralNormalization": "it runs around a layer of another kind (tests/moves/test_held_twice.py)",
    "keras2/SpectralNormalization": "that of tf_keras 2.21 cannot be built; the same variable under the same name",
}


# Proven in test_rows_torch.py, where PyTorch is.
TORCH = frozenset(row.id for row in rows_of("torch"))


def is_run(row: Row) -> bool:
    return not (row.lost or row.id in LOADED or row.id in TURNED or row.id in NOT_RUN or row.id in TORCH)


def subject_of(row: Row) -> Subject:
    return defined_subject(row) if row.id in DEFINED else RUNNABLE[row.dialect](row.name, row)


# It has no place for the recurrent bias of the new state.
NO_RECURRENT_BIAS = "flax/GRUCell(nnx)"

# Keras's layer, where its default has other settings.
LIKE: Mapping[str, str] = {"haiku/VanillaRNN": "SimpleRNN(relu)", "flax/PReLU": "PReLU(one slope)"}


def reference_row(row: Row) -> Row:
    """The row that `row` is proven against."""
    if row.class_name.startswith("Depthwise") and row.kind != row.class_name:
        return by_id(f"keras3/{row.name}(as {row.kind} in groups)")
    if row.kind == "LayerScale":
        return by_id("keras3/LayerScale")
    for dialect in ("keras3", "sonnet2"):
        for other in ROWS:
            variant, own = (name.partition("(")[2] for name in (other.name, row.name))
            alike = "Einsum" not in other.name or (row.kind == other.kind and variant == own)
            if other.dialect == dialect and (other.kind, other.options) == (row.kind, row.options) and alike:
                if ("unshared" in other.name) == ("unshared" in row.name):
                    return other
    raise AssertionError(row.id)


def reference_of(row: Row) -> tuple[Row, Subject]:
    reference = reference_row(row)
    name = LIKE.get(row.id, reference.of or reference.name)
    return reference, reference_subject(row) or keras_subject(keras, name, row)


def apart(a: object, b: object) -> float:
    """The largest difference, relative to the largest value."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.size == b.size
    return float(np.abs(a.reshape(-1) - b.reshape(-1)).max() / np.abs(a).max())


def with_marks(names: Iterable[str]) -> list[ParameterSet]:
    """Parameters of a test, those of JAX's frameworks marked."""
    return [pytest.param(name, marks=[pytest.mark.jax] * name.startswith(("flax/", "haiku/"))) for name in names]


EVERY = with_marks(row.id for row in ROWS if is_run(row))


@pytest.mark.parametrize("name", EVERY)
def test_outputs_agree_there_and_back(name: str) -> None:
    row = by_id(name)
    agree_there_and_back(row, subject_of(row), *reference_of(row))


def agree_there_and_back(row: Row, subject: Subject, row_b: Row, reference: Subject, x: Any = None) -> None:
    """Move random weights from one to the other and back; both run on one input each time."""
    x = input_of(row) if x is None else x
    subject.randomise(1)
    reference.assign(moved(row, subject.values(), row_b, reference.values()))
    distance = apart(subject.run(x), reference.run(x))
    assert distance < 1e-5

    reference.randomise(2)
    bare = row.id == NO_RECURRENT_BIAS
    if bare:
        reference.weights["bias"].assign(reference.values()["bias"] * np.repeat([[1, 1, 1], [1, 1, 0]], H, axis=1))
    before = subject.run(x)
    subject.assign(moved(row_b, reference.values(), row, subject.values(), allow_unexpected=bare))
    distance, moved_by = apart(subject.run(x), reference.run(x)), apart(subject.run(x), before)
    assert distance < 1e-5
    assert moved_by > 1e-3, "the weights do not matter to the output: nothing is proven"


@pytest.mark.parametrize("name", EVERY)
def test_names_and_order_are_those_of_the_framework(name: str) -> None:
    row = by_id(name)
    weights = [native.suffix for native in row.natives if native.kind == "weight"]
    assert list(subject_of(row).weights) == weights


def test_every_row_has_a_proof_and_no_proof_is_stale() -> None:
    refused = {row.id for row in ROWS if row.lost}  # tests/test_planner.py: refused by name
    run = {row.id for row in ROWS if is_run(row)}
    known = {row.id for row in ROWS}
    assert run | refused | LOADED | TURNED | TORCH | set(NOT_RUN) == known
    assert set(DEFINED) <= run
    assert set(NOT_RUN) <= known
    assert LOADED <= known


def test_definitions_stand_only_in_for_what_cannot_be_installed() -> None:
    assert not hasattr(tf.compat.v1, "contrib")
    assert sonnet.__version__.startswith("2.")
    for name in DEFINED:
        row = by_id(name)
        assert row.dialect in ("slim", "sonnet1") or not hasattr(tf.compat.v1.nn.rnn_cell, row.class_name)


def _gates(row: Row) -> str:
    """The longest run of gates of a row."""
    axes = [axis for native in row.natives for axis in parse_layout(native.layout).axes]
    found = [piece.gates for axis in axes for piece in axis.pieces]
    return "".join(gate.letter for gate in max(found, key=len, default=()))


GATED = [row.id for row in ROWS if is_run(row) and len(_gates(row)) > 1]


def run_wrong(name: str, change: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> float:
    """How far the outputs are apart when the layouts of a row are changed."""
    row = by_id(name)
    natives = tuple(replace(native, layout=change(native.layout)) for native in row.natives)
    wrong = replace(row, name=f"{row.name}(wrong)", natives=natives)
    monkeypatch.setattr("ckptkit.planner.pairs.by_id", lambda sought: wrong if sought == wrong.id else by_id(sought))
    subject, x = subject_of(row), input_of(row)
    row_b, reference = reference_of(row)
    reference.randomise(2)
    bare = name == NO_RECURRENT_BIAS
    subject.assign(moved(row_b, reference.values(), wrong, subject.values(), allow_unexpected=bare))
    return apart(subject.run(x), reference.run(x))


@pytest.mark.parametrize("name", with_marks(GATED))
def test_swapped_gates_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = _gates(by_id(name))
    pattern, swapped = re.compile("(-?)" + r"(\^?)".join(letters)), letters[1] + letters[0] + letters[2:]
    distance = run_wrong(name, lambda layout: pattern.sub(swapped, layout), monkeypatch)
    assert distance > 1e-3


@pytest.mark.parametrize(
    "name", with_marks(row.id for row in ROWS if is_run(row) and "^" in "".join(n.layout for n in row.natives))
)
def test_a_forgotten_forget_bias_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distance = run_wrong(name, lambda layout: layout.replace("^", ""), monkeypatch)
    assert distance > 1e-3


@pytest.mark.parametrize("name", with_marks(["sonnet1/GRU", "sonnet2/GRU", "haiku/GRU"]))
def test_a_forgotten_negation_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distance = run_wrong(name, lambda layout: layout.replace("-", ""), monkeypatch)
    assert distance > 1e-3
