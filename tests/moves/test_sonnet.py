"""Sonnet 2 modules and Keras models: attribute paths against layers, scale and offset, moving averages, gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ckptkit import remap
from ckptkit.errors import RefusedError
from tests.moves.architectures import chain, on_inputs
from tests.moves.graphs import Graph
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize, towers


def mlp_module(fw: Any) -> Any:
    class Net(fw.snt.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = fw.snt.nets.MLP([7, 7, 6], activation=fw.tf.tanh)
            self.head = fw.snt.Linear(3)

        def __call__(self, x: Any) -> Any:
            return self.head(fw.tf.tanh(self.body(x)))

    return Net()


def cnn_module(fw: Any) -> Any:
    class Net(fw.snt.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = [fw.snt.Conv2D(4, 3), fw.snt.Conv2D(4, 3)]
            # Keras's epsilon: it is not a weight.
            self.norms = [fw.snt.BatchNorm(True, True, eps=1e-3) for _ in range(2)]
            self.head = fw.snt.Linear(3)

        def __call__(self, x: Any) -> Any:
            for convolution, norm in zip(self.convolutions, self.norms, strict=True):
                x = fw.tf.nn.relu(norm(convolution(x), is_training=False))
            return self.head(fw.tf.reduce_mean(x, (1, 2)))

    return Net()


def recurrent_module(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def of(fw: Any) -> Any:
        class Net(fw.snt.Module):
            def __init__(self) -> None:
                super().__init__()
                self.core = make(fw.snt)
                self.head = fw.snt.Linear(3)

            def __call__(self, x: Any) -> Any:
                steps = fw.tf.transpose(x, (1, 0, 2))
                outputs, _ = fw.snt.static_unroll(self.core, steps, self.core.initial_state(x.shape[0]))
                return self.head(fw.tf.transpose(outputs, (1, 0, 2)))

        return Net()

    return of


# Sonnet's module, the shape of a sample, what computes the same in Keras.
CASES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], Callable[[Any], list[Any]]]] = {
    "MLP": (mlp_module, (5,), lambda k: [*(k.Dense(units, activation="tanh") for units in (7, 7, 6)), k.Dense(3)]),
    "CNN": (
        cnn_module, (8, 8, 3),
        lambda k: [layer for _ in range(2) for layer in (k.Conv2D(4, 3, padding="same"), k.BatchNormalization(), k.ReLU())]
        + [k.GlobalAveragePooling2D(), k.Dense(3)],
    ),
    "LSTM": (recurrent_module(lambda snt: snt.LSTM(6)), (4, 5), lambda k: [k.LSTM(6, return_sequences=True), k.Dense(3)]),
    "GRU": (
        recurrent_module(lambda snt: snt.GRU(6)), (4, 5),
        lambda k: [k.GRU(6, reset_after=False, return_sequences=True), k.Dense(3)],
    ),
    "VanillaRNN": (
        recurrent_module(lambda snt: snt.VanillaRNN(6)), (4, 5),
        lambda k: [k.SimpleRNN(6, return_sequences=True), k.Dense(3)],
    ),
    "DeepRNN": (
        recurrent_module(lambda snt: snt.DeepRNN([snt.LSTM(6), snt.LSTM(6), snt.GRU(7)])), (4, 5),
        lambda k: [k.LSTM(6, return_sequences=True), k.LSTM(6, return_sequences=True),
                   k.GRU(7, reset_after=False, return_sequences=True), k.Dense(3)],
    ),
}  # fmt: skip


def sonnet_model(fw: Any, case: str) -> Model:
    make, shape, _ = CASES[case]
    model = Model("sonnet", make(fw), shape)
    model.run(batch(model))  # Sonnet makes its variables on the first call
    return model


def keras_model(fw: Any, framework: str, case: str, inputs: int = 1) -> Model:
    k = getattr(fw, framework)
    _, shape, make = CASES[case]
    return Model(framework, on_inputs(k, inputs, shape, chain(make(k.layers))), shape, inputs)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "route",
    [("keras", "weights.h5", 1, "auto"), ("keras", "checkpoint", 1, "order"), ("tf_keras", "weights", 2, "auto")],
    ids=str,
)
def test_to_keras_and_back(fw, mover, case, route):
    framework, container, inputs, by = route
    module, model = sonnet_model(fw, case), keras_model(fw, framework, case, inputs)
    expected, found, _ = mover.move(module, model, ("checkpoint", container), by=by)
    for tower in towers(found, inputs):
        assert_agree(tower, expected)
    expected, found, _ = mover.move(model, module, (container, "checkpoint"), by=by)
    assert_agree(found, towers(expected, inputs)[0])


def test_the_moving_averages_bookkeeping_is_kept(fw, mover):
    """Inference uses `average`; `hidden` and `counter` are the template's."""
    module, model = sonnet_model(fw, "CNN"), keras_model(fw, "keras", "CNN")
    randomize(module.variables(), 1)
    randomize(model.variables(), 2)
    hidden = [variable.numpy() for variable in module.variables() if "hidden" in variable.name]
    output = mover.path()
    done = remap(mover.save(model, "weights.h5"), mover.save(module, "checkpoint"), output)
    module.container("checkpoint").load(module.live, output)
    assert_agree(module.run(batch(module)), model.run(batch(model)))
    after = [variable.numpy() for variable in module.variables() if "hidden" in variable.name]
    assert len(hidden) == 4
    assert all(np.array_equal(one, other) for one, other in zip(hidden, after, strict=True))
    assert done.kept >= 8


