"""The fixtures themselves: what was made once for all tests can be called after another test's graph."""

from __future__ import annotations

from tests.moves.architectures import made
from tests.moves.proof import batch


def test_a_model_made_before_a_graph_runs_after_it(fw):
    model = made(fw, "tf_keras", "mlp")
    with fw.tf.Graph().as_default():
        inputs = fw.tf_keras.Input((4,))
        fw.tf_keras.Model(inputs, fw.tf_keras.layers.Dense(3)(inputs))
    model.run(batch(made(fw, "tf_keras", "mlp")))
