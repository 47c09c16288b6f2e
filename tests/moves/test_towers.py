"""Towers that hold weights of their own: one source fills several, several equal ones feed one."""

from __future__ import annotations

import numpy as np
import pytest

from ckptkit import plan, remap
from ckptkit.errors import RefusedError
from tests.moves.architectures import separate_towers
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize, towers

PREFIXES = ["left_", "right_", "middle_"]
ROUTES = [
    (("keras", "weights.h5"), ("keras", "weights.h5")),
    (("tf_keras", "weights"), ("keras", "keras")),
    (("keras", "checkpoint"), ("tf_keras", "weights")),
]


def equal_towers(model) -> None:
    """Give every tower the values of the first."""
    count = len(model.live.weights) // model.inputs
    layers = {layer.name: layer for layer in model.live.layers}
    for prefix in PREFIXES[1 : model.inputs]:
        for word in ("hidden", "norm", "head"):
            layers[prefix + word].set_weights(layers[PREFIXES[0] + word].get_weights())
    assert count == 8


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("count", [2, 3])
def test_one_source_fills_every_tower(fw, mover, route, count):
    (framework_a, container_a), (framework_b, container_b) = route
    source, target = (
        separate_towers(fw, framework_a, 1, [""]),
        separate_towers(fw, framework_b, count, PREFIXES[:count]),
    )
    expected, found, done = mover.move(source, target, (container_a, container_b), fan_out=True)
    for tower in towers(found, count):
        assert_agree(tower, expected)
    assert len(done.plan.steps) == 8 * count


@pytest.mark.parametrize("route", ROUTES)
def test_without_the_option_it_is_refused(fw, mover, route):
    (framework_a, container_a), (framework_b, container_b) = route
    source, target = separate_towers(fw, framework_a, 1, [""]), separate_towers(fw, framework_b, 2, PREFIXES[:2])
    paths = mover.save(source, container_a), mover.save(target, container_b)
    for one, other in (paths, paths[::-1]):
        with pytest.raises(RefusedError):
            plan(one, other)


@pytest.mark.parametrize("route", ROUTES)
def test_equal_towers_feed_one(fw, mover, route):
    (framework_a, container_a), (framework_b, container_b) = route
    source, target = separate_towers(fw, framework_a, 3, PREFIXES), separate_towers(fw, framework_b, 1, [""])
    randomize(source.variables(), 1)
    equal_towers(source)
    randomize(target.variables(), 2)
    sample = batch(source)
    expected = source.run(sample)
    output = mover.path(target.container(container_b).ending)
    done = remap(mover.save(source, container_a), mover.save(target, container_b), output, fan_out=True)
    assert_agree(target.run(sample, target.container(container_b).load(target.live, output)), towers(expected, 3)[0])
    assert all(len(step.copies) == 2 for step in done.plan.steps)


def test_towers_that_differ_are_refused_and_the_difference_is_shown(fw, mover, tmp_path):
    source, target = separate_towers(fw, "keras", 2, PREFIXES[:2]), separate_towers(fw, "keras", 1, [""])
    randomize(source.variables(), 1)
    equal_towers(source)
    head = source.live.get_layer("right_head")
    kernel, bias = head.get_weights()
    kernel[3, 2] += 0.25
    head.set_weights([kernel, bias])
    paths = mover.save(source, "weights.h5"), mover.save(target, "weights.h5")
    before = set(tmp_path.iterdir())
    with pytest.raises(RefusedError, match=r"right_head/kernel.*0\.25"):
        remap(*paths, mover.path(".weights.h5"), fan_out=True)
    assert set(tmp_path.iterdir()) == before


def test_one_tower_of_two_can_be_chosen_by_name(fw, mover):
    """The towers differ: a rename says which one is wanted, the other one is left behind."""
    source, target = separate_towers(fw, "keras", 2, PREFIXES[:2]), separate_towers(fw, "keras", 1, [""])
    for prefix, place in (("left_", 0), ("right_", 1)):
        expected, found, done = mover.move(
            source, target, ("keras", "weights.h5"), rename=[f"^{prefix}="], allow_unexpected=True, by="scope"
        )
        assert_agree(found, towers(expected, 2)[place])
        assert_differ(found, towers(expected, 2)[1 - place])
        assert len(done.plan.unexpected) == 8


def test_a_towers_hidden_layers_of_one_shape(fw, mover):
    """Two hidden layers of one shape in each tower: only the towers' scopes tell what repeats what."""
    keras = fw.keras

    def tower(name: str | None):
        x = start = keras.Input((6,))
        for place in range(2):
            x = keras.layers.Dense(6, activation="tanh", name=f"hidden_{'ab'[place]}")(x)
        return keras.Model(start, x, name=name)

    single = Model("keras", tower("single"), (6,))
    inputs = [keras.Input((6,)) for _ in range(2)]
    parts = [tower("first"), tower("second")]
    joined = keras.layers.Concatenate()([part(x) for part, x in zip(parts, inputs, strict=True)])
    double = Model("keras", keras.Model(inputs, joined), (6,), 2)
    expected, found, _ = mover.move(single, double, ("weights.h5", "weights.h5"), fan_out=True)
    for tower_output in towers(found, 2):
        assert_agree(tower_output, expected)
    for variable, other in zip(parts[0].weights, parts[1].weights, strict=True):
        assert np.array_equal(variable.numpy(), other.numpy())
