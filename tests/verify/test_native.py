"""Files of weights go through the loader of the model's own framework; ckptkit's matching only where that is asked for."""

from __future__ import annotations

import json
import textwrap

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import ModelError, UsageError
from tests.verify.models import scramble

NETS = """
    import keras
    import sonnet as snt
    import tensorflow as tf
    import tf_keras


    def functional(K):
        L = K.layers
        inputs = K.Input((6,))
        hidden = L.BatchNormalization(name="norm")(L.Dense(7, activation="tanh", name="body")(inputs))
        return K.Model(inputs, L.Dense(5, name="head")(hidden))


    def keras_net():
        return functional(keras)


    def tf_keras_net():
        return functional(tf_keras)


    class Exchanged(keras.Model):
        # Attributes in another order than calls, all of one shape: the order of creation says nothing.
        def __init__(self):
            super().__init__()
            for name in ("entry", "middle", "neck", "exit"):
                setattr(self, name, keras.layers.Dense(6, activation="tanh"))

        def call(self, x):
            return self.exit(self.neck(self.middle(self.entry(x))))


    def exchanged():
        net = Exchanged()
        net(tf.zeros((1, 6)))
        return net


    class Linear(snt.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = snt.Linear(7), snt.Linear(5)

        def __call__(self, x):
            return self.head(tf.tanh(self.body(x)))


    def sonnet_net():
        return Linear()


    class Plain(tf.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = tf.Variable(tf.zeros((6, 7)), name="body/w"), tf.Variable(tf.zeros((7, 5)), name="head/w")

        @tf.function(input_signature=[tf.TensorSpec([None, 6])])
        def __call__(self, x):
            return tf.matmul(tf.tanh(tf.matmul(x, self.body)), self.head)


    def plain():
        return Plain()
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """The user's module, and its path with a colon to put a name behind."""
    path = tmp_path_factory.mktemp("nets") / "nets_of_native.py"
    path.write_text(textwrap.dedent(NETS))
    from ckptkit.references import load_reference

    return lambda name: load_reference(f"{path}:{name}"), f"{path}:"


KERAS_FILES = {
    "weights.h5": lambda fw, m, p: m.save_weights(p),
    "archive.keras": lambda fw, m, p: m.save(p),
    "whole.h5": lambda fw, m, p: m.save(p),
    "root": lambda fw, m, p: fw.tf.train.Checkpoint(m).write(p),
    "model": lambda fw, m, p: fw.tf.train.Checkpoint(model=m).write(p),
    "named": lambda fw, m, p: fw.tf.train.Checkpoint(step=fw.tf.Variable(3), actor=m).write(p),
}


@pytest.mark.parametrize("kind", list(KERAS_FILES))
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_what_keras_writes_keras_loads(fw, tmp_path, nets, framework, kind) -> None:
    make, place = nets
    model = scramble(make(f"{framework}_net"), 0)
    model.save(str(tmp_path / "reference.keras"))
    name = f"m.{kind}" if kind == "weights.h5" else kind
    KERAS_FILES[kind](fw, model, str(tmp_path / name))
    result = ckptkit.verify(tmp_path / "reference.keras", tmp_path / name, dst_model=f"{place}{framework}_net")
    assert result.complete
    assert result.pairing_proven
    loader = "load_weights" if "." in kind else "tf.train.Checkpoint"
    assert loader in result.loaded_by[1], result.loaded_by
    model.get_layer("head").kernel.assign(model.get_layer("head").kernel * 1.01)
    KERAS_FILES[kind](fw, model, str(tmp_path / name))
    assert not ckptkit.verify(tmp_path / "reference.keras", tmp_path / name, dst_model=f"{place}{framework}_net").passed


