"""Keras 3 on JAX and on PyTorch: `verify`, `load_into` and what `audit` says, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

BACKENDS = [
    pytest.param(name, marks=[pytest.mark.jax] if name == "jax" else []) for name in ("jax", "torch")
]  # fmt: skip

MODELS = """
import keras
from keras import layers

def cnn():
    keras.utils.clear_session()  # so that automatic names are those of the file
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.GlobalAveragePooling2D(), layers.Dense(3, name="head"),
    ])

def tokens():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(19, 8), layers.LSTM(5), layers.Dense(3)])

def wrong():
    model = cnn()
    kernel, bias = model.get_layer("head").get_weights()
    kernel[1, 1] += 0.01
    model.get_layer("head").set_weights([kernel, bias])
    return model

class Noisy(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)
    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)

class Anew(keras.Model):
    def call(self, x):
        return layers.Dense(3)(x)

class Mixed(keras.Model):
    def __init__(self):
        super().__init__()
        self.head, self.spare, inner = layers.Dense(2), layers.Dense(3), layers.Dense(3)
        self.spare.build((None, 4))
        self.stopped = layers.Dense(4)
        self.hidden = lambda x: inner(x)
    def call(self, x):
        return self.head(self.hidden(x) + keras.ops.stop_gradient(self.stopped(x))[:, :3])

def anew():
    return Anew()

def mixed():
    return Mixed()

def stale():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.layers[0].trainable = True
    return model

def noisy():
    return keras.Sequential([keras.Input((5,)), layers.Dense(3), Noisy()])
"""

PROGRAM = """
import sys
import numpy as np
sys.path.insert(0, ".")
import models, ckptkit, keras
assert keras.backend.backend() == sys.argv[1]
for make, count in ((models.cnn, 8), (models.tokens, 6)):
    model = make()
    result = ckptkit.compare_models(model, make())
    assert result.passed, make
    assert result.coverage is not None and not result.coverage.untested, result.coverage
    assert sys.argv[1] in result.loaded_by[0]

wrong = ckptkit.compare_models(models.cnn(), models.wrong())
assert not wrong.passed
assert wrong.first_divergence is not None and wrong.first_divergence.target == "head", wrong
assert "weights differ: kernel" in wrong.first_divergence.reason

noisy = models.noisy()
before = [np.array(value.numpy()) for value in noisy.variables]
result = ckptkit.compare_models(noisy, noisy)
assert result.passed and any("the same samples" in note for note in result.notes), result.notes
assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, noisy.variables))

model = models.cnn()
model.save("model.keras")
model.save_weights("own.weights.h5")
other = models.cnn()
other.set_weights([value + 1 for value in other.get_weights()])
assert "load_weights" in ckptkit.load_into(other, "own.weights.h5").loaded_by
assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights()))
other.set_weights([value + 1 for value in other.get_weights()])
assert ckptkit.load_into(other, "foreign.npz").loaded_by == "ckptkit's matching"
assert np.array_equal(other.get_layer("head").get_weights()[0], np.load("foreign.npz")["params/Dense_0/kernel"])
kept = other.get_weights()
try:
    ckptkit.load_into(other, "less.npz")
except ckptkit.CkptkitError as error:
    assert "the model wants" in str(error), error
else:
    raise AssertionError("nothing was missed")
assert all(np.array_equal(a, b) for a, b in zip(kept, other.get_weights()))
assert ckptkit.verify("model.keras", "own.weights.h5", dst_model="models.py:cnn").passed
"""

AUDITS = """
import sys
sys.path.insert(0, ".")
import ckptkit, keras, models
for make, kinds in (
    (models.anew, {"made-each-call": 2}), (models.mixed, {"untracked": 2, "untrained": 2, "orphan": 2}),
    (models.stale, {"stale-optimizer": 2}),
):
    audit = ckptkit.audit(make, input_shapes=None if make is models.stale else ["2,4"])
    found = [finding.kind for finding in audit.findings]
    assert {kind: found.count(kind) for kind in found} == kinds, (make.__name__, audit.findings)
    assert any(sys.argv[1] in note for note in audit.notes)
    assert not any("not measured" in note for note in audit.notes), audit.notes
model = models.cnn()
before = model.get_weights()
model.save_weights("of.weights.h5")
audit = ckptkit.audit(model, checkpoint="of.weights.h5")
assert all((a == b).all() for a, b in zip(before, model.get_weights()))
assert audit.verdict == "clean", audit.findings
facts = {each.variable.rpartition("sequential/")[2]: each for each in audit.variables}
assert facts["head/kernel"].saved == {"weights.h5": True, "h5": True, "checkpoint": None}
assert [name for name, each in facts.items() if not each.trained] == [
    "batch_normalization/moving_mean", "batch_normalization/moving_variance"]
audit = ckptkit.audit(models.tokens, checkpoint="of.weights.h5")
assert audit.verdict == "errors"
assert all(each.created_at.startswith("models.py:") for each in audit.variables), audit.variables
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    shapes = {
        "params/Conv_0/kernel": (3, 3, 3, 4), "params/Conv_0/bias": (4,), "params/BatchNorm_0/scale": (4,),
        "params/BatchNorm_0/bias": (4,), "batch_stats/BatchNorm_0/mean": (4,), "batch_stats/BatchNorm_0/var": (4,),
        "params/Dense_0/kernel": (4, 3), "params/Dense_0/bias": (3,),
    }  # fmt: skip
    arrays = {name: random.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "foreign.npz", **arrays)
    np.savez(tmp_path / "less.npz", **{name: value for name, value in arrays.items() if "Dense" not in name})
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path


def run(backend: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec(backend) is None:
        pytest.skip(f"Keras on {backend} is not installed")
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_are_verified_and_filled(backend: str, folder: Path) -> None:
    done = run(backend, folder, "-c", PROGRAM, backend)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_audit_finds_what_is_lost_and_says_what_it_cannot_show(backend: str, folder: Path) -> None:
    done = run(backend, folder, "-c", AUDITS, backend)
    assert done.returncode == 0, done.stderr[-3000:]
