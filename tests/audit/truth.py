"""What is true of a variable, by the framework alone: save, load into a fresh model, compare; fit, compare.

Nothing here uses the code under test.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from pathlib import Path


class Truth(NamedTuple):
    """The three questions; `saved` by saver, None where the framework cannot write with it."""

    in_weights: bool
    saved: dict[str, bool | None]
    trained: bool


def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 1.0, (2, 4)).astype("float32")


def raw(variable: Any) -> tf.Variable:
    return variable if isinstance(variable, tf.Variable) else variable.value


def run(build: Any) -> Any:
    model = build()
    model(x())
    return model


def keras_truth(K: Any, build: Any, concerned: Any, folder: Path) -> Truth:
    """Of a Keras model; `concerned(model)` finds the variable."""
    old, new = run(build), run(build)
    in_weights = any(raw(weight) is concerned(old) for weight in old.weights)
    whole = K.__name__ == "keras"
    saved = {
        "weights.h5": _kept(old, new, concerned, folder / "x.weights.h5", lambda m, p: m.save_weights(p), _load),
        "h5": _kept(
            old, new, concerned, folder / "x.h5", lambda m, p: m.save(p) if whole else m.save_weights(p), _load
        ),
        "checkpoint": checkpoint_truth(old, new, concerned, folder),
    }
    return Truth(in_weights, saved, _fitted(K, run(build), concerned))


def module_truth(build: Any, concerned: Any, folder: Path) -> Truth:
    """Of a `tf.Module` or Sonnet module."""
    model, new = run(build), run(build)
    in_weights = any(variable is concerned(model) for variable in listed(model, "variables"))
    saved = {"weights.h5": None, "h5": None, "checkpoint": checkpoint_truth(model, new, concerned, folder)}
    before = concerned(model).numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x()) ** 2)
    trainable = listed(model, "trainable_variables")
    for variable, gradient in zip(trainable, tape.gradient(loss, trainable), strict=True):
        if gradient is not None:
            variable.assign_sub(0.1 * gradient)
    return Truth(in_weights, saved, not np.array_equal(before, concerned(model).numpy()))


def listed(model: Any, name: str) -> list[tf.Variable]:
    try:
        return list(getattr(model, name))
    except ValueError:  # Sonnet of a module that has none
        return []


def checkpoint_truth(old: Any, new: Any, concerned: Any, folder: Path) -> bool | None:
    return _kept(
        old,
        new,
        concerned,
        folder / "x",
        lambda m, p: tf.train.Checkpoint(model=m).write(p),
        lambda m, p: tf.train.Checkpoint(model=m).read(p).expect_partial(),
    )


def _load(model: Any, path: str) -> None:
    model.load_weights(path)


def _kept(old: Any, new: Any, concerned: Any, path: Path, save: Any, load: Any) -> bool | None:
    concerned(old).assign(np.full(concerned(old).shape, 7.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            save(old, str(path))
        except NotImplementedError:
            return None
        except ValueError as error:
            if "serialize" in str(error):  # Keras 3's `.h5` holds the architecture too
                return None
            raise
        concerned(new).assign(np.full(concerned(new).shape, 3.0))
        try:
            load(new, str(path))
        except ValueError:
            return False
    return bool(np.all(concerned(new).numpy() == 7.0))


def _fitted(K: Any, model: Any, concerned: Any) -> bool:
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 0.3))
    model.compile(K.optimizers.SGD(0.1), "mse", run_eagerly=True)
    before = concerned(model).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(x(), np.full((2, 2), 5.0, "float32"), verbose=0)
        except AttributeError:  # tf_keras over a variable of Keras 3
            return False
    return not np.array_equal(before, concerned(model).numpy())
