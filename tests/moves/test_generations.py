"""Every container of every generation of Keras to the others, and through those of no framework."""

from __future__ import annotations

import numpy as np
import pytest

from ckptkit import convert, remap
from tests.moves.architectures import made
from tests.moves.containers import CONTAINERS
from tests.moves.proof import assert_agree, batch, randomize

ALL = [(framework, name) for framework in ("keras", "tf_keras") for name in CONTAINERS[framework]]


@pytest.mark.parametrize("place", range(len(ALL)), ids=lambda place: "-".join(ALL[place]))
@pytest.mark.parametrize("step", [1, 5])
def test_each_container_is_read_and_written(fw, mover, place, step):
    (framework_a, container_a), (framework_b, container_b) = ALL[place], ALL[(place + step) % len(ALL)]
    alike = step == 5 and framework_a != framework_b
    source, target = made(fw, framework_a, "flat"), made(fw, framework_b, "flat" if alike else "nested")
    expected, found, _ = mover.move(source, target, (container_a, container_b))
    assert_agree(found, expected)


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".weights.h5", ".h5", ""])
@pytest.mark.parametrize("kind", ["cnn", "rnn"])
def test_through_a_container_of_no_framework(fw, mover, kind, ending):
    source, target = made(fw, "tf_keras", kind), made(fw, "keras", kind, 2)
    randomize(source.variables(), 3)
    randomize(target.variables(), 4)
    sample = batch(source)
    between, output = mover.path(ending), mover.path(".weights.h5")
    convert(mover.save(source, "weights"), between)
    remap(between, mover.save(target, "weights.h5"), output)
    target.live.load_weights(output)
    for tower in np.split(target.run(sample), 2, axis=-1):
        assert_agree(tower, source.run(sample))


@pytest.mark.parametrize("kind", ["cnn", "rnn", "bidirectional"])
@pytest.mark.parametrize("other", [("keras", "weights.h5"), ("tf_keras", "checkpoint")], ids=lambda other: other[0])
def test_there_and_back_gives_the_same_bytes(fw, mover, kind, other):
    source, target = made(fw, "keras", kind), made(fw, other[0], kind, 2)
    randomize(source.variables(), 5)
    first = mover.save(source, "weights.h5")
    values = [variable.numpy() for variable in source.variables()]
    there, back = mover.path(target.container(other[1]).ending), mover.path(".weights.h5")
    remap(first, mover.save(target, other[1]), there)
    randomize(source.variables(), 6)
    remap(there, mover.save(source, "weights.h5"), back)
    source.live.load_weights(back)
    for variable, value in zip(source.variables(), values, strict=True):
        assert np.array_equal(variable.numpy(), value)
