"""Kinds of layers that the other files leave out, and layers that differ in a part that may be absent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ckptkit import plan
from ckptkit.errors import RefusedError
from tests.moves.architectures import chain, made, on_inputs
from tests.moves.proof import Model, assert_agree, randomize, towers

ROUTES = [
    (("keras", "weights.h5"), ("tf_keras", "weights")),
    (("tf_keras", "checkpoint"), ("keras", "keras")),
    (("keras", "h5"), ("keras", "checkpoint")),
]
BOTH_WAYS = [("keras", "tf_keras"), ("tf_keras", "keras"), ("keras", "keras")]
CONTAINER = {"keras": "weights.h5", "tf_keras": "weights"}
# With an architecture, or names for every weight.
TELLING = {"keras": "keras", "tf_keras": "weights"}


@pytest.mark.parametrize("kind", ["attention", "assorted"])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("counts", [(1, 2), (2, 1)], ids=str)
def test_they_move(fw, mover, kind, route, counts):
    (framework_a, container_a), (framework_b, container_b) = route
    source, target = made(fw, framework_a, kind, counts[0]), made(fw, framework_b, kind, counts[1])
    expected, found, _ = mover.move(source, target, (container_a, container_b))
    for tower in towers(found, counts[1]):
        assert_agree(tower, towers(expected, counts[0])[0])


def model(fw: Any, framework: str, *, bias: bool = True, scale: bool = True, center: bool = True) -> Model:
    k = getattr(fw, framework)
    layers = [
        k.layers.Dense(7, use_bias=bias, activation="tanh", name="body"),
        k.layers.BatchNormalization(scale=scale, center=center, name="norm"), k.layers.Dense(3, name="head"),
    ]  # fmt: skip
    return Model(framework, on_inputs(k, 1, (5,), chain(layers)), (5,))


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
@pytest.mark.parametrize(
    ("absent", "role"), [({"bias": False}, "body/bias"), ({"scale": False}, "norm/gamma")], ids=["bias", "gamma"]
)
def test_a_part_with_a_neutral_value(fw, mover, frameworks, absent, role):
    """What the source does not have is 0 or 1 and said to be; what the target does not have is refused by name."""
    containers = TELLING[frameworks[0]], TELLING[frameworks[1]]
    without, whole = model(fw, frameworks[0], **absent), model(fw, frameworks[1])
    expected, found, done = mover.move(without, whole, containers)
    assert_agree(found, expected)
    (step,) = (step for step in done.plan.steps if step.target.name == role)
    assert any("neutral value" in doubt for doubt in step.doubts)
    with pytest.raises(RefusedError, match=role):
        mover.move(whole, without, containers[::-1])


@pytest.mark.parametrize("part", ["scale", "center"])
@pytest.mark.parametrize("frameworks", BOTH_WAYS)
def test_a_part_of_which_the_file_tells_only_the_place(fw, mover, frameworks, part):
    """In `.weights.h5` a normalisation without scale looks like one without centre: the other side tells which it is."""
    containers = CONTAINER[frameworks[0]], CONTAINER[frameworks[1]]
    source, target = model(fw, frameworks[0], **{part: False}), model(fw, frameworks[1], **{part: False})
    expected, found, _ = mover.move(source, target, containers)
    assert_agree(found, expected)


def test_a_part_that_nobody_tells_is_not_guessed(fw, mover):
    source, target = model(fw, "keras", scale=False), model(fw, "tf_keras")
    with pytest.raises(RefusedError, match="norm/gamma.*undecided which part it has: beta, gamma"):
        mover.move(source, target, ("weights.h5", "weights"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_another_precision_is_cast_and_said_to_round(fw, mover, dtype):
    k = fw.keras
    source = model(fw, "keras")
    layers = [
        k.layers.Dense(7, activation="tanh", name="body", dtype=dtype),
        k.layers.BatchNormalization(name="norm", dtype=dtype), k.layers.Dense(3, name="head", dtype=dtype),
    ]  # fmt: skip
    target = Model("keras", on_inputs(k, 1, (5,), chain(layers)), (5,))
    randomize(source.variables(), 1)
    _, _, done = mover.move(source, target, ("weights.h5", "weights.h5"))
    for one, other in zip(source.variables(), target.variables(), strict=True):
        wanted = fw.tf.cast(one.numpy(), other.dtype).numpy()
        np.testing.assert_array_equal(np.asarray(fw.tf.convert_to_tensor(other.value)), wanted)
    rounds = [step for step in done.plan.steps if any("which rounds" in doubt for doubt in step.doubts)]
    assert len(rounds) == (0 if dtype == "float64" else len([s for s in done.plan.steps if s.target.dtype == dtype]))
    assert not any("→" in word for step in done.plan.steps for word in step.evidence)


def test_tensors_of_another_kind_of_number_are_not_cast(fw, mover):
    """Whole numbers for weights: not the same thing in another precision."""
    path, template = mover.path(".npz"), mover.path(".npz")
    np.savez(path, **{"dense/kernel": np.ones((4, 5), "int64"), "dense/bias": np.ones(5, "int64")})
    np.savez(template, **{"dense/kernel": np.ones((4, 5), "float32"), "dense/bias": np.ones(5, "float32")})
    with pytest.raises(RefusedError, match="another dtype int64"):
        plan(path, template)
