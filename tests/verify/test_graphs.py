"""TF1 graphs and SavedModels, run from their files; files that bring code, refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ckptkit
from ckptkit import formats
from ckptkit.errors import CkptkitError, ModelError, NotFoundError, UnsupportedError, UsageError
from ckptkit.verification import Options, verify_runners
from ckptkit.verification.architecture import check_config
from ckptkit.verification.inputs import InputSpec
from ckptkit.verification.live_models import LiveRunner
from ckptkit.verification.opening import open_runner


@pytest.fixture
def runner(cpu):
    """Opens what a path holds as a runner."""

    def open_path(path, output=None):
        contents, source = formats.open_contents(str(path))
        source.close()
        with ckptkit.open(path) as checkpoint:
            return open_runner(checkpoint, contents, cpu, output)

    return open_path


@pytest.fixture
def tf1_network(fw, tmp_path):
    """A TF1 graph with dropout, embeddings and an optimizer, saved by a Saver; its prefix and its variables."""
    v1 = fw.tf.compat.v1
    with fw.tf.Graph().as_default():
        tokens = v1.placeholder(fw.tf.int32, [None, 6], name="tokens")
        keep = v1.placeholder(fw.tf.float32, [], name="keep_prob")
        table = v1.get_variable("embedding", [11, 5])
        x = fw.tf.reshape(v1.nn.embedding_lookup(table, tokens), [-1, 30])
        with v1.variable_scope("dense"):
            x = v1.nn.relu(v1.matmul(x, v1.get_variable("kernel", [30, 8])) + v1.get_variable("bias", [8]))
        x = v1.nn.dropout(x, keep_prob=keep)
        with v1.variable_scope("out"):
            logits = v1.matmul(x, v1.get_variable("kernel", [8, 3]), name="logits")
        loss = fw.tf.reduce_mean(logits**2, name="loss")
        v1.train.AdamOptimizer().minimize(loss)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            prefix = v1.train.Saver().save(session, str(tmp_path / "net"))
            values = dict(
                zip([v.op.name for v in v1.global_variables()], session.run(v1.global_variables()), strict=True)
            )
    return prefix, values


def keras_twin(fw, values):
    keras = fw.keras
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Embedding(11, 5, name="table")(inputs))
    x = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, use_bias=False, name="head")(x))
    model.get_layer("table").set_weights([values["embedding"]])
    model.get_layer("hidden").set_weights([values["dense/kernel"], values["dense/bias"]])
    model.get_layer("head").set_weights([values["out/kernel"]])
    return model


@pytest.mark.parametrize("emulate", [False, True], ids=["float32", "tpu"])
def test_a_tf1_graph_against_keras(fw, cpu, runner, tf1_network, emulate) -> None:
    prefix, values = tf1_network
    graph = runner(prefix, "out/logits")
    assert [(spec.name, spec.limit) for spec in graph.inputs] == [("tokens", 11)]
    model = keras_twin(fw, values)
    assert verify_runners(graph, LiveRunner(model, "k", cpu), Options(emulate_tpu=emulate)).passed
    model.get_layer("head").kernel.assign(values["out/kernel"] * 1.5)
    failed = verify_runners(graph, LiveRunner(model, "k", cpu), Options(emulate_tpu=emulate, layers=True))
    assert not failed.passed
    assert any("--src-model" in note for note in failed.notes)


@pytest.mark.parametrize("inside", ["net.index", "net.data-00000-of-00001", "net.meta", "checkpoint", ""])
def test_every_spelling_of_a_graph_runs(runner, tf1_network, tmp_path, inside) -> None:
    moved = tmp_path / "my.data-v2"
    moved.mkdir()
    for file in tmp_path.iterdir():
        if file.is_file():
            file.rename(moved / file.name)
    for path in (f"{moved}/{inside}", f"file://{moved}/{inside}"):
        assert [spec.name for spec in runner(path, "out/logits").inputs] == ["tokens"]


def test_every_spelling_of_a_saved_model_and_of_a_file_runs(fw, cpu, runner, tmp_path) -> None:
    keras = fw.tf_keras
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh")])
    folder = tmp_path / "my.data-v2"
    fw.tf.saved_model.save(model, str(folder))
    model.save(str(tmp_path / "m.h5"))
    inside = ("", "/", "/saved_model.pb", "/variables", "/variables/variables", "/variables/variables.index")
    paths = [f"{folder}{name}" for name in (*inside, "/variables/variables.data-00000-of-00001")]
    for path in (*paths, *(f"file://{path}" for path in paths), f"file://{tmp_path}/m.h5"):
        assert verify_runners(runner(path), LiveRunner(model, "k", cpu), Options()).passed, path


def test_the_output_is_found_when_there_is_one_and_asked_for_otherwise(runner, tf1_network) -> None:
    prefix, _ = tf1_network
    assert runner(prefix).outputs == ("loss",)
    with pytest.raises(NotFoundError, match="out/logits"):
        runner(prefix, "out/logit")


def test_a_graph_that_touches_files_is_refused(fw, runner, tmp_path) -> None:
    v1 = fw.tf.compat.v1
    with fw.tf.Graph().as_default():
        x = v1.placeholder(fw.tf.float32, [None, 2], name="x")
        w = v1.get_variable("w", [2])
        with fw.tf.control_dependencies([fw.tf.io.write_file(str(tmp_path / "pwned"), "x")]):
            v1.identity(x * w, name="y")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            prefix = v1.train.Saver().save(session, str(tmp_path / "net"))
    with pytest.raises(UnsupportedError, match="WriteFile"):
        runner(prefix, "y")
    assert not (tmp_path / "pwned").exists()


def test_a_saved_model_against_its_keras_model(fw, cpu, runner, tmp_path) -> None:
    keras = fw.tf_keras
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)])
    fw.tf.saved_model.save(model, str(tmp_path / "sm"))
    saved = runner(tmp_path / "sm")
    assert verify_runners(saved, LiveRunner(model, "k", cpu), Options()).passed
    model.layers[-1].set_weights([w * 1.5 for w in model.layers[-1].get_weights()])
    assert not verify_runners(saved, LiveRunner(model, "k", cpu), Options()).passed


@pytest.mark.parametrize(
    ("framework", "name"), [("keras", "m.keras"), ("keras", "m.h5"), ("tf_keras", "m.h5"), ("tf_keras", "m.keras")]
)
def test_whole_keras_files(fw, cpu, runner, tmp_path, framework, name) -> None:
    K = getattr(fw, framework)
    model = K.Sequential([K.Input((4,)), K.layers.Dense(3, activation="tanh"), K.layers.Dense(2)])
    model.save(str(tmp_path / name))
    assert verify_runners(runner(tmp_path / name), LiveRunner(model, "k", cpu), Options()).passed


def test_weights_alone_ask_for_a_model(fw, runner, tmp_path) -> None:
    model = fw.keras.Sequential([fw.keras.Input((4,)), fw.keras.layers.Dense(3)])
    model.save_weights(str(tmp_path / "m.weights.h5"))
    with pytest.raises(UsageError, match="--src-model"):
        runner(tmp_path / "m.weights.h5")


def test_a_lambda_in_a_file_is_not_run(fw, runner, tmp_path) -> None:
    K = fw.tf_keras
    model = K.Sequential([K.Input((4,)), K.layers.Dense(3), K.layers.Lambda(lambda x: x * 2)])
    model.save(str(tmp_path / "m.h5"))
    with pytest.raises(UnsupportedError, match="Lambda"):
        runner(tmp_path / "m.h5")


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "system", "module": "os", "config": {}},
        {"class_name": "Net", "registered_name": "mine>Net", "module": None},
        {"class_name": "__lambda__", "config": {"value": ["abc", None, None]}},
        {"layers": [{"config": {"fn": {"class_name": "function", "module": "builtins", "config": "eval"}}}]},
        {"class_name": "X", "module": "kerasly.evil"},
    ],
)
def test_a_configuration_names_nothing_but_keras(config) -> None:
    with pytest.raises(UnsupportedError):
        check_config({"config": {"layers": [config]}}, "m.keras")


def test_a_deep_configuration_is_walked_without_recursion() -> None:
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": [deep]}
    check_config(deep, "m.keras")


def test_results_are_strict_json(fw, cpu, tmp_path) -> None:
    K = fw.keras
    a = K.Sequential([K.Input((4,)), K.layers.Dense(3)])
    b = K.Sequential([K.Input((4,)), K.layers.Dense(3)])
    b.layers[0].set_weights([np.full((4, 3), np.nan, "f"), np.zeros(3, "f")])
    result = verify_runners(LiveRunner(a, "a", cpu), LiveRunner(b, "b", cpu), Options(layers=True))
    assert not result.passed
    text = json.dumps(result.to_json(), allow_nan=False)
    assert json.loads(text)["outputs"][0]["max_abs"] == "nan"


def test_errors_are_one_line(fw, cpu) -> None:
    K = fw.keras

    class Broken(K.Model):
        def call(self, x):
            raise ValueError("first\nsecond")

    with pytest.raises(CkptkitError) as caught:
        LiveRunner(Broken(), "net", cpu, [InputSpec("x", (None, 3), "float32")])
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ModelError)
