"""Checkpoints that the real frameworks write: the map has their names, their order and their layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptkit import canonical
from ckptkit.formats import open_contents
from ckptkit.model import CheckpointSpec, TensorSource, Variable
from tests.canonical.made import slots, weights


def opened(path: Path | str) -> tuple[CheckpointSpec, TensorSource]:
    contents, source = open_contents(str(path))
    return canonical.build(contents, str(path)), source


def values(spec: CheckpointSpec, source: TensorSource) -> list[np.ndarray]:
    """The weights of the map in order."""
    return [read(variable, source) for variable in spec.variables if variable.kind == "weight"]


def read(variable: Variable, source: TensorSource) -> np.ndarray:
    buffer = bytearray(variable.nbytes)
    if buffer:
        source.read_into(variable.key, 0, memoryview(buffer))
    return np.frombuffer(buffer, np.dtype(variable.dtype)).reshape(variable.shape)


def agree(spec: CheckpointSpec, source: TensorSource, expected: list[tuple[str, np.ndarray]]) -> None:
    """Names and contents of the weights, in order."""
    assert weights(spec) == [name for name, _ in expected]
    for got, (name, want) in zip(values(spec, source), expected, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)
    source.close()


def number(model: Any) -> None:
    """Give every weight values of its own."""
    start = 0
    for variable in model.weights:
        value = np.arange(start, start + int(np.prod(variable.shape)), dtype=np.float32)
        start += value.size
        if str(variable.dtype).removeprefix("<dtype: '").startswith("float"):
            variable.assign(value.reshape(variable.shape))


def make(k: Any, dense: int = 12) -> Any:
    """Two inputs, a shared layer, a nested model called twice, wrapped and recurrent layers, more than ten Denses."""
    left, right = k.Input((6, 5), name="left"), k.Input((6, 5), name="right")
    nested_in = k.Input((6, 4))
    nested = k.layers.Dense(7, name="nested_dense")(nested_in)
    nested = k.layers.BatchNormalization(name="nested_norm")(nested)
    inner = k.Model(nested_in, nested, name="inner")
    shared = k.layers.TimeDistributed(k.layers.Dense(4), name="shared")
    joined = k.layers.Concatenate()([inner(shared(left)), inner(shared(right))])
    out = k.layers.MultiHeadAttention(2, 3, name="attention")(joined, joined)
    out = k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True), name="both")(out)
    out = k.layers.Conv1D(8, 2, name="conv")(out)
    out = k.layers.Dropout(0.5, seed=1)(out)
    out = k.layers.GRU(9, name="gru")(out)
    for place in range(dense):
        out = k.layers.Dense(2 + place)(out)
    model = k.Model([left, right], out)
    number(model)
    return model


ROLES = {
    "left_out": ("/lstm_cell/", "/gru_cell/"),
}


def expected(model: Any, nested: bool = True) -> list[tuple[str, np.ndarray]]:
    """The framework's own names and order, without the cells, and with the names of nested models."""
    names = []
    for layer in model.layers:
        for variable in layer.weights:
            name = getattr(variable, "path", variable.name).removesuffix(":0")
            for cell in ROLES["left_out"]:
                name = name.replace(cell, "/")
            if name.startswith("shared/dense"):
                name = f"shared/{name.rpartition('/')[2]}"
            if nested and name.startswith("nested_"):
                name = f"inner/{name}"
            if "seed_generator" not in name:
                names.append((name, np.asarray(variable)))
    return names


@pytest.fixture(scope="module")
def keras3() -> Any:
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    return make(keras)


@pytest.fixture(scope="module")
def tf_keras() -> Any:
    keras = pytest.importorskip("tf_keras")
    keras.backend.clear_session()
    return make(keras)


@pytest.mark.parametrize(
    ("suffix", "source"), [("a.keras", "config"), ("a.weights.h5", "file-layout"), ("a.h5", "stored")]
)
@pytest.mark.filterwarnings("ignore")
def test_keras_3_files(keras3: Any, tmp_path: Path, suffix: str, source: str) -> None:
    path = tmp_path / suffix
    keras3.save_weights(path) if suffix == "a.weights.h5" else keras3.save(path)
    spec, data = opened(path)
    assert spec.order_source == source
    if source != "file-layout":
        calls = {item.name: item.calls for item in spec.layers}
        assert (calls["shared"], calls["inner/nested_dense"], calls["conv"]) == (2, 2, 1)
    agree(spec, data, expected(keras3))


@pytest.mark.parametrize(("suffix", "source"), [("a.keras", "config"), ("a.h5", "stored"), ("weights.h5", "stored")])
@pytest.mark.filterwarnings("ignore")
def test_tf_keras_files(tf_keras: Any, tmp_path: Path, suffix: str, source: str) -> None:
    path = tmp_path / suffix
    tf_keras.save_weights(path) if suffix == "weights.h5" else tf_keras.save(path)
    spec, data = opened(path)
    assert spec.order_source == source
    # A file without an architecture does not tell the one nested layer from the model around it.
    agree(spec, data, expected(tf_keras))


