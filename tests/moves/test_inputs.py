"""One input, two, three, and back: layers that are shared within a model, under other automatic names."""

from __future__ import annotations

import numpy as np
import pytest

from tests.moves.architectures import made
from tests.moves.proof import assert_agree, towers

# (framework, container) of source and target; every kind of model goes through each of them.
ROUTES = [
    (("keras", "weights.h5"), ("keras", "weights.h5")),
    (("tf_keras", "weights"), ("keras", "keras")),
    (("keras", "h5"), ("tf_keras", "h5")),
    (("keras", "checkpoint"), ("keras", "sharded")),
    (("tf_keras", "keras"), ("tf_keras", "checkpoint")),
]
# Inputs of source and target, one pair for each route in turn.
COUNTS = [(1, 2), (2, 1), (1, 3), (3, 2), (2, 3)]

KINDS = ["mlp", "cnn", "resnet", "rnn", "bidirectional", "embedding"]


@pytest.mark.parametrize(
    ("kind", "route", "counts"),
    [
        pytest.param(kind, route, COUNTS[(place + row) % len(COUNTS)], id=f"{kind}-{place}")
        for row, kind in enumerate(KINDS)
        for place, route in enumerate(ROUTES)
    ],
)
def test_the_outputs_agree_tower_by_tower(fw, mover, kind, route, counts):
    (framework_a, container_a), (framework_b, container_b) = route
    source, target = made(fw, framework_a, kind, counts[0]), made(fw, framework_b, kind, counts[1])
    expected, found, done = mover.move(source, target, (container_a, container_b))
    columns = towers(found, target.inputs)
    assert all(np.array_equal(tower, columns[0]) for tower in columns)
    assert_agree(columns[0], towers(expected, source.inputs)[0])
    assert not done.plan.missing
    assert not done.plan.unexpected


@pytest.mark.parametrize(
    "kinds", [("flat", "nested"), ("nested", "flat"), ("sequential", "nested"), ("flat", "sequential")]
)
@pytest.mark.parametrize("route", ROUTES[:3])
def test_a_shared_inner_model_against_flat_layers(fw, mover, kinds, route):
    (framework_a, container_a), (framework_b, container_b) = route
    source, target = made(fw, framework_a, kinds[0], 1), made(fw, framework_b, kinds[1], 2)
    expected, found, _ = mover.move(source, target, (container_a, container_b))
    for tower in towers(found, 2):
        assert_agree(tower, expected)
