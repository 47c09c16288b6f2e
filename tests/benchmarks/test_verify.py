"""What a verification costs beside the forward passes of the two models, once TensorFlow and both are loaded.

By hand, two models over two batches are four passes. A verification makes three more of the first model, with every
weight moved by one unit in the last place, to measure the noise; on 8 rows, however large a batch of made-up rows is.

pytest tests/benchmarks -m benchmark
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import ckptkit, run, told
from tests.benchmarks.table import Part

pytestmark = pytest.mark.benchmark

# Prints the best of three, in seconds: four passes by hand, a comparison, the passes that the comparison makes.
_PROGRAM = """
import sys, time
import keras, numpy, tensorflow
import ckptkit
from ckptkit.verification import live_models

def convolutional():
    inputs = found = keras.Input((96, 96, 3))
    for _ in range(8):
        found = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(found)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(found)))

def perceptron():
    inputs = keras.Input((4096,))
    hidden = keras.layers.Dense(4096, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4096)(hidden))

first, batch = globals()[sys.argv[1]](), int(sys.argv[2])
second = keras.models.clone_model(first)
second.set_weights(first.get_weights())
shape = (batch, *first.input_shape[1:])
batches = [numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32) for seed in range(2)]
functions = [tensorflow.function(model) for model in (first, second)]

def by_hand():
    results = [[function(rows, training=False).numpy() for rows in batches] for function in functions]
    return numpy.abs(results[0][0] - results[1][0]).max()

passes = []
plain = live_models.LiveRunner.run

def timed(self, arrays, **options):
    begun = time.perf_counter()
    outputs = plain(self, arrays, **options)
    passes[-1] += time.perf_counter() - begun
    return outputs

live_models.LiveRunner.run = timed

def compared():
    passes.append(0.0)
    assert ckptkit.compare_models(first, second, batch=batch, layers=False).passed

def seconds(call):
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun

by_hand()  # traces
hands = []
ours = []
for _ in range(3):
    hands.append(seconds(by_hand))
    ours.append(seconds(compared))
best = min(range(3), key=ours.__getitem__)
print(min(hands), ours[best], passes[best])
"""

_SAVE = """
import sys
import keras
first = keras.Sequential([keras.Input((100,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(5)])
second = keras.models.clone_model(first)
second.set_weights(first.get_weights())
for model, path in zip((first, second), sys.argv[1:]):
    model.save(path)
"""

_BY_HAND = """
import sys
import keras, numpy
first, second = map(keras.models.load_model, sys.argv[1:])
rows = numpy.random.default_rng(0).standard_normal((16, *first.input_shape[1:]))
print(numpy.abs(first.predict(rows, verbose=0) - second.predict(rows, verbose=0)).max())
"""


@pytest.mark.parametrize(
    ("model", "batch", "name", "bound"),
    [
        ("convolutional", 128, "convolutions, 2 batches of 128", 1.2),
        ("convolutional", 8, "convolutions, 2 batches of 8", None),
        ("perceptron", 8, "34 M dense weights, 2 batches of 8", None),
    ],
)
def test_the_passes(model: str, batch: int, name: str, bound: float | None, table: Part) -> None:
    by_hand, ours, passes = map(float, told(_PROGRAM, model, batch))
    base = table.add(f"4 passes by hand: {name}", by_hand)
    whole = table.add(f"compare_models: {name}", ours, against=base, ratio_most=bound)
    made = table.add(f"its own forward passes: {name}", passes, against=base)
    bound = None if model == "perceptron" else 0.2  # there moving the weights takes longer than a pass
    rest = table.add(f"what it does beside them: {name}", ours - passes, against=made, ratio_most=bound)
    assert whole.held
    assert rest.held


def test_the_whole_command(tmp_path: Path, table: Part) -> None:
    paths = tmp_path / "first.keras", tmp_path / "second.keras"
    told(_SAVE, *paths)
    base = table.add("2 small .keras by hand: load, predict, compare", run(sys.executable, "-c", _BY_HAND, *paths))
    found = ckptkit("verify", *paths)
    assert table.add("verify, whole command, the same", found, against=base, ratio_most=1.5).held
