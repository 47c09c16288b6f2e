"""Models of every framework, run and compared: right moves pass, wrong ones fail and are located."""

from __future__ import annotations

import numpy as np
import pytest

from ckptkit.errors import CkptkitError, ModelError, UsageError
from ckptkit.verification import Options, verify_runners
from ckptkit.verification.devices import open_device
from ckptkit.verification.inputs import InputSpec
from ckptkit.verification.live_models import LiveRunner


def check(cpu, a, b, *, specs=None, **options):
    return verify_runners(LiveRunner(a, "a", cpu, specs), LiveRunner(b, "b", cpu, specs), Options(**options))


def call_layers(K, layers, shape, count):
    """The functional model that calls a list of layers on each of `count` inputs and joins the outputs."""
    inputs = [K.Input(shape) for _ in range(count)]
    outputs = []
    for tensor in inputs:
        for layer in layers:
            tensor = layer(tensor)
        outputs.append(tensor)
    if count == 1:
        return K.Model(inputs[0], outputs[0])
    return K.Model(inputs, K.layers.Concatenate()(outputs))


KINDS = {
    "mlp": (lambda L: [L.Dense(64, activation="relu"), L.Dense(5)], (100,)),
    "cnn": (
        lambda L: [L.Conv2D(4, 3, activation="relu"), L.BatchNormalization(), L.Flatten(), L.Dense(5)],
        (9, 8, 3),
    ),
    "rnn": (lambda L: [L.Bidirectional(L.LSTM(6, return_sequences=True)), L.GRU(5)], (7, 4)),
}


def residual(K):
    """A shared inner model with branches that interleave."""
    inputs = K.Input((12, 12, 3))
    x = K.layers.Conv2D(6, 3, padding="same")(inputs)
    for _ in range(2):
        y = K.layers.ReLU()(K.layers.BatchNormalization()(K.layers.Conv2D(6, 3, padding="same")(x)))
        x = K.layers.Add()([K.layers.Conv2D(6, 1)(x), y])
    return K.Model(inputs, K.layers.Dense(5)(K.layers.GlobalAveragePooling2D()(x)))


# Recurrent models take long to trace.
@pytest.mark.parametrize(
    ("kind", "count"), [*((kind, 2) for kind in (*KINDS, "branching")), *((kind, 3) for kind in KINDS if kind != "rnn")]
)
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_one_input_against_several(fw, cpu, kind, count, framework) -> None:
    K = getattr(fw, framework)
    if kind == "branching":
        layers, shape = [residual(K)], (12, 12, 3)
    else:
        make, shape = KINDS[kind]
        layers = make(K.layers)
    single, several = call_layers(K, layers, shape, 1), call_layers(K, layers, shape, count)
    there = check(cpu, single, several, batch=4)
    assert there.passed
    assert len(there.outputs) == count
    assert there.towers == 0.0
    back = check(cpu, several, single, batch=4)
    assert back.passed
    assert back.towers == 0.0
    assert all(output.floor > 0 for output in back.outputs)


def copy_weights(a, b) -> None:
    for ours, theirs in zip([x for x in a.layers if x.weights], [x for x in b.layers if x.weights], strict=True):
        theirs.set_weights(ours.get_weights())


def test_models_made_separately_fail_although_their_structure_is_the_same(fw, cpu) -> None:
    make, shape = KINDS["mlp"]
    a = call_layers(fw.keras, make(fw.keras.layers), shape, 1)
    b = call_layers(fw.keras, make(fw.keras.layers), shape, 2)
    assert not check(cpu, a, b).passed
    copy_weights(a, b)
    assert check(cpu, a, b).passed


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("emulate", [False, True], ids=["float32", "tpu"])
def test_two_frameworks_agree_within_the_measured_noise(fw, cpu, kind, emulate) -> None:
    make, shape = KINDS[kind]
    a, b = (call_layers(K, make(K.layers), shape, 1) for K in (fw.keras, fw.tf_keras))
    copy_weights(a, b)
    result = check(cpu, a, b, emulate_tpu=emulate)
    assert result.passed, result.outputs
    assert result.conditions.emulated is emulate


def test_noise_of_three_in_ten_million_passes_and_one_percent_does_not(fw, cpu) -> None:
    make, shape = KINDS["mlp"]
    a, b = (call_layers(fw.keras, make(fw.keras.layers), shape, 1) for _ in range(2))
    copy_weights(a, b)
    generator = np.random.default_rng(1)
    kernel = b.layers[-1].kernel
    kernel.assign(kernel.numpy() * (1 + 3e-7 * generator.standard_normal(kernel.shape).astype("f")))
    assert check(cpu, a, b).passed
    kernel.assign(a.layers[-1].kernel.numpy() * np.float32(1.01))
    result = check(cpu, a, b, layers=True)
    assert not result.passed
    assert result.first_divergence.target == b.layers[-1].name
    assert "kernel" in result.first_divergence.reason