def test_a_move_that_exchanges_layers_is_not_verified_by_the_same_exchange(fw, tmp_path, nets) -> None:
    make, place = nets
    model = make("exchanged")
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.normal(size=variable.shape) * 0.4)
    fw.tf.train.Checkpoint(model=model).write(str(tmp_path / "trained"))
    reference = f"{place}exchanged"
    model.save_weights(str(tmp_path / "right.weights.h5"))
    values = model.get_weights()
    model.set_weights([*values[4:6], *values[2:4], *values[0:2], *values[6:]])
    model.save_weights(str(tmp_path / "wrong.weights.h5"))
    paths = {name: tmp_path / f"{name}.weights.h5" for name in ("right", "wrong")}
    good = ckptkit.verify(tmp_path / "trained", paths["right"], src_model=reference, dst_model=reference)
    assert good.complete
    assert good.loaded_by == ("tf.train.Checkpoint(model=model).read", "keras Model.load_weights")
    assert not ckptkit.verify(tmp_path / "trained", paths["wrong"], src_model=reference, dst_model=reference).passed


def test_a_lazy_sonnet_module_takes_the_inputs_of_the_other_side(fw, tmp_path, nets) -> None:
    make, place = nets
    net = make("sonnet_net")
    net(fw.tf.zeros((1, 6)))
    scramble(net, 0)
    fw.tf.train.Checkpoint(module=net).write(str(tmp_path / "sonnet"))
    inputs = fw.keras.Input((6,))
    L = fw.keras.layers
    model = fw.keras.Model(inputs, L.Dense(5)(L.Dense(7, activation="tanh")(inputs)))
    model.set_weights([value.numpy() for value in (net.body.w, net.body.b, net.head.w, net.head.b)])
    model.save(str(tmp_path / "k.keras"))
    forth = ckptkit.verify(tmp_path / "sonnet", tmp_path / "k.keras", src_model=f"{place}sonnet_net")
    back = ckptkit.verify(tmp_path / "k.keras", tmp_path / "sonnet", dst_model=f"{place}sonnet_net")
    assert forth.complete
    assert back.complete
    assert forth.loaded_by == ("tf.train.Checkpoint(module=model).read", "keras load_model")
    with pytest.raises(ModelError, match="no variables yet.*--inputs"):
        ckptkit.verify(
            tmp_path / "sonnet", tmp_path / "sonnet", src_model=f"{place}sonnet_net", dst_model=f"{place}sonnet_net"
        )


def test_a_file_of_another_framework_needs_the_matching_and_says_what_that_proves(fw, tmp_path, nets, run_cli) -> None:
    _, place = nets
    inputs = fw.keras.Input((6,))
    L = fw.keras.layers
    model = fw.keras.Model(inputs, L.Dense(5, name="head")(L.Dense(7, activation="tanh", name="body")(inputs)))
    path = tmp_path / "k.keras"
    model.save(str(path))
    with pytest.raises(ModelError, match=r"no loader of the model's own framework.*--dst-load match"):
        ckptkit.verify(path, path, dst_model=f"{place}sonnet_net")
    result = ckptkit.verify(path, path, dst_model=f"{place}sonnet_net", dst_load="match")
    assert result.passed
    assert not result.pairing_proven
    assert result.to_json()["loaded_by"] == {"source": "keras load_model", "destination": "ckptkit's matching"}
    page = run_cli("verify", path, path, "--dst-model", f"{place}sonnet_net", "--dst-load", "match")
    assert page.returncode == 0
    assert "the pairing of weights itself is not proven" in page.stdout
    with pytest.raises(UsageError, match="--src-load: no such way to load: expected native or match"):
        ckptkit.verify(path, path, src_load="guess")


def test_what_the_loader_leaves_out_is_not_loaded(fw, tmp_path, nets) -> None:
    """Keras 3 takes the first Dense of a file for the first of the model, and says nothing of what is left in the file."""
    _, place = nets
    L = fw.keras.layers
    inputs = fw.keras.Input((6,))
    hidden = L.BatchNormalization()(L.Dense(7)(inputs))
    larger = fw.keras.Model(inputs, L.Dense(4)(L.Dense(5)(hidden)))
    larger.save_weights(str(tmp_path / "larger.weights.h5"))
    with pytest.raises(ModelError, match="2 weights of the file have no place in the model"):
        ckptkit.verify(
            tmp_path / "larger.weights.h5", tmp_path / "larger.weights.h5", src_model=f"{place}keras_net",
            dst_model=f"{place}keras_net",
        )  # fmt: skip


