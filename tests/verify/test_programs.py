"""The situations that verification exists for, from files, as a person meets them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import ModelError, RefusedError
from tests.conftest import ROOT


@pytest.fixture
def factory(tmp_path):
    """Writes a module of the user's and gives the reference to its `build`."""

    def write(name: str, body: str) -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(body))
        return f"{tmp_path / name}.py:build"

    return write


KERAS_SCOPES = """
    import keras

    def build():
        a, b = keras.layers.Dense(6, activation="relu", name="dense_a"), keras.layers.Dense(4, name="dense_b")
        x = keras.Input((9,))
        return keras.Model(x, b(a(x)))
"""


def tf1_scopes(fw, folder, shared):
    """Two inputs through `feed_forward_x` and `feed_forward_y`, or twice through `feed_forward_shared`."""
    v1 = fw.tf.compat.v1

    def feed_forward(scope, x, reuse):
        with v1.variable_scope(scope, reuse=reuse):
            for name, size, activation in (("dense_a", 6, v1.nn.relu), ("dense_b", 4, v1.identity)):
                with v1.variable_scope(name):
                    kernel = v1.get_variable("kernel", [int(x.shape[-1]), size])
                    x = activation(v1.matmul(x, kernel) + v1.get_variable("bias", [size]))
        return x

    with fw.tf.Graph().as_default():
        x, y = (v1.placeholder(fw.tf.float32, [None, 9], name=name) for name in "xy")
        scopes = ("feed_forward_shared",) * 2 if shared else ("feed_forward_x", "feed_forward_y")
        towers = [feed_forward(scopes[0], x, None), feed_forward(scopes[1], y, shared or None)]
        v1.concat(towers, axis=1, name="towers")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for variable in v1.global_variables():
                values = np.random.default_rng(len(variable.name)).normal(size=variable.shape)
                session.run(variable.initializer, {variable.initializer.inputs[1]: values})
            return v1.train.Saver().save(session, str(folder / "scopes"))


def test_a_shared_scope_is_one_network_and_its_towers_agree(fw, tmp_path, factory) -> None:
    prefix = tf1_scopes(fw, tmp_path, shared=True)
    model = factory("net", KERAS_SCOPES)
    result = ckptkit.verify(prefix, prefix, src_output="towers", dst_model=model, dst_load="match")
    assert result.passed
    assert result.towers == 0.0
    assert len(result.outputs) == 2


def test_scopes_that_are_not_shared_are_two_networks(fw, tmp_path, factory) -> None:
    prefix = tf1_scopes(fw, tmp_path, shared=False)
    with pytest.raises(RefusedError):
        ckptkit.verify(prefix, prefix, src_output="towers", dst_model=factory("net", KERAS_SCOPES), dst_load="match")
    keras_twin = factory(
        "twin",
        """
        import keras

        def build():
            inputs, outputs = [], []
            for name in ("feed_forward_x", "feed_forward_y"):
                x = keras.Input((9,), name=name[-1])
                y = keras.layers.Dense(6, activation="relu", name=f"{name}_dense_a")(x)
                inputs.append(x)
                outputs.append(keras.layers.Dense(4, name=f"{name}_dense_b")(y))
            return keras.Model(inputs, keras.layers.Concatenate()(outputs))
        """,
    )
    assert ckptkit.verify(prefix, prefix, src_output="towers", dst_model=keras_twin, dst_load="match").passed


SEQ2SEQ_KERAS = """
    import keras

    def build(steps=True):
        L = keras.layers
        table, out = L.Embedding(30, 5, name="embedding"), L.Dense(30, use_bias=False, name="out_layer")
        encoder = L.GRU(6, return_state=True, reset_after=False, name="encoder")
        decoder = L.GRU(6, return_sequences=True, reset_after=False, name="decoder")
        source, target = keras.Input((7,), dtype="int32", name="source"), keras.Input((8,), dtype="int32", name="target")
        _, state = encoder(table(source))
        return keras.Model([source, target], out(decoder(table(target), initial_state=state)))
"""


def tf1_seq2seq(fw, folder):
    """An encoder and a decoder whose scope is built twice, for training and for the first generated step."""
    v1, tf = fw.tf.compat.v1, fw.tf
    with tf.Graph().as_default():
        source = v1.placeholder(tf.int32, [None, 7], name="source")
        target = v1.placeholder(tf.int32, [None, 8], name="target")
        table = v1.get_variable("embedding", [30, 5])
        with v1.variable_scope("encoder"):
            cell = v1.nn.rnn_cell.GRUCell(6, name="cell")
            _, state = v1.nn.static_rnn(
                cell, tf.unstack(v1.nn.embedding_lookup(table, source), axis=1), dtype=tf.float32
            )

        def decode(tokens, reuse):
            with v1.variable_scope("decoder", reuse=reuse), v1.variable_scope("decoder"):
                cell = v1.nn.rnn_cell.GRUCell(6, name="cell")
                steps = tf.unstack(v1.nn.embedding_lookup(table, tokens), axis=1)
                outputs, _ = v1.nn.static_rnn(cell, steps, initial_state=state)
                with v1.variable_scope("out_layer"):
                    kernel = v1.get_variable("kernel", [6, 30])
                return tf.stack([tf.matmul(output, kernel) for output in outputs], axis=1)

        v1.identity(decode(target, None), name="training")
        v1.identity(decode(target[:, :1], True), name="generation")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for number, variable in enumerate(v1.global_variables()):
                values = np.random.default_rng(number).normal(size=variable.shape) * 0.4
                session.run(variable.initializer, {variable.initializer.inputs[1]: values})
            return v1.train.Saver().save(session, str(folder / "seq2seq"))