def test_between_module_trees_of_other_names(fw, mover):
    """The same layers under other attributes."""

    class Other(fw.snt.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = [fw.snt.Linear(7, name=f"l{place}") for place in range(2)]
            self.inner.append(fw.snt.Linear(6))
            self.top = fw.snt.Linear(3)

        def __call__(self, x: Any) -> Any:
            for layer in self.inner:
                x = fw.tf.tanh(layer(x))
            return self.top(x)

    source, target = sonnet_model(fw, "MLP"), Model("sonnet", Other(), (5,))
    target.run(batch(target))
    for one, other in ((source, target), (target, source)):
        expected, found, _ = mover.move(one, other, ("checkpoint", "checkpoint"), by="order")
        assert_agree(found, expected)


def test_sonnet_1_scopes_to_sonnet_2_paths(fw, mover):
    """`mlp/linear_0/w` as Sonnet 1 called it, written by TensorFlow's own Saver."""
    tf, v1 = fw.tf, fw.v1

    def build() -> Any:
        start = x = v1.placeholder("float32", (None, 5))
        for scope, units in (("mlp/linear_0", 7), ("mlp/linear_1", 7), ("mlp/linear_2", 6), ("linear", 3)):
            with v1.variable_scope(f"net/{scope}"):
                w, b = v1.get_variable("w", (x.shape[1], units)), v1.get_variable("b", (units,))
            x = tf.matmul(x, w) + b
            x = x if scope == "linear" else tf.tanh(x)
        return [start], x

    graph, module = Graph(fw, build), sonnet_model(fw, "MLP")
    graph.randomize(1)
    randomize(module.variables(), 2)
    sample, output, back = batch(module), mover.path(), mover.path()
    saved, template = graph.save(mover.path()), mover.save(module, "checkpoint")
    assert_differ(module.run(sample), graph.run(sample))
    remap(saved, template, output)
    module.container("checkpoint").load(module.live, output)
    assert_agree(module.run(sample), graph.run(sample))
    randomize(module.variables(), 3)
    remap(mover.save(module, "checkpoint"), saved, back)
    graph.restore(back)
    assert_agree(graph.run(sample), module.run(sample))


def test_a_projection_is_refused_by_name(fw, mover, tmp_path):
    module = Model("sonnet", recurrent_module(lambda snt: snt.LSTM(6, projection_size=4))(fw), (4, 5))
    module.run(batch(module))
    model = keras_model(fw, "keras", "LSTM")
    paths = mover.save(module, "checkpoint"), mover.save(model, "weights.h5")
    before = set(tmp_path.iterdir())
    with pytest.raises(RefusedError, match="projection of the output"):
        remap(*paths, mover.path(".weights.h5"))
    assert set(tmp_path.iterdir()) == before
