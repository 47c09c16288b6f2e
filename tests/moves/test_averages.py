"""Moving averages in their variables' places, from every framework that keeps some."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import RefusedError
from tests.conftest import RunCli


def network(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="a"), layers.BatchNormalization(name="bn"), layers.Dense(3, name="b")]
    )


def trained(keras: Any, optimizer: Any) -> Any:
    """A model after a few steps, so that no average is what it is the average of."""
    model = network(keras)
    model.compile(optimizer, "mse")
    random = np.random.default_rng(1)
    inputs, targets = random.normal(size=(8, 4)).astype("float32"), random.normal(size=(8, 3)).astype("float32")
    for _ in range(3):
        model.train_on_batch(inputs, targets)  # `fit` ends with the averages in the weights' places
    return model


def optimizer_of(keras: Any, scaled: bool) -> Any:
    inner = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5)
    if not scaled:
        return inner
    home = (
        keras.mixed_precision
        if hasattr(keras, "mixed_precision") and keras.__name__ == "tf_keras"
        else keras.optimizers
    )
    return home.LossScaleOptimizer(inner)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_use_ema_is_taken_from_every_container(
    framework: str, scaled: bool, fw: SimpleNamespace, tmp_path: Path
) -> None:
    keras = getattr(fw, framework)
    optimizer = optimizer_of(keras, scaled)
    model = trained(keras, optimizer)
    inner = optimizer.inner_optimizer if scaled else optimizer
    own = [np.array(weight) for weight in model.weights]
    inner.finalize_variable_values(
        model.trainable_variables
    )  # the framework's own way: the averages become the weights
    wanted = [np.array(weight) for weight in model.weights]
    assert not all(map(np.array_equal, own, wanted))
    for weight, value in zip(model.weights, own, strict=True):
        weight.assign(value)
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    fw.tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "ckpt"))
    for name in ("m.keras", "m.h5", "ckpt"):
        target = network(keras)
        ckptkit.load_into(target, tmp_path / name, average=True)
        for weight, value in zip(target.weights, wanted, strict=True):
            np.testing.assert_array_equal(np.array(weight), value, err_msg=f"{name} {weight.name}")
        ckptkit.load_into(target, tmp_path / name)
        assert all(map(np.array_equal, [np.array(weight) for weight in target.weights], own))


@pytest.mark.parametrize("name", ["ExponentialMovingAverage", "EMA", "moving_average"])
def test_a_saver_of_tensorflow_1(name: str, fw: SimpleNamespace, tmp_path: Path, run_cli: RunCli) -> None:
    v1 = fw.v1
    with fw.tf.Graph().as_default():
        kernel = v1.get_variable("a/kernel", (4, 5))
        bias = v1.get_variable("a/bias", (5,))
        averages = v1.train.ExponentialMovingAverage(0.5, name=name)
        update = averages.apply([kernel, bias])
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run([kernel.assign_add(fw.tf.ones((4, 5))), bias.assign_add(fw.tf.ones((5,)))])
            session.run(update)
            wanted = session.run([averages.average(kernel), averages.average(bias)])
            v1.train.Saver().save(session, str(tmp_path / "tf1"))
    model = fw.keras.Sequential([fw.keras.Input((4,)), fw.keras.layers.Dense(5, name="a")])
    model.save_weights(tmp_path / "t.weights.h5")
    files = [tmp_path / "tf1", "--like", tmp_path / "t.weights.h5", "-o", tmp_path / "o.weights.h5"]
    done = run_cli("remap", *files, "--average")
    assert done.returncode == 0, done.stderr
    assert f"a/kernel/{name}" in done.stdout
    model.load_weights(tmp_path / "o.weights.h5")
    assert all(map(np.array_equal, model.get_weights(), wanted))


def test_where_there_are_none_it_is_refused(fw: SimpleNamespace, tmp_path: Path) -> None:
    network(fw.keras).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(RefusedError, match="no moving averages are known"):
        ckptkit.load_into(network(fw.keras), tmp_path / "m.weights.h5", average=True)
