"""What a PASS stands on: weights that no output follows are compared by value, or named."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import ModelError
from tests.verify.models import chain, multiply, pair, scramble


def routed(fw, count, stacked):
    """One of `count` experts answers for each sample."""
    L, ops = fw.keras.layers, fw.keras.ops

    class Routed(L.Layer):
        def build(self, shape):
            self.gate = self.add_weight(shape=(shape[-1], count), name="gate")
            sizes = [(count, shape[-1], 5)] if stacked else [(shape[-1], 5)] * count
            self.experts = [self.add_weight(shape=size, name=f"expert_{i}") for i, size in enumerate(sizes)]

        def call(self, x):
            chosen = ops.argmax(ops.matmul(x, self.gate), -1)
            kernels = self.experts[0] if stacked else ops.stack([1.0 * expert for expert in self.experts])
            return ops.squeeze(ops.matmul(ops.expand_dims(x, 1), ops.take(kernels, chosen, axis=0)), 1)

    return lambda: chain(fw.keras, (6,), Routed())


@pytest.mark.parametrize("stacked", [False, True], ids=["of their own", "in one tensor"])
def test_exchanged_experts_never_pass_in_silence(fw, stacked) -> None:
    make = routed(fw, 24, stacked)
    same = ckptkit.compare_models(*pair(make))
    assert same.complete
    assert same.coverage.by_value
    for seed in range(2):
        a, b = pair(make)
        first, second = np.random.default_rng(seed).choice(24, 2, replace=False)
        experts = b.layers[1].experts
        if stacked:
            values = experts[0].numpy()
            values[[first, second]] = values[[second, first]]
            experts[0].assign(values)
        else:
            one, other = experts[first].numpy(), experts[second].numpy()
            experts[first].assign(other)
            experts[second].assign(one)
        assert not ckptkit.compare_models(a, b).complete


def tables(fw, rows):
    K = fw.keras
    L = K.layers

    def make():
        inputs = [K.Input((12,), dtype="int32", name=f"input_{size}") for size in rows]
        found = [L.Embedding(size, 7)(x) for size, x in zip(rows, inputs, strict=True)]
        return K.Model(inputs, L.Dense(4)(L.GlobalAveragePooling1D()(L.Add()(found))))

    return make


def test_each_input_has_its_own_range(fw, cpu) -> None:
    from ckptkit.verification.live_models import LiveRunner

    assert [spec.limit for spec in LiveRunner(tables(fw, (500, 2, 31))(), "m", cpu).inputs] == [500, 2, 31]


def test_rows_that_no_sample_looked_up_are_compared_by_value(fw) -> None:
    make = tables(fw, (5000, 2))
    a, b = pair(make)
    same = ckptkit.compare_models(a, b)
    assert same.complete
    assert len(same.coverage.by_value) == 1
    table = b.layers[2].embeddings.numpy()
    wrong = sorted(set(range(5000)) - {*range(0, 5000, 2)})[1200:1205]
    table[wrong] += 1.0
    b.layers[2].embeddings.assign(table)
    result = ckptkit.compare_models(a, b)
    assert not result.complete
    if result.passed:
        (untested,) = result.coverage.untested
        assert untested.shape == (5000, 7)
        assert 0.01 < untested.reached < 0.9
        assert untested.differs


def test_floats_that_index_a_table_are_whole_numbers_below_its_rows(fw, cpu) -> None:
    from ckptkit.verification.inputs import make_inputs
    from ckptkit.verification.live_models import LiveRunner

    L = fw.keras.layers
    a, b = pair(lambda: chain(fw.keras, (7,), L.Embedding(50, 4), L.LSTM(5), L.Dense(2)))
    specs = LiveRunner(a, "a", cpu).inputs
    (made,) = make_inputs(specs, seed=0, batch=8)
    assert made.dtype == np.float32
    assert np.array_equal(made, np.floor(made))
    assert 20 < made.max() < 50
    assert ckptkit.compare_models(a, b).complete


def test_limits_reach_into_the_functions_of_a_saved_model(fw, cpu, tmp_path) -> None:
    from ckptkit.verification.graphs import SignatureRunner

    L = fw.tf_keras.layers
    model = chain(fw.tf_keras, (6,), L.Embedding(43, 3), L.Flatten(), L.Dense(2), dtype="int32")
    fw.tf.saved_model.save(model, str(tmp_path / "sm"))
    assert [spec.limit for spec in SignatureRunner(str(tmp_path / "sm"), cpu, None).inputs] == [43]


def test_a_branch_that_a_gain_of_zero_silences(fw) -> None:
    L = fw.keras.layers

    def make():
        inputs = fw.keras.Input((8,))
        branch = L.LayerNormalization(name="gain")(L.Dense(8, name="inner")(L.Dense(5, activation="tanh")(inputs)))
        return fw.keras.Model(inputs, L.Dense(3)(L.Add()([inputs, branch])))

    a, b = pair(make)
    for model in (a, b):
        model.get_layer("gain").gamma.assign(np.zeros(8))
    assert ckptkit.compare_models(a, b).complete
    multiply(b.get_layer("inner").kernel, 3.0)
    result = ckptkit.compare_models(a, b)
    assert result.passed
    assert result.untested == ("inner/kernel",)
    assert any("untested" in note for note in result.notes)
    found = json.loads(json.dumps(result.to_json()))["coverage"]
    assert found["weights"] == {"source": 8, "destination": 8}
    assert found["untested"] == [
        {"side": "destination", "name": "inner/kernel", "shape": [5, 8], "reached": 0.0, "differs": True}
    ]


def argmax(fw):
    L = fw.keras.layers

    class Chosen(L.Layer):
        def call(self, x):
            return fw.keras.ops.argmax(x, -1)

    return lambda: chain(fw.keras, (6,), L.Dense(9, activation="tanh", name="hidden"), L.Dense(5, name="top"), Chosen())


def test_chosen_outputs_do_not_hide_small_errors(fw) -> None:
    a, b = pair(argmax(fw))
    assert ckptkit.compare_models(a, b).complete
    multiply(b.get_layer("hidden").kernel, 1.0005)
    result = ckptkit.compare_models(a, b)
    assert not result.complete


def test_the_same_network_in_two_frameworks_is_compared_by_value_under_the_conventions(fw) -> None:
    """Dead units reach neither side's weights in full; gates of the two GRUs are laid out alike, kernels of MLPs not."""
    tf, snt = fw.tf, fw.snt
    net = snt.nets.MLP([24, 3])
    net(tf.zeros((1, 5)))
    L = fw.keras.layers
    model = scramble(chain(fw.keras, (5,), L.Dense(24, activation="relu"), L.Dense(3)), 0)
    model.layers[1].bias.assign(np.where(np.arange(24) < 9, -50.0, 0.3))
    linears = net.submodules
    for linear, layer in zip(sorted(linears, key=lambda m: m.name), model.layers[1:], strict=True):
        linear.w.assign(layer.kernel)
        linear.b.assign(layer.bias)
    for one, other in ((net, model), (model, net)):
        result = ckptkit.compare_models(one, other)
        assert result.complete, result.coverage
        assert result.coverage.by_value
    kernel = model.layers[1].kernel.numpy()
    kernel[:, 3] += 2.0
    model.layers[1].kernel.assign(kernel)
    wrong = ckptkit.compare_models(net, model)
    assert wrong.passed
    assert not wrong.complete


