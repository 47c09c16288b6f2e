"""A model that samples, counts or remembers is put back after every run, and refused where that does not help."""

from __future__ import annotations

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import ModelError
from tests.verify.models import chain, pair, scramble


def sampling_vae(fw, framework):
    K = getattr(fw, framework)

    class Sample(K.layers.Layer):
        def __init__(self):
            super().__init__()
            if framework == "keras":
                self.generator = K.random.SeedGenerator(7)

        def call(self, given):
            mean, deviation = given
            if framework == "keras":
                return mean + deviation * K.random.normal(K.ops.shape(mean), seed=self.generator)
            return mean + deviation * fw.tf.random.normal(fw.tf.shape(mean))

    def make():
        inputs = K.Input((9,))
        hidden = K.layers.Dense(11, activation="tanh")(inputs)
        return K.Model(inputs, K.layers.Dense(5)(Sample()([K.layers.Dense(3)(hidden), K.layers.Dense(3)(hidden)])))

    return make


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_a_sampling_model_is_given_the_same_samples_on_both_sides(fw, framework) -> None:
    make = sampling_vae(fw, framework)
    result = ckptkit.compare_models(*pair(make))
    assert result.passed
    assert any("same samples" in note for note in result.notes)
    assert result.outputs[0].atol < 1e-4
    try:
        other = ckptkit.compare_models(*pair(make, same=False))
    except ModelError as error:
        assert framework == "tf_keras"  # its seeds are fixed when it is traced, and not the same in every trace
        assert "not functions of their inputs" in str(error)
    else:
        assert not other.passed


def test_two_frameworks_that_draw_otherwise_are_refused(fw) -> None:
    a, b = scramble(sampling_vae(fw, "keras")(), 0), scramble(sampling_vae(fw, "tf_keras")(), 0)
    with pytest.raises(ModelError, match="not functions of their inputs"):
        ckptkit.compare_models(a, b)


