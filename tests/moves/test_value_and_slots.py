"""By value, where a converted sibling exists; optimizer slots, which follow the variables that they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ckptkit import plan, remap
from ckptkit.errors import RefusedError
from tests.moves.architectures import made, stack
from tests.moves.graphs import Graph
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize, towers


@pytest.mark.parametrize("kind", ["mlp", "cnn", "rnn"])
@pytest.mark.parametrize(
    "route", [("keras", "weights.h5", "tf_keras", "weights"), ("tf_keras", "h5", "keras", "keras")], ids="-".join
)
def test_values_tell_which_is_which_whatever_the_names(fw, mover, kind, route):
    """A sibling that was converted once shows where the next checkpoint's weights go."""
    framework_a, container_a, framework_b, container_b = route
    source, target = made(fw, framework_a, kind), made(fw, framework_b, kind, 2)
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    sibling = mover.path(target.container(container_b).ending)
    source_path = mover.save(source, container_a)
    remap(source_path, mover.save(target, container_b), sibling)
    output = mover.path(target.container(container_b).ending)
    done = remap(source_path, sibling, output, by="value")
    sample = batch(source)
    found = target.run(sample, target.container(container_b).load(target.live, output))
    for tower in towers(found, 2):
        assert_agree(tower, source.run(sample))
    assert all(step.evidence[0] == "value" for step in done.plan.steps)


def test_values_that_are_equal_twice_are_not_guessed(fw, mover, tmp_path):
    source, target = (
        stack(fw, "keras", [("a", 6), ("b", 6), ("c", 6)]),
        stack(fw, "keras", [("x", 6), ("y", 6), ("z", 6)]),
    )
    for model in (source, target):
        randomize(model.variables(), 1)
        model.live.layers[2].set_weights(model.live.layers[1].get_weights())
    paths = mover.save(source, "weights.h5"), mover.save(target, "weights.h5")
    before = set(tmp_path.iterdir())
    with pytest.raises(RefusedError, match=r"(?s)fit in more than one way.*ambiguous: x \(and 1 more\) ← a .*, b "):
        remap(*paths, mover.path(".weights.h5"), by="value")
    assert set(tmp_path.iterdir()) == before


def test_values_of_strangers_match_nothing(fw, mover):
    source, target = stack(fw, "keras", [("a", 6)]), stack(fw, "keras", [("a", 6)])
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    with pytest.raises(RefusedError, match=r"(?s)wants 2 variables.*a/kernel \[6, 6\].*the same name, other values"):
        plan(mover.save(source, "weights.h5"), mover.save(target, "weights.h5"), by="value")


def trained(model: Model, optimizer: Any, epochs: int = 2) -> Model:
    model.live.compile(optimizer=optimizer, loss="mse")
    random = np.random.default_rng(3)
    size = model.live.output_shape[-1]
    model.live.fit(batch(model, rows=8), random.normal(size=(8, size)).astype("float32"), epochs=epochs, verbose=0)
    return model


def named(fw: Any, framework: str, names: tuple[str, ...]) -> Model:
    return stack(fw, framework, list(zip(names, (7, 8, 5), strict=True)))


@pytest.mark.parametrize("containers", [("checkpoint", "checkpoint"), ("keras", "keras")])
def test_slots_of_keras_3_follow_their_variables(fw, mover, containers):
    """Training goes on where it stopped, under other layer names."""
    k = fw.keras
    source = trained(named(fw, "keras", ("a", "b", "c")), k.optimizers.Adam(0.01), 3)
    target = trained(named(fw, "keras", ("alpha", "beta", "gamma")), k.optimizers.Adam(0.01), 1)
    paths = mover.save(source, containers[0]), mover.save(target, containers[1])

    def state(live: Any) -> list[np.ndarray]:
        return [np.asarray(variable) for variable in live.optimizer.variables]

    def loaded(output: str) -> Any:
        if containers[1] == "keras":
            return k.models.load_model(output)
        fw.tf.train.Checkpoint(model=target.live).read(output).assert_existing_objects_matched()
        return target.live

    before = state(target.live)
    output = mover.path(target.container(containers[1]).ending)
    remap(*paths, output)
    live = loaded(output)
    assert_agree(target.run(batch(source), live), source.run(batch(source)))
    for one, other in zip(before, state(live), strict=True):
        assert np.array_equal(one, other), "without --slots the optimizer is the template's"
    output = mover.path(target.container(containers[1]).ending)
    remap(*paths, output, slots=True)
    live = loaded(output)
    for one, other in zip(state(source.live), state(live), strict=True):
        assert np.array_equal(one, other)


def adam(fw: Any, scope: str) -> Graph:
    def build() -> Any:
        v1 = fw.v1
        start = v1.placeholder("float32", (None, 6))
        with v1.variable_scope(scope):
            hidden = v1.layers.dense(start, 7, activation=fw.tf.tanh, name="hidden")
            output = v1.layers.dense(hidden, 5, name="head")
        v1.train.AdamOptimizer().minimize(fw.tf.reduce_sum(output), global_step=v1.train.get_or_create_global_step())
        return [start], output

    return Graph(fw, build)


def test_slots_of_tensorflow_1_follow_their_variables(fw, mover):
    source, target = adam(fw, "old"), adam(fw, "new")
    source.randomize(1)
    target.randomize(2)
    paths, output = (source.save(mover.path(), step=70), target.save(mover.path(), step=1)), mover.path()
    held, kept = source.values(), target.values()
    remap(*paths, output, slots=True)
    target.restore(output)
    after = target.values()
    slots = [name for name in after if "Adam" in name]
    assert len(slots) == 8
    for name, value in after.items():
        assert np.array_equal(value, held[name.replace("new/", "old/")]), name
    remap(*paths, output, force=True)
    target.restore(output)
    for name, value in target.values().items():
        weight = "Adam" not in name and name.startswith("new/")
        assert np.array_equal(value, held[name.replace("new/", "old/")] if weight else kept[name]), name


def test_slots_do_not_follow_where_gates_change_places(fw, mover):
    """An average of squared gradients has gates too, but nobody adds a forget bias to it: it is kept, not mangled."""
    k = fw.keras
    start = k.Input((4, 5))
    model = trained(Model("keras", k.Model(start, k.layers.LSTM(6)(start)), (4, 5)), k.optimizers.Adam())

    def build() -> Any:
        v1 = fw.v1
        value = v1.placeholder("float32", (None, 4, 5))
        output, _ = v1.nn.dynamic_rnn(v1.nn.rnn_cell.BasicLSTMCell(6), value, dtype="float32")
        v1.train.AdamOptimizer().minimize(fw.tf.reduce_sum(output))
        return [value], output[:, -1]

    graph = Graph(fw, build)
    graph.randomize(1)
    before, output = graph.values(), mover.path()
    sample = batch(model)
    assert_differ(graph.run(sample), model.run(sample))
    remap(mover.save(model, "checkpoint"), graph.save(mover.path()), output, slots=True)
    graph.restore(output)
    assert_agree(graph.run(sample), model.run(sample))
    after = graph.values()
    assert all(np.array_equal(before[name], after[name]) for name in before if "Adam" in name)