DEAD = {
    "not a number": lambda fw: fw.keras.layers.Lambda(lambda x: fw.keras.ops.log(-1.0 - x * x)),
    "dead": lambda fw: fw.keras.layers.Dense(
        4, activation="relu", bias_initializer=fw.keras.initializers.Constant(-90.0)
    ),
    "saturated": lambda fw: fw.keras.layers.Dense(
        4, activation="sigmoid", bias_initializer=fw.keras.initializers.Constant(300.0)
    ),
    "one class": lambda fw: fw.keras.layers.Lambda(
        lambda x: fw.keras.ops.argmax(x * 1e-9 + fw.keras.ops.arange(7.0), -1)
    ),
}


@pytest.mark.parametrize("kind", list(DEAD))
@pytest.mark.parametrize("other", [0, 1])
def test_outputs_that_say_nothing_are_no_proof(fw, kind, other) -> None:
    def make():
        return chain(fw.keras, (6,), fw.keras.layers.Dense(7), DEAD[kind](fw))

    a, b = make(), make()
    scramble(a.layers[1], 0)
    scramble(b.layers[1], other)
    with pytest.raises(
        ModelError, match=r"nothing can be concluded: output .* (no finite value|same for every sample)"
    ):
        ckptkit.compare_models(a, b)


def test_one_output_that_says_nothing_among_others_is_told(fw) -> None:
    def make():
        inputs = fw.keras.Input((6,))
        L = fw.keras.layers
        dead = L.Dense(2, activation="relu", name="dead", bias_initializer=fw.keras.initializers.Constant(-90.0))
        return fw.keras.Model(inputs, [L.Dense(3, name="live")(inputs), dead(inputs)])

    a = make()
    b = fw.keras.models.clone_model(a)
    b.set_weights(a.get_weights())
    result = ckptkit.compare_models(a, b)
    assert result.complete
    assert any(note.startswith("output dead is the same for every sample") for note in result.notes)
    b.get_layer("dead").kernel.assign(np.full((6, 2), 0.5))
    assert ckptkit.compare_models(a, b).untested == ("dead/kernel",)