def test_dropout_that_never_rests_is_fixed(fw) -> None:
    L = fw.keras.layers

    class Always(L.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = L.Dropout(0.5)

        def call(self, x):
            return self.dropout(x, training=True)

    def make():
        return chain(fw.keras, (6,), L.Dense(13), Always(), L.Dense(4))

    assert ckptkit.compare_models(*pair(make)).passed
    assert not ckptkit.compare_models(*pair(make, same=False)).passed


def counter(fw):
    class Counter(fw.tf.Module):
        def __init__(self, seed):
            super().__init__()
            values = np.random.default_rng(seed).normal(size=(4, 3)).astype("f")
            self.kernel, self.calls = fw.tf.Variable(values, name="kernel"), fw.tf.Variable(0.0, name="calls")
            self.generator = fw.tf.random.Generator.from_seed(seed)

        def __call__(self, x):
            self.calls.assign_add(1.0)
            return fw.tf.matmul(x, self.kernel) * (1 + self.calls) + self.generator.normal([3])

    return Counter


def test_a_counter_and_a_generator_are_put_back(fw) -> None:
    Counter = counter(fw)
    sample = [np.random.default_rng(0).normal(size=(9, 4)).astype("f")]
    a, b = Counter(0), Counter(0)
    before = a.generator.state.numpy()
    result = ckptkit.compare_models(a, b, inputs=sample)
    assert result.passed
    assert result.outputs[0].max_abs == 0.0
    assert result.outputs[0].atol < 1e-4
    assert (a.calls.numpy(), b.calls.numpy()) == (0.0, 0.0)
    assert np.array_equal(a.generator.state.numpy(), before)
    assert not ckptkit.compare_models(a, Counter(1), inputs=sample).passed


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_a_stateful_network_is_left_as_it_was(fw, framework) -> None:
    K = getattr(fw, framework)

    def make():
        inputs = K.Input(batch_shape=(8, 5, 4))
        return K.Model(inputs, K.layers.Dense(3)(K.layers.LSTM(7, stateful=True)(inputs)))

    a, b = pair(make)
    result = ckptkit.compare_models(a, b)
    assert result.passed
    assert result.outputs[0].atol < 1e-4
    layer = next(layer for layer in a.layers if getattr(layer, "stateful", False))
    assert all(not np.asarray(state).any() for state in layer.states)
    assert not ckptkit.compare_models(*pair(make, same=False)).passed


def test_a_batch_normalisation_in_training_mode_does_not_move_its_averages(fw) -> None:
    L = fw.keras.layers

    class Training(L.Layer):
        def __init__(self):
            super().__init__()
            self.norm = L.BatchNormalization()

        def build(self, shape):
            self.norm.build(shape)

        def call(self, x):
            return self.norm(x, training=True)

    a, b = pair(lambda: chain(fw.keras, (6,), L.Dense(7), Training(), L.Dense(3)))
    before = [np.asarray(value) for value in a.get_weights()]
    result = ckptkit.compare_models(a, b)
    assert result.complete
    assert len(result.coverage.by_value) >= 2  # the averages that training mode does not read
    assert all(np.array_equal(x, y) for x, y in zip(before, a.get_weights(), strict=True))
    b.layers[2].norm.moving_mean.assign(np.full(7, 9.0))
    untested = ckptkit.compare_models(a, b)
    assert untested.passed
    assert not untested.complete
    assert [name.split("/")[-1] for name in untested.untested] == ["moving_mean"]
    assert untested.coverage.untested[0].differs


def test_what_draws_outside_tensorflow_is_refused(fw) -> None:
    tf = fw.tf

    class Outside(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.ones((4, 3), "f"))

        def __call__(self, x):
            return tf.matmul(x, self.kernel) + tf.numpy_function(
                lambda: np.random.normal(size=3).astype("f"), [], tf.float32
            )

    with pytest.raises(ModelError, match="not a function of its inputs: two runs on one batch differ"):
        ckptkit.compare_models(Outside(), Outside(), inputs=[np.ones((9, 4), "f")])


def test_the_seed_of_the_program_is_its_own_again(fw) -> None:
    tf = fw.tf
    tf.random.set_seed(5)
    expected = [tf.random.normal([2]).numpy() for _ in range(2)]
    tf.random.set_seed(5)
    first = tf.random.normal([2]).numpy()
    assert ckptkit.compare_models(*pair(sampling_vae(fw, "tf_keras"))).passed
    assert np.array_equal(first, expected[0])
    assert np.array_equal(tf.random.normal([2]).numpy(), expected[1])


@pytest.mark.parametrize("outputs", ["y", "z"])
def test_a_tf1_graph_that_draws_is_refused_only_where_the_output_depends_on_it(fw, tmp_path, outputs) -> None:
    v1, tf = fw.tf.compat.v1, fw.tf
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        kernel = v1.get_variable("kernel", [6, 7])
        noise = v1.random_normal([7])
        v1.add(v1.matmul(x, kernel), noise, name="y")
        v1.add(v1.matmul(x, kernel), 0.0 * noise, name="z")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            prefix = v1.train.Saver().save(session, str(tmp_path / "net"))
    if outputs == "z":
        assert ckptkit.verify(prefix, prefix, src_output="z", dst_output="z").complete
        return
    with pytest.raises(ModelError, match="random numbers that cannot be fixed"):
        ckptkit.verify(prefix, prefix, src_output="y", dst_output="y")


def runner_of(model):
    from ckptkit.verification.devices import open_device
    from ckptkit.verification.live_models import LiveRunner

    return LiveRunner(model, "model", open_device("cpu"))


def test_weights_that_were_looked_at_stay_what_they_were(fw) -> None:
    """They are views of memory that variables hold, and jittered ones are held without a copy."""
    from ckptkit.verification.numbers import jittered

    model = fw.keras.Sequential([fw.keras.Input((300,)), fw.keras.layers.Dense(400), fw.keras.layers.Dense(3)])
    runner = runner_of(model)
    seen = runner.weights()
    before = [value.copy() for value in seen]
    with runner.kept():
        moved = jittered(seen, np.random.default_rng(0))
        runner.give(moved)
        kernel = model.layers[0].kernel.value
        assert np.array_equal(kernel.numpy(), moved[0])
        kernel.assign_add(fw.tf.ones_like(kernel))
        kernel.scatter_nd_update([[0, 0]], [7.0])
        assert kernel.numpy()[0, 0] == 7.0
        held = kernel.numpy()
        runner.run([np.ones((2, 300), np.float32)])
        assert np.array_equal(kernel.numpy(), held)
    for value, kept, now in zip(seen, before, runner.weights(), strict=True):
        assert np.array_equal(value, kept)
        assert np.array_equal(now, kept)
    model.layers[0].kernel.value.assign_add(fw.tf.ones((300, 400)))
    assert np.array_equal(seen[0], before[0])
    assert np.array_equal(model.layers[0].kernel.numpy(), before[0] + 1)


def test_only_a_graph_without_state_is_a_function_unseen(fw) -> None:
    """Whatever else might answer otherwise the next time is run twice."""
    from ckptkit.verification.graph_facts import is_function

    tf = fw.tf
    variable, table = tf.Variable(2.0), tf.Variable(tf.random.normal((4, 3)))
    generator = tf.random.Generator.from_seed(1)
    lookup = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2.0]), 0.0)
    row = tf.TensorSpec((5,), tf.float32)

    def loop(x):
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * variable), (0, x))[1]

    def hidden(x):
        return tf.cond(x[0] > 0, lambda: x + variable.assign_add(1.0), lambda: x)

    functions = {
        loop: True,
        (lambda x: tf.gather(table, [0, 1]) * x[0]): True,
        (lambda x: x * variable): True,
        hidden: False,
        (lambda x: x + tf.random.normal((5,))): False,
        (lambda x: x + generator.normal((5,))): False,
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32)): False,
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32, stateful=False)): False,
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32)): False,
        (lambda x: x + lookup.lookup(tf.cast(x, tf.int32))): False,
        (lambda x: x + tf.cast(tf.timestamp(), tf.float32)): False,
    }
    found = [is_function(tf.function(each).get_concrete_function(row).graph) for each in functions]
    assert found == list(functions.values())
