"""Encoder and decoder: scopes shared between training and generation, against Embedding, two GRUs and a Dense.

The decoder is built twice on one set of weights: once over the whole target sequence, once for a single step that is
fed its own last word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ckptkit import remap
from ckptkit.errors import RefusedError
from tests.moves.graphs import Graph
from tests.moves.proof import assert_agree, assert_differ, random_values

WORDS, WIDTH, UNITS, LENGTH = 13, 5, 6, 4


class Seq2Seq:
    """Both graphs in one: `training` scores given words, `step` makes the next word from the last one and a state."""

    def __init__(self, fw: Any) -> None:
        tf, v1 = fw.tf, fw.v1
        cells = v1.nn.rnn_cell

        def decoder(words: Any, state: Any, table: Any, reuse: bool) -> tuple[Any, Any]:
            with v1.variable_scope("decoder", reuse=reuse), v1.variable_scope("decoder"):
                cell = cells.GRUCell(UNITS, name="cell")
                outputs = []
                for place in range(words.shape[1]):
                    output, state = cell(tf.nn.embedding_lookup(table, words[:, place]), state)
                    outputs.append(v1.layers.dense(output, WORDS, use_bias=False, name="out_layer",
                                                   reuse=True if place else None))  # fmt: skip
                return tf.stack(outputs, 1), state

        def build() -> Any:
            source = v1.placeholder("int32", (None, LENGTH))
            target = v1.placeholder("int32", (None, LENGTH))
            table = v1.get_variable("embedding", (WORDS, WIDTH))
            with v1.variable_scope("encoder"):
                cell = cells.GRUCell(UNITS, name="cell")
                state = tf.zeros((tf.shape(source)[0], UNITS))
                for place in range(LENGTH):
                    _, state = cell(tf.nn.embedding_lookup(table, source[:, place]), state)
            scores, _ = decoder(target, state, table, reuse=False)
            first, _ = decoder(target[:, :1], state, table, reuse=True)
            return [source, target], tf.concat([scores, first], 1)

        self.graph = Graph(fw, build)

    def run(self, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(first step as generation makes it, all steps as training does)."""
        scores = self.graph.run(source, target)
        return scores[:, LENGTH], scores[:, :LENGTH]


def keras_model(k: Any) -> Any:
    make = k.layers
    source, target = k.Input((LENGTH,), dtype="int32"), k.Input((LENGTH,), dtype="int32")
    table = make.Embedding(WORDS, WIDTH, name="embedding")
    encoder = make.GRU(UNITS, reset_after=False, name="encoder")
    decoder = make.GRU(UNITS, reset_after=False, return_sequences=True, name="decoder")
    out = make.Dense(WORDS, use_bias=False, name="out_layer")
    return k.Model([source, target], out(decoder(table(target), initial_state=encoder(table(source)))))


@pytest.fixture
def sequences() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return random.integers(0, WORDS, (3, LENGTH)).astype("int32"), random.integers(0, WORDS, (3, LENGTH)).astype(
        "int32"
    )


def fill(variables: Any, seed: int) -> None:
    for variable, value in zip(
        variables, random_values([(tuple(v.shape), "float32") for v in variables], seed), strict=True
    ):
        variable.assign(value)


@pytest.mark.parametrize("target", [("keras", ".weights.h5"), ("tf_keras", ".h5")])
@pytest.mark.parametrize("by", ["auto", "order", "scope"])
def test_to_keras_and_back(fw, mover, sequences, target, by):
    seq2seq, model = Seq2Seq(fw), keras_model(getattr(fw, target[0]))
    seq2seq.graph.randomize(1)
    fill(model.weights, 2)
    first, scores = seq2seq.run(*sequences)
    assert_differ(np.asarray(model(list(sequences))), scores)
    template, output, back = mover.path(target[1]), mover.path(target[1]), mover.path()
    model.save_weights(template)
    saved = seq2seq.graph.save(mover.path(), step=9000)
    done = remap(saved, template, output, by=by)
    model.load_weights(output)
    found = np.asarray(model(list(sequences)))
    assert_agree(found[:, 0], first)
    assert_agree(found, scores)
    assert len(done.plan.steps) == 8
    fill(model.weights, 3)
    model.save_weights(template, overwrite=True)
    remap(template, saved, back, by=by)
    seq2seq.graph.restore(back)
    first, scores = seq2seq.run(*sequences)
    found = np.asarray(model(list(sequences)))
    assert_agree(first, found[:, 0])
    assert_agree(scores, found)


def test_a_gru_that_resets_after_is_refused(fw, mover, tmp_path):
    """Keras's default computes something else: no weights make it the same."""
    k = fw.keras
    model = keras_model(k)
    start = k.Input((LENGTH,), dtype="int32")
    x = model.get_layer("embedding")(start)
    wrong = k.Model(
        start, k.layers.Dense(WORDS, use_bias=False, name="out_layer")(k.layers.GRU(UNITS, name="encoder")(x))
    )
    template = mover.path(".weights.h5")
    wrong.save_weights(template)
    saved = Seq2Seq(fw).graph.save(mover.path())
    before = set(tmp_path.iterdir())
    with pytest.raises(RefusedError, match=r"encoder/cell computes reset_after=False, encoder reset_after=True"):
        remap(saved, template, mover.path(".weights.h5"))
    assert set(tmp_path.iterdir()) == before