@pytest.mark.parametrize("side", ["source", "destination"])
def test_weights_that_the_model_has_no_place_for_are_named(fw, tmp_path, nets, run_cli, side) -> None:
    """A TensorFlow checkpoint may hold more than is read from it: no run says anything of that."""
    make, place = nets
    net = scramble(make("plain"), 0)
    root, more = {"module": net}, {"adapter": fw.tf.Variable([[1.0, 2.0]], name="adapter/w")}
    fw.tf.train.Checkpoint(**root).write(str(tmp_path / "lean"))
    fw.tf.train.Checkpoint(**root, **more).write(str(tmp_path / "rich"))
    names = ("rich", "lean") if side == "source" else ("lean", "rich")
    models = {"src_model": f"{place}plain", "dst_model": f"{place}plain"}
    result = ckptkit.verify(*(tmp_path / name for name in names), **models)
    assert result.passed
    assert not result.complete
    assert [(each.side, each.shape, each.reached) for each in result.coverage.untested] == [(side, (1, 2), 0.0)]
    assert "adapter" in result.untested[0]
    options = [f"--{option.replace('_', '-')}={value}" for option, value in models.items()]
    paths = [str(tmp_path / name) for name in names]
    done = run_cli("verify", *paths, *options, "--strict")
    assert (done.returncode, "PASS, 1 of 3" in done.stdout) == (1, True)
    assert ckptkit.verify(tmp_path / "lean", tmp_path / "lean", **models).complete


def test_a_checkpoint_of_two_such_models_is_not_guessed_at(fw, tmp_path, nets) -> None:
    make, place = nets
    online, target = (scramble(make("keras_net"), seed) for seed in (0, 1))
    fw.tf.train.Checkpoint(online=online, target=target).write(str(tmp_path / "both"))
    online.save(str(tmp_path / "online.keras"))
    with pytest.raises(ModelError, match="several such models: .*online=model.*target=model"):
        ckptkit.verify(tmp_path / "online.keras", tmp_path / "both", dst_model=f"{place}keras_net")


def test_variables_of_a_tf1_checkpoint_are_found_by_their_names(fw, tmp_path, nets) -> None:
    v1, tf = fw.tf.compat.v1, fw.tf
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        body, head = v1.get_variable("body/w", [6, 7]), v1.get_variable("head/w", [7, 5])
        v1.matmul(tf.tanh(v1.matmul(x, body)), head, name="y")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            prefix = v1.train.Saver().save(session, str(tmp_path / "graph"))
    _, place = nets
    result = ckptkit.verify(prefix, prefix, src_output="y", dst_model=f"{place}plain")
    assert result.complete
    assert "names of the graph's variables" in result.loaded_by[0]
    json.dumps(result.to_json(), allow_nan=False)


def test_a_model_keeps_its_values_when_no_loader_takes_the_file(fw, tmp_path, nets) -> None:
    from ckptkit.api.open import bind
    from ckptkit.formats.locate import locate
    from ckptkit.verification.native import NotNativeError, load_native

    make, _ = nets
    other = fw.keras.Sequential([fw.keras.Input((3,)), fw.keras.layers.Dense(2)])
    fw.tf.train.Checkpoint(model=other).write(str(tmp_path / "other"))
    model = scramble(make("keras_net"), 0)
    before = model.get_weights()
    location = locate(tmp_path / "other")
    contents, tensors = location.open()
    with bind(contents, tensors, location) as checkpoint, pytest.raises(NotNativeError) as caught:
        load_native(model, checkpoint, contents, location.at.text)
    assert len(caught.value.tried) == 3
    assert all(np.array_equal(x, y) for x, y in zip(before, model.get_weights(), strict=True))