def test_a_gradient_that_stops_is_followed_by_jitter(fw) -> None:
    """Rounding has no gradient; the weights before it do move the outputs, and are not called untested."""
    K, L = fw.keras, fw.keras.layers

    def make():
        return chain(K, (6,), L.Dense(40, name="codes"), L.Lambda(lambda x: K.ops.round(8 * x)), L.Dense(3, name="top"))

    def other():
        return chain(
            K, (6,), L.Dense(40, name="words"), L.Lambda(lambda x: K.ops.round(8 * x)), L.Dense(3, name="crown")
        )

    a = scramble(make(), 0)
    b = other()
    b.set_weights(a.get_weights())
    result = ckptkit.compare_models(a, b)
    assert result.passed
    assert "words/kernel" not in result.untested


def test_strict_is_an_exit_code(fw, tmp_path, run_cli) -> None:
    L = fw.keras.layers

    def make():
        inputs = fw.keras.Input((8,))
        silenced = L.Rescaling(0.0, name="silence")(L.Dense(3, name="inner")(inputs))
        return fw.keras.Model(inputs, L.Add()([L.Dense(3, name="outer")(inputs), silenced]))

    a, b = pair(make)
    a.save(str(tmp_path / "a.keras"))
    multiply(b.get_layer("inner").kernel, 2.0)
    b.save(str(tmp_path / "b.keras"))
    found = run_cli("verify", tmp_path / "a.keras", tmp_path / "b.keras", "--strict", "--html", tmp_path / "page.html")
    assert found.returncode == 1
    assert found.stdout.startswith("PASS, 1 of 4 weights untested")
    assert "untested: inner/kernel [8, 3] (its value differs)" in found.stdout
    assert "1 of 4 weights untested" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "float16"])
@pytest.mark.parametrize("size", [1, 7, 8, 16_385, 40_001])
def test_equal_values_differ_where_one_element_does(dtype, size) -> None:
    """Looked at as words of eight bytes or as bytes, with a block's edge inside."""
    from ckptkit.verification.coverage import equal_values

    value = (np.random.default_rng(0).standard_normal(size) * 10).astype(dtype)
    assert equal_values(value, value.copy())
    for place in {0, size // 2, size - 1}:
        other = value.copy()
        other[place] += 3
        assert not equal_values(value, other)


@pytest.mark.parametrize("size", [5, 16_384, 40_001])
def test_an_element_without_a_gradient_is_not_reached(size) -> None:
    """Nor is one whose gradient is NaN, wherever it is; others of the variable are, and all are when a batch reaches it."""
    from ckptkit.verification.coverage import Reach

    class Side:
        def weights(self):
            return [np.ones((size, 1), np.float32)]

        def gradients(self, arrays, factors):
            return [arrays[0].reshape(size, 1)]

    for nothing in (0.0, np.nan, 1e-9):
        for place in {0, size // 2, size - 1}:
            gradient = np.where(np.arange(size) % 2, -1, 1).astype(np.float32)
            gradient[place] = nothing
            reach = Reach(Side())
            assert reach.add([gradient], [], 1e-3)
            assert reach.open() == [0]
            assert reach.share(0) == (size - 1) / size
            assert not reach.add([gradient], [], 1e-3)
            gradient[place] = 1
            assert reach.add([gradient], [], 1e-3)
            assert reach.open() == []