def test_tf_keras_weights_in_the_new_layout_have_no_names(tf_keras: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    tf_keras.save_weights(path)
    spec, data = opened(path)
    assert spec.order_source == "file-layout"
    assert spec.variables[0].role == "kernel"
    for got, (name, want) in zip(values(spec, data), expected(tf_keras), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)
    assert [item.name for item in spec.layers][-2:] == ["dense_10", "dense_11"]


def test_object_checkpoint_of_keras_3(keras3: Any, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    prefix = tf.train.Checkpoint(model=keras3).save(str(tmp_path / "ck"))
    spec, data = opened(prefix)
    # Nothing in it says that the model in the model is called `inner`.
    agree(spec, data, expected(keras3, nested=False))


def test_object_checkpoint_of_tf_keras(tf_keras: Any, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    prefix = tf.train.Checkpoint(model=tf_keras).save(str(tmp_path / "ck"))
    spec, data = opened(prefix)
    agree(spec, data, expected(tf_keras, nested=False))


@pytest.mark.filterwarnings("ignore")
def test_saved_model_of_tf_keras(tf_keras: Any, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    tf_keras.save(folder, save_format="tf")
    spec, data = opened(folder)
    agree(spec, data, expected(tf_keras))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("generation", ["keras", "tf_keras"])
@pytest.mark.parametrize("kind", ["a.keras", "a.h5", "checkpoint"])
def test_slots_of_a_trained_model(generation: str, kind: str, tmp_path: Path) -> None:
    keras = pytest.importorskip(generation)
    inputs = keras.Input((5,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4, name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(hidden))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((2, 5)), np.ones((2, 3)), verbose=0)
    if kind == "checkpoint":
        import tensorflow as tf

        path = tf.train.Checkpoint(model=model).save(str(tmp_path / "ck"))
    else:
        path = tmp_path / kind
        model.save(path)
    spec, data = opened(path)
    data.close()
    owners = sorted(str(owner) for owner in slots(spec).values())
    norm = next(item.name for item in spec.layers if item.kind == "BatchNormalization")
    trained = ["first/kernel", "first/bias", f"{norm}/gamma", f"{norm}/beta", "last/kernel", "last/bias"]
    assert owners == sorted(trained * 2)
    assert len(weights(spec)) == 8


@pytest.mark.filterwarnings("ignore")
def test_scopes_of_tensorflow_1(tmp_path: Path) -> None:
    tf1 = pytest.importorskip("tensorflow").compat.v1
    with tf1.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf1.float32, (None, 7))
        with tf1.variable_scope("net_b"):
            x = tf1.layers.dense(x, 5, name="dense_10")
            x = tf1.layers.dense(x, 4, name="dense_2")
        with tf1.variable_scope("net_a"):
            x = tf1.layers.batch_normalization(x, training=True)
            steps = tf1.expand_dims(x, 0)
            cell = tf1.nn.rnn_cell.BasicLSTMCell(6)
            x, _ = tf1.nn.dynamic_rnn(cell, steps, dtype=tf1.float32)
            cell = tf1.nn.rnn_cell.GRUCell(3)
            x, _ = tf1.nn.dynamic_rnn(cell, x, dtype=tf1.float32, scope="second")
        step = tf1.train.get_or_create_global_step()
        tf1.train.AdamOptimizer().minimize(tf1.reduce_sum(x), step)
        session.run(tf1.global_variables_initializer())
        trained = [variable.op.name for variable in tf1.global_variables()]
        arrays = {variable.op.name: session.run(variable) for variable in tf1.global_variables()}
        saver = tf1.train.Saver()
        saver.save(session, str(tmp_path / "with.ckpt"))
        saver.save(session, str(tmp_path / "without.ckpt"), write_meta_graph=False)
    names = {
        "net_b/dense_10": "Dense", "net_b/dense_2": "Dense", "net_a/batch_normalization": "BatchNormalization",
        "net_a/rnn/basic_lstm_cell": "LSTM", "net_a/second/gru_cell": "GRU",
    }  # fmt: skip
    spec, data = opened(tmp_path / "with.ckpt")
    assert {item.name: item.kind for item in spec.layers} == names
    assert [item.name for item in spec.layers] == list(names)
    order = [name for name in trained if any(name.startswith(layer) for layer in names) and "Adam" not in name]
    assert [variable.key for variable in spec.variables if variable.kind == "weight"] == order
    for variable in spec.variables:
        np.testing.assert_array_equal(read(variable, data), arrays[variable.key])
    data.close()
    assert len(slots(spec)) == 2 * sum(not name.endswith(("moving_mean", "moving_variance")) for name in order)
    assert None not in slots(spec).values()
    assert {v.key for v in spec.variables if v.kind == "state"} == {"global_step", "beta1_power", "beta2_power"}
    without, data = opened(tmp_path / "without.ckpt")
    data.close()
    assert without.order_source == "natural"
    assert [item.name for item in without.layers][-2:] == ["net_b/dense_2", "net_b/dense_10"]


def test_modules_of_sonnet(tmp_path: Path) -> None:
    snt = pytest.importorskip("sonnet")
    tf = pytest.importorskip("tensorflow")

    class Net(snt.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = snt.Conv2D(3, 2, name="b_stem")
            self.norm = snt.BatchNorm(True, True, name="a_norm")
            self.body = snt.nets.MLP([5, 4])
            self.core = snt.LSTM(6)
            self.words = snt.Embed(9, 7)

        def __call__(self, x: Any) -> Any:
            x = self.norm(self.stem(x), is_training=True)
            x = self.body(snt.Flatten()(x))
            x, _ = self.core(x, self.core.initial_state(1))
            return x, self.words(tf.constant([1]))

    net = Net()
    net(tf.ones((1, 4, 4, 2)))
    prefix = tf.train.Checkpoint(net=net).write(str(tmp_path / "snt"))
    spec, data = opened(prefix)
    assert {item.name: item.kind for item in spec.layers} == {
        "net/stem": "Conv2D", "net/norm": "BatchNormalization", "net/body/layers/0": "Dense",
        "net/body/layers/1": "Dense", "net/core": "LSTM", "net/words": "Embedding",
    }  # fmt: skip
    assert {item.dialect for item in spec.layers} == {"sonnet2"}
    by_name = {variable.name: variable for variable in spec.variables}
    np.testing.assert_array_equal(read(by_name["net/core/recurrent_kernel"], data), net.core._w_h)
    np.testing.assert_array_equal(read(by_name["net/stem/kernel"], data), net.stem.w)
    data.close()
    trained = list(net.trainable_variables)
    assert len(weights(spec)) == len(trained) + 2


def test_a_subclassed_keras_3_model(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.zero = keras.layers.Dense(3)
            self.block = [keras.layers.Dense(4), keras.layers.Dense(5)]

        def call(self, x: Any) -> Any:
            x = self.zero(x)
            for layer in self.block:
                x = layer(x)
            return x

    net = Net()
    net(np.ones((1, 2), np.float32))
    net.save_weights(tmp_path / "net.weights.h5")
    spec, data = opened(tmp_path / "net.weights.h5")
    found = {variable.name: read(variable, data) for variable in spec.variables}
    data.close()
    assert len(found) == 6
    shapes = sorted(value.shape for value in found.values())
    assert shapes == sorted(tuple(variable.shape) for variable in net.weights)
    assert all(variable.role in ("kernel", "bias") for variable in spec.variables)


@pytest.mark.parametrize("made_by", ["tf_keras", "tf_keras.legacy", "sonnet", "tf.compat.v1", "none"])
def test_words_of_a_users_own_beside_what_real_optimizers_keep(tmp_path: Path, made_by: str) -> None:
    tf = pytest.importorskip("tensorflow")

    def module(**attributes: Any) -> Any:
        made = tf.Module()
        for name, value in attributes.items():
            setattr(made, name, value)
        return made

    def new(*shape: int) -> Any:
        return tf.Variable(tf.ones(shape))

    net = module(w=tf.Variable(tf.ones((4, 5)), name="w"), b=tf.Variable(tf.ones(5), name="b"))
    counter = tf.Variable(3, dtype=tf.int64)
    own = module(
        metrics=module(total=new(), count=new()), keras_api=module(w=new(4, 5)), _all_variables=[new(4, 5), new(5)],
        optimizer=module(iter=counter, learning_rate=new(), heads=[new(4, 5), new(5)]), states=[new(1, 5)],
        adam=module(step=counter, m=[new(4, 5)], v=[new(4, 5)]), powers=module(beta1_power=new(), beta2_power=new()),
        loop=module(_iterations=counter, _learning_rate=new()), save_counter=new(7), _metrics=[module(total=new(3))],
    )  # fmt: skip
    optimizers = {
        "tf_keras": lambda: pytest.importorskip("tf_keras").optimizers.Nadam(),
        "tf_keras.legacy": lambda: pytest.importorskip("tf_keras").optimizers.legacy.SGD(),
        "sonnet": lambda: pytest.importorskip("sonnet").optimizers.Adam(0.1),
        "tf.compat.v1": lambda: tf.compat.v1.train.AdamOptimizer(),
    }
    beside = {}
    if made_by != "none":
        beside["real"] = optimizers[made_by]()
        gradients = [tf.ones_like(net.w), tf.ones_like(net.b)]
        if made_by == "sonnet":
            beside["real"].apply(gradients, [net.w, net.b])
        else:
            beside["real"].apply_gradients(zip(gradients, [net.w, net.b], strict=True))
    spec, source = opened(tf.train.Checkpoint(net=net, own=own, **beside).write(str(tmp_path / "ck")))
    source.close()
    floats = [variable for variable in spec.variables if variable.dtype == "float32"]
    theirs = {each.key for each in floats if each.key.startswith("real/") or "OPTIMIZER_SLOT" in each.key}
    assert bool(theirs) is (made_by != "none")
    assert {each.key for each in floats if each.kind != "weight"} == theirs
