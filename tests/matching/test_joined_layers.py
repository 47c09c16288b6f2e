"""Layers whose conventions join and split parts: which variables stand in one pair."""

from __future__ import annotations

from ckptkit.matching import match
from tests.matching.specs import layer, spec

LSTM_PARTS = [("kernel", (7, 20)), ("recurrent_kernel", (5, 20)), ("bias", (20,), True)]
KERAS_LSTM = layer("lstm", "LSTM", [("kernel", (7, 20)), ("recurrent_kernel", (5, 20)), ("bias", (20,))], LSTM_PARTS)
GRU_PARTS = [("kernel", (7, 15)), ("recurrent_kernel", (5, 15)), ("bias", (15,), True)]
KERAS_GRU = layer("gru", "GRU", [("kernel", (7, 15)), ("recurrent_kernel", (5, 15)), ("bias", (15,))], GRU_PARTS)


def blocks(a, b) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    found = match(spec(a), spec(b), by="order")
    assert found.complete
    assert all(pair.forms is not None for pair in found.pairs)
    short = lambda names: tuple(name.partition("/")[2] for name in names)  # noqa: E731
    return [(short(pair.source), short(pair.target)) for pair in found.pairs]


def test_one_kernel_over_inputs_and_state() -> None:
    cell = layer("cell", "LSTM", [("kernel", (12, 20)), ("bias", (20,))], LSTM_PARTS, row="rnn_cell/BasicLSTMCell")
    assert blocks(cell, KERAS_LSTM) == [(("kernel",), ("kernel", "recurrent_kernel")), (("bias",), ("bias",))]
    assert blocks(KERAS_LSTM, cell) == [(("kernel", "recurrent_kernel"), ("kernel",)), (("bias",), ("bias",))]


def test_labels_that_name_all_their_parts() -> None:
    cell = layer("cell", "LSTM", [("kernel+recurrent_kernel", (12, 20)), ("bias", (20,))], LSTM_PARTS, row="x/Cell")
    assert blocks(cell, KERAS_LSTM)[0] == (("kernel_and_recurrent_kernel",), ("kernel", "recurrent_kernel"))


def test_gates_in_variables_of_their_own() -> None:
    natives = [
        ("gates/kernel", (12, 10)),
        ("gates/bias", (10,)),
        ("candidate/kernel", (12, 5)),
        ("candidate/bias", (5,)),
    ]
    cell = layer("cell", "GRU", natives, GRU_PARTS, row="rnn_cell/GRUCell")
    assert blocks(cell, KERAS_GRU) == [
        (("gates/kernel", "candidate/kernel"), ("kernel", "recurrent_kernel")),
        (("gates/bias", "candidate/bias"), ("bias",)),
    ]


def test_two_biases_in_one_variable() -> None:
    parts = [*GRU_PARTS, ("recurrent_bias", (15,), True)]
    natives = [("kernel", (7, 15)), ("recurrent_kernel", (5, 15)), ("bias", (2, 15))]
    one = layer("gru", "GRU", natives, parts, row="keras2/GRU")
    assert blocks(one, layer("x", "GRU", natives, parts)) == [
        (("kernel",), ("kernel",)),
        (("recurrent_kernel",), ("recurrent_kernel",)),
        (("bias",), ("bias",)),
    ]


def test_variables_whose_parts_cannot_be_told_stay_together() -> None:
    odd = layer("odd", "LSTM", [("w/x", (7, 20)), ("w/h", (5, 20)), ("b/all", (20,))], LSTM_PARTS, row="x/Odd")
    assert blocks(odd, KERAS_LSTM) == [(("w/x", "w/h", "b/all"), ("kernel", "recurrent_kernel", "bias"))]


def test_the_likeliest_readings_that_agree_are_taken() -> None:
    from dataclasses import replace

    made, variables = KERAS_LSTM
    gru_like = replace(made.forms[0], kind="GRU", row="x/GRU")
    both = (replace(made, forms=(gru_like, made.forms[0])), variables)
    (first, *_) = match(spec(both), spec(KERAS_GRU, KERAS_LSTM), by="order").pairs
    assert first.forms is None or first.forms[0].kind == first.forms[1].kind == "LSTM"
    assert first.target == ("lstm/kernel",)


def test_a_variable_that_holds_a_sum_of_parts_keeps_the_layer_together() -> None:
    parts = [*GRU_PARTS, ("recurrent_bias", (15,), True)]
    natives = [("kernel", (7, 15)), ("recurrent_kernel", (5, 15)), ("bias", (15,))]
    summed = layer("gru", "GRU", natives, parts, row="x/SummedBiases")
    two = layer("gru", "GRU", [*natives, ("recurrent_bias", (15,))], parts)
    roles = ("kernel", "recurrent_kernel", "bias")
    assert blocks(summed, two) == [(roles, (*roles, "recurrent_bias"))]
