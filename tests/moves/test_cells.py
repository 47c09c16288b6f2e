"""`tf.nn.rnn_cell` and Keras's recurrent layers: one kernel against two, gates in another order, a hidden forget bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ckptkit import plan, remap
from ckptkit.errors import RefusedError
from tests.moves.graphs import Graph
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize

SHAPE = (5, 4)


def dynamic(make_cell: Callable[[Any], Any], scope: str | None = None) -> Callable[[Any], Callable[[], Any]]:
    """A graph that runs a cell over a sequence."""

    def of(fw: Any) -> Callable[[], Any]:
        def build() -> Any:
            value = fw.v1.placeholder("float32", (None, *SHAPE))
            cell = make_cell(fw.v1.nn.rnn_cell)
            output, _ = fw.v1.nn.dynamic_rnn(cell, value, dtype="float32", scope=scope)
            return [value], output

        return build

    return of


def both_ways(make_cell: Callable[[Any], Any]) -> Callable[[Any], Callable[[], Any]]:
    def of(fw: Any) -> Callable[[], Any]:
        def build() -> Any:
            value = fw.v1.placeholder("float32", (None, *SHAPE))
            cells = make_cell(fw.v1.nn.rnn_cell), make_cell(fw.v1.nn.rnn_cell)
            outputs, _ = fw.v1.nn.bidirectional_dynamic_rnn(*cells, value, dtype="float32")
            return [value], fw.tf.concat(outputs, -1)

        return build

    return of


def layers(fw: Any, framework: str, make: Callable[[Any], list[Any]]) -> Model:
    k = getattr(fw, framework)
    x = start = k.Input(SHAPE)
    for layer in make(k.layers):
        x = layer(x)
    return Model(framework, k.Model(start, x), SHAPE)


# What is written in TensorFlow 1, and what computes the same in Keras.
CASES: dict[str, tuple[Callable[[Any], Callable[[], Any]], Callable[[Any], list[Any]]]] = {
    "BasicRNNCell": (dynamic(lambda c: c.BasicRNNCell(6)), lambda k: [k.SimpleRNN(6, return_sequences=True)]),
    "BasicLSTMCell": (dynamic(lambda c: c.BasicLSTMCell(6)), lambda k: [k.LSTM(6, return_sequences=True)]),
    "LSTMCell": (dynamic(lambda c: c.LSTMCell(6), "encoder"), lambda k: [k.LSTM(6, return_sequences=True)]),
    "GRUCell": (dynamic(lambda c: c.GRUCell(6)), lambda k: [k.GRU(6, reset_after=False, return_sequences=True)]),
    "MultiRNNCell": (
        dynamic(lambda c: c.MultiRNNCell([c.LSTMCell(6), c.LSTMCell(6), c.GRUCell(7)])),
        lambda k: [k.LSTM(6, return_sequences=True), k.LSTM(6, return_sequences=True),
                   k.GRU(7, reset_after=False, return_sequences=True)],
    ),
    "MultiRNNCell of one kind": (
        dynamic(lambda c: c.MultiRNNCell([c.BasicLSTMCell(4) for _ in range(3)])),
        lambda k: [k.LSTM(4, return_sequences=True) for _ in range(3)],
    ),
    "bidirectional LSTM": (
        both_ways(lambda c: c.BasicLSTMCell(6)), lambda k: [k.Bidirectional(k.LSTM(6, return_sequences=True))],
    ),
    "bidirectional GRU": (
        both_ways(lambda c: c.GRUCell(6)),
        lambda k: [k.Bidirectional(k.GRU(6, reset_after=False, return_sequences=True))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "target", [("keras", "weights.h5"), ("keras", "checkpoint"), ("tf_keras", "weights")], ids="-".join
)
def test_to_keras_and_back(fw, mover, case, target):
    in_graph, in_keras = CASES[case]
    graph, model = Graph(fw, in_graph(fw)), layers(fw, target[0], in_keras)
    graph.randomize(1)
    randomize(model.variables(), 2)
    sample = batch(model)
    expected = graph.run(sample)
    assert_differ(model.run(sample), expected)
    saved, template = graph.save(mover.path()), mover.save(model, target[1])
    output = mover.path(model.container(target[1]).ending)
    done = remap(saved, template, output)
    assert_agree(model.run(sample, model.container(target[1]).load(model.live, output)), expected)
    if "LSTM" in case or case.startswith("MultiRNN"):
        assert any("forget_bias=1.0" in doubt for step in done.plan.steps for doubt in step.doubts)
    # Back, from another model of Keras's, into a graph with other values.
    randomize(model.variables(), 3)
    expected = model.run(sample)
    assert_differ(graph.run(sample), expected)
    back = mover.path()
    remap(mover.save(model, target[1]), saved, back)
    graph.restore(back)
    assert_agree(graph.run(sample), expected)


@pytest.mark.parametrize("forget_bias", [0.0, 2.5])
def test_another_forget_bias_is_told(fw, mover, forget_bias):
    graph = Graph(fw, dynamic(lambda c: c.BasicLSTMCell(6, forget_bias=forget_bias))(fw))
    model = layers(fw, "keras", lambda k: [k.LSTM(6, return_sequences=True)])
    graph.randomize(1)
    sample = batch(model)
    paths = graph.save(mover.path()), mover.save(model, "weights.h5")
    for assume, right in (({"forget_bias": str(forget_bias)}, True), (None, False)):
        output = mover.path(".weights.h5")
        remap(*paths, output, assume=assume)
        model.live.load_weights(output)
        (assert_agree if right else assert_differ)(model.run(sample), graph.run(sample))


def test_there_and_back_through_another_cell_is_the_identity(fw, mover):
    graph = Graph(fw, dynamic(lambda c: c.MultiRNNCell([c.LSTMCell(6), c.GRUCell(7)]))(fw))
    model = layers(fw, "keras", lambda k: [k.LSTM(6, return_sequences=True), k.GRU(7, reset_after=False)])
    graph.randomize(1)
    values = graph.values()
    saved, there, back = graph.save(mover.path()), mover.path(".weights.h5"), mover.path()
    remap(saved, mover.save(model, "weights.h5"), there)
    graph.randomize(2)
    remap(there, graph.save(mover.path()), back)
    graph.restore(back)
    found = graph.values()
    for name, value in values.items():
        # The forget bias is added and taken away again, which rounds.
        assert abs(found[name] - value).max() <= (2e-7 if name.endswith("lstm_cell/bias") else 0), name


REFUSED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], list[Any]], str]] = {
    "reset_after": (lambda c: c.GRUCell(6), lambda k: [k.GRU(6, return_sequences=True)], "reset_after|recurrent_bias"),
    "peepholes": (
        lambda c: c.LSTMCell(6, use_peepholes=True), lambda k: [k.LSTM(6, return_sequences=True)], "peephole connections",
    ),
    "projection": (
        lambda c: c.LSTMCell(6, num_proj=3), lambda k: [k.LSTM(6, return_sequences=True)], "projection of the output",
    ),
    "no bias for the forget gate": (
        lambda c: c.BasicLSTMCell(6), lambda k: [k.LSTM(6, use_bias=False, return_sequences=True)], "bias",
    ),
    "another size": (lambda c: c.GRUCell(7), lambda k: [k.GRU(6, reset_after=False)], r"gru\w*/\w*kernel \[4, 18\]"),
    "another kind": (lambda c: c.LSTMCell(6), lambda k: [k.GRU(6, reset_after=False)], r"gru\w*/\w*kernel \[4, 18\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("by", ["auto", "order"])
def test_what_cannot_be_moved_is_refused_by_name(fw, mover, tmp_path, case, by):
    make_cell, make_layers, words = REFUSED[case]
    graph, model = Graph(fw, dynamic(make_cell)(fw)), layers(fw, "keras", make_layers)
    paths = graph.save(mover.path()), mover.save(model, "weights.h5")
    before = set(tmp_path.iterdir())
    with pytest.raises(RefusedError, match=words):
        remap(*paths, mover.path(".weights.h5"), by=by)
    if case != "no bias for the forget gate":  # a bias that the source lacks is 0 and gets the forget bias taken away
        with pytest.raises(RefusedError):
            plan(*reversed(paths), by=by)
    assert set(tmp_path.iterdir()) == before