def test_swapped_gates_are_located_and_named(fw, cpu) -> None:
    L = fw.keras.layers
    a, b = (call_layers(fw.keras, [L.Dense(4), L.LSTM(6), L.Dense(3)], (7, 5), 1) for _ in range(2))
    copy_weights(a, b)
    lstm = b.layers[2]
    lstm.set_weights([np.concatenate([np.split(w, 4, -1)[i] for i in (0, 2, 1, 3)], -1) for w in lstm.get_weights()])
    result = check(cpu, a, b, layers=True)
    assert not result.passed
    assert (result.first_divergence.target, result.first_divergence.kind) == (lstm.name, "LSTM")
    assert "gates look permuted" in result.first_divergence.reason


def test_a_row_of_a_table_is_located_where_a_batch_looks_it_up(fw, cpu) -> None:
    L = fw.keras.layers
    a, b = (
        fw.keras.Sequential([fw.keras.Input((5,), dtype="int32"), L.Embedding(500, 6), L.LSTM(4)]) for _ in range(2)
    )
    copy_weights(a, b)
    table = b.layers[0].get_weights()[0]
    table[-1] += 1
    b.layers[0].set_weights([table])
    result = check(cpu, a, b, layers=True)
    assert not result.passed
    assert result.first_divergence is not None
    assert result.first_divergence.target == b.layers[0].name
    assert "weights differ: embeddings" in result.first_divergence.reason


def test_swapped_layers_are_located(fw, cpu) -> None:
    L = fw.keras.layers
    a, b = (call_layers(fw.keras, [L.Dense(6, activation="tanh") for _ in range(3)], (6,), 1) for _ in range(2))
    copy_weights(a, b)
    first, second = b.layers[2].get_weights(), b.layers[3].get_weights()
    b.layers[2].set_weights(second)
    b.layers[3].set_weights(first)
    result = check(cpu, a, b, layers=True)
    assert result.first_divergence.target == b.layers[2].name
    assert "weights differ" in result.first_divergence.reason


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        (lambda L: L.BatchNormalization(), lambda L: L.BatchNormalization(epsilon=1e-5), "epsilon"),
        (lambda L: L.Dense(6, activation="relu"), lambda L: L.Dense(6, activation="gelu"), "activation"),
        (
            lambda L: L.GRU(6, return_sequences=True),
            lambda L: L.GRU(6, return_sequences=True, go_backwards=True),
            "direction",
        ),
        (
            lambda L: L.Conv1D(6, 3, dilation_rate=1, padding="same"),
            lambda L: L.Conv1D(6, 3, dilation_rate=2, padding="same"),
            "dilation",
        ),
    ],
)
def test_equal_weights_with_another_setting_are_named(fw, cpu, one, other, word) -> None:
    L = fw.keras.layers
    a, b = (call_layers(fw.keras, [L.Dense(5), make(L), L.Dense(2)], (9, 4), 1) for make in (one, other))
    copy_weights(a, b)
    result = check(cpu, a, b, layers=True)
    assert not result.passed
    assert f"another {word}" in result.first_divergence.reason


def test_sonnet_against_keras(fw, cpu) -> None:
    class Net(fw.snt.Module):
        def __init__(self):
            super().__init__()
            self.hidden = fw.snt.Linear(12)
            self.head = fw.snt.Linear(3)

        def __call__(self, x):
            return self.head(fw.tf.nn.relu(self.hidden(x)))

    net = Net()
    net(fw.tf.zeros([1, 8]))
    L = fw.keras.layers
    model = call_layers(fw.keras, [L.Dense(12, activation="relu"), L.Dense(3)], (8,), 1)
    for layer, module in zip(model.layers[1:], (net.hidden, net.head), strict=True):
        layer.set_weights([module.w.numpy(), module.b.numpy()])
    specs = [InputSpec("x", (None, 8), "float32")]
    assert check(cpu, net, model, specs=specs).passed
    net.head.w.assign(net.head.w * 1.01)
    result = check(cpu, net, model, specs=specs, layers=True)
    assert not result.passed
    assert result.first_divergence.source == "linear"


def test_tolerances_override_calibration(fw, cpu) -> None:
    make, shape = KINDS["mlp"]
    a, b = (call_layers(fw.keras, make(fw.keras.layers), shape, 1) for _ in range(2))
    copy_weights(a, b)
    b.layers[-1].kernel.assign(b.layers[-1].kernel * 1.01)
    assert check(cpu, a, b, atol=1.0).passed
    strict = check(cpu, a, b, atol=0.0, rtol=1e-6)
    assert not strict.passed
    assert strict.conditions.factor is None


def test_the_model_is_left_with_its_weights(fw, cpu) -> None:
    make, shape = KINDS["rnn"]
    a = call_layers(fw.keras, make(fw.keras.layers), shape, 1)
    before = [w.copy() for w in a.get_weights()]
    check(cpu, a, a, batch=2)
    assert all(np.array_equal(x, y) for x, y in zip(before, a.get_weights(), strict=True))