def test_a_seq2seq_whose_decoder_is_built_twice(fw, tmp_path, factory) -> None:
    prefix = tf1_seq2seq(fw, tmp_path)
    model = factory("seq2seq", SEQ2SEQ_KERAS)
    whole = ckptkit.verify(prefix, prefix, src_output="training", dst_model=model, dst_load="match")
    assert whole.passed, whole.outputs
    first_step = factory(
        "first",
        """
        import keras
        from seq2seq import build as whole

        def build():
            model = whole()
            return keras.Model(model.inputs, model.output[:, :1])
        """,
    )
    assert ckptkit.verify(prefix, prefix, src_output="generation", dst_model=first_step, dst_load="match").passed


def test_a_keras_model_against_its_sonnet_twin_from_files(fw, tmp_path, factory) -> None:
    sonnet_net = factory(
        "sonnet_net",
        """
        import sonnet as snt
        import tensorflow as tf

        class Net(snt.Module):
            def __init__(self):
                super().__init__()
                self.mlp = snt.nets.MLP([12, 3])

            def __call__(self, x):
                return self.mlp(x)

        def build():
            return Net()
        """,
    )
    keras = fw.keras
    x = keras.Input((8,))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Dense(12, activation="relu")(x)))
    model.save(str(tmp_path / "k.keras"))
    result = ckptkit.verify(tmp_path / "k.keras", tmp_path / "k.keras", dst_model=sonnet_net, dst_load="match")
    assert result.passed
    assert not result.pairing_proven
    other = keras.models.clone_model(model)
    other.save(str(tmp_path / "other.keras"))
    failed = ckptkit.verify(
        tmp_path / "k.keras", tmp_path / "other.keras", dst_model=sonnet_net, dst_load="match", layers=True
    )
    assert not failed.passed
    assert failed.first_divergence is not None


def test_remap_and_verify_in_one_go(fw, tmp_path, run_cli) -> None:
    keras = fw.keras

    def build(count):
        layers = [keras.layers.GRU(6), keras.layers.Dense(5)]
        inputs = [keras.Input((7, 4)) for _ in range(count)]
        outputs = [layers[1](layers[0](x)) for x in inputs]
        return keras.Model(inputs, keras.layers.Concatenate()(outputs) if count > 1 else outputs[0])

    build(1).save(str(tmp_path / "one.keras"))
    build(2).save(str(tmp_path / "two.keras"))
    done = run_cli(
        "remap",
        tmp_path / "one.keras",
        "--like",
        tmp_path / "two.keras",
        "-o",
        tmp_path / "out.keras",
        "--verify",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verify"]["verdict"] == "pass"
    assert json.loads(done.stdout)["verify"]["towers"] == 0.0
    assert done.stderr == ""
    failed = run_cli("verify", tmp_path / "one.keras", tmp_path / "two.keras")
    assert (failed.returncode, failed.stderr) == (1, "")
    nothing = run_cli("verify", tmp_path / "one.keras", tmp_path / "two.keras", "--device", "gpu")
    assert nothing.returncode == 2
    assert nothing.stderr.count("\n") == 1


def test_a_factory_that_fails_is_one_line(fw, tmp_path, factory) -> None:
    keras = fw.keras
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(str(tmp_path / "m.weights.h5"))
    broken = factory("broken", "def build():\n    raise KeyError('no such thing')\n")
    with pytest.raises(ModelError, match="no such thing"):
        ckptkit.verify(tmp_path / "m.weights.h5", tmp_path / "m.weights.h5", src_model=broken)


def test_strategies_on_logical_devices() -> None:
    """Two logical CPUs stand in for accelerators: each side on its own, and a strategy with several replicas."""
    program = """
        import os
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import numpy as np, tensorflow as tf
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        import keras
        from ckptkit.verification import Options, verify_runners
        from ckptkit.verification.devices import Device, open_device
        from ckptkit.verification.live_models import LiveRunner

        def build(device):
            with device.strategy.scope():
                keras.utils.set_random_seed(0)
                return keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)])

        first, second = open_device("cpu:0"), open_device("cpu:1")
        a, b = build(first), build(second)
        assert "CPU:1" in b.layers[0].kernel.value.device, b.layers[0].kernel.value.device
        assert verify_runners(LiveRunner(a, "a", first), LiveRunner(b, "b", second), Options()).passed
        both = Device("two CPUs", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
        c = build(both)
        runner = LiveRunner(c, "c", both)
        assert verify_runners(LiveRunner(a, "a", first), runner, Options()).passed
        runner.assign([value * 2 for value in runner.weights()])
        assert not verify_runners(LiveRunner(a, "a", first), runner, Options()).passed
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