def test_emulation_rounds_as_numpy_does(fw) -> None:
    import ml_dtypes

    from ckptkit.verification.emulate import emulate_tpu

    tf = fw.tf
    generator = np.random.default_rng(0)
    weight = tf.Variable(generator.standard_normal((30, 20)).astype("f"))
    x = generator.standard_normal((7, 30)).astype("f")
    function = tf.function(lambda v: tf.matmul(v, weight) + 1.0).get_concrete_function(tf.TensorSpec([None, 30]))
    (emulated,) = emulate_tpu(function)(tf.constant(x))
    rounded_x, rounded_w = (value.astype(ml_dtypes.bfloat16).astype(np.float64) for value in (x, weight.numpy()))
    expected = rounded_x @ rounded_w + 1.0
    assert np.abs(emulated.numpy() - expected).max() / np.abs(expected).max() < 1.2e-7
    assert np.abs(emulated.numpy() - (x @ weight.numpy() + 1.0)).max() > 1e-3


def test_what_xla_cannot_compile_is_emulated_all_the_same(fw) -> None:
    from ckptkit.verification.emulate import emulate_tpu

    tf = fw.tf
    weight = tf.Variable(np.random.default_rng(0).standard_normal((6, 4)).astype("f"))

    def count_and_multiply(x):
        return tf.strings.length(tf.strings.as_string(x[:, 0])), tf.matmul(x, weight)

    function = tf.function(count_and_multiply).get_concrete_function(tf.TensorSpec([3, 6]))
    lengths, product = emulate_tpu(function)(tf.constant(np.ones((3, 6), "f") / 3))
    assert lengths.numpy().tolist() == [8, 8, 8]
    assert product.shape == (3, 4)


def test_emulation_reaches_into_loops(fw) -> None:
    from ckptkit.verification.emulate import emulate_tpu

    model = call_layers(fw.keras, [fw.keras.layers.Bidirectional(fw.keras.layers.LSTM(8))], (9, 5), 1)
    x = np.random.default_rng(0).standard_normal((4, 9, 5)).astype("f")
    function = fw.tf.function(lambda v: model(v, training=False))
    (emulated,) = emulate_tpu(function.get_concrete_function(fw.tf.TensorSpec(x.shape)))(fw.tf.constant(x))
    plain = model(x).numpy()
    relative = np.abs(emulated.numpy() - plain).max() / np.abs(plain).max()
    assert 1e-4 < relative < 3e-2


@pytest.mark.parametrize(
    ("name", "error"), [("gpu", ModelError), ("tpu", ModelError), ("cpu:9", ModelError), ("abacus", UsageError)]
)
def test_a_device_that_is_not_there_is_one_line(fw, name, error) -> None:
    with pytest.raises(error) as caught:
        open_device(name)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_what_is_no_model_is_refused(cpu) -> None:
    with pytest.raises(CkptkitError, match="not a model"):
        LiveRunner(object(), "thing", cpu)


def test_integers_stay_within_the_table(fw, cpu) -> None:
    inputs = fw.keras.Input((None,), dtype="int32")
    model = fw.keras.Model(inputs, fw.keras.layers.GRU(4)(fw.keras.layers.Embedding(11, 3)(inputs)))
    assert LiveRunner(model, "m", cpu).inputs[0].limit == 11
    assert check(cpu, model, model).passed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["words", "text", "ragged", "ragged words"])
def test_texts_and_ragged_rows(fw, cpu, tmp_path, kind) -> None:
    K, words = fw.tf_keras, ["the", "cat", "sat", "on"]
    L = K.layers

    def build():
        if kind == "text":
            first = [K.Input((1,), dtype="string"), L.TextVectorization(vocabulary=words, output_sequence_length=4)]
        elif kind == "ragged":
            first = [K.Input((None,), dtype="int32", ragged=True)]
        else:
            ragged = kind == "ragged words"
            inputs = K.Input((None if ragged else 3,), dtype="string", ragged=ragged)
            first = [inputs, L.StringLookup(vocabulary=words)]
        return K.Sequential([*first, L.Embedding(7, 3), L.LSTM(4), L.Dense(2)])

    a, b, c = build(), build(), build()
    b.set_weights(a.get_weights())
    same = check(cpu, a, b)
    assert same.passed
    assert same.conditions.samples == 16
    assert not check(cpu, a, c).passed
    if "ragged" in kind:
        values = np.array([b"cat", b"on", b"the"], object) if "words" in kind else np.array([1, 2, 3], "int32")
        np.savez(
            tmp_path / "x.npz",
            **{"x/values": values.astype("S") if "words" in kind else values, "x/row_splits": [0, 2, 3]},
        )
        given = check(cpu, a, b, inputs=str(tmp_path / "x.npz"))
        assert given.passed
        assert given.conditions.samples == 2
    else:
        shape = (5, 1) if kind == "text" else (5, 3)
        assert check(cpu, a, b, shapes=[(shape, "string")]).conditions.samples == 10
