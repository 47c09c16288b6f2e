"""`ckptkit.load_into`: a checkpoint of any format straight into a live model, all or nothing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit import convert
from ckptkit.api.load_into import MATCHING
from ckptkit.errors import CkptkitError, ModelError, RefusedError
from tests.moves.architectures import made, stack
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize, towers


def module(fw: Any, sizes: tuple[int, ...] = (6, 7, 5)) -> Model:
    """A plain tf.Module that computes what Dense layers do."""
    tf = fw.tf

    class Linear(tf.Module):
        def __init__(self, inputs: int, units: int) -> None:
            super().__init__()
            self.kernel = tf.Variable(tf.zeros((inputs, units)), name="kernel")
            self.bias = tf.Variable(tf.zeros((units,)), name="bias")

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [Linear(one, other) for one, other in itertools.pairwise(sizes)]

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = tf.tanh(tf.matmul(x, layer.kernel) + layer.bias)
            return x

    return Model("tf.Module", Net(), (sizes[0],))


def sonnet_module(fw: Any, sizes: tuple[int, ...] = (6, 7, 5)) -> Model:
    net = fw.snt.nets.MLP(sizes[1:], activation=fw.tf.tanh, activate_final=True)
    model = Model("sonnet", net, (sizes[0],))
    model.run(batch(model))
    return model


def model_of(fw: Any, framework: str) -> Model:
    if framework == "tf.Module":
        return module(fw)
    return sonnet_module(fw) if framework == "sonnet" else stack(fw, framework, [(None, 7), (None, 5)])


CONTAINER = {"keras": "weights.h5", "tf_keras": "weights", "sonnet": "checkpoint", "tf.Module": "checkpoint"}
FRAMEWORKS = list(CONTAINER)


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_between_frameworks(fw, mover, source, target):
    one, other = model_of(fw, source), model_of(fw, target)
    randomize(one.variables(), 1)
    randomize(other.variables(), 2)
    sample = batch(one)
    assert_differ(other.run(sample), one.run(sample))
    done = ckptkit.load_into(other.live, mover.save(one, CONTAINER[source]))
    assert_agree(other.run(sample), one.run(sample))
    assert len(done.loaded) == 4
    assert not done.kept or all("counter" in name or "OBJECT_GRAPH" in name for name in done.kept)
    assert done.left == ()


@pytest.mark.parametrize("kind", ["cnn", "rnn", "bidirectional", "nested"])
@pytest.mark.parametrize("frameworks", [("keras", "tf_keras"), ("tf_keras", "keras")])
def test_larger_models_on_other_numbers_of_inputs(fw, mover, kind, frameworks):
    source, target = made(fw, frameworks[0], kind, 1), made(fw, frameworks[1], kind, 2)
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    sample = batch(source)
    ckptkit.load_into(target.live, mover.save(source, "checkpoint"))
    for tower in towers(target.run(sample), 2):
        assert_agree(tower, source.run(sample))


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_from_formats_of_no_framework(fw, mover, ending):
    source, target = stack(fw, "keras", [("a", 7), ("b", 5)]), stack(fw, "tf_keras", [("a", 7), ("b", 5)])
    randomize(source.variables(), 1)
    path = mover.path(ending)
    convert(mover.save(source, "weights.h5"), path)
    ckptkit.load_into(target.live, path)
    assert_agree(target.run(batch(source)), source.run(batch(source)))


def values(model: Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.variables()]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("wrong", [[("a", 8), ("b", 5)], [("a", 7)], [("a", 7), ("b", 5), ("c", 5)]], ids=str)
def test_nothing_changes_after_a_refusal(fw, mover, framework, wrong):
    source, target = stack(fw, "keras", wrong), model_of(fw, framework)
    randomize(target.variables(), 2)
    before = values(target)
    path = mover.save(source, "weights.h5")
    with pytest.raises(RefusedError):
        ckptkit.load_into(target.live, path)
    assert all(np.array_equal(one, other) for one, other in zip(before, values(target), strict=True))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_changes_when_the_file_is_damaged(fw, mover, framework):
    source, target = stack(fw, "keras", [("a", 7), ("b", 5)]), model_of(fw, framework)
    randomize(target.variables(), 2)
    before = values(target)
    path = mover.save(source, "checkpoint")
    data = f"{path}.data-00000-of-00001"
    with open(data, "r+b") as file:
        file.seek(-3, 2)
        file.write(b"\x55\xaa\x55")
    with pytest.raises(CkptkitError):
        ckptkit.load_into(target.live, path)
    assert all(np.array_equal(one, other) for one, other in zip(before, values(target), strict=True))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_part_that_may_be_missing_keeps_its_values(fw, mover, framework):
    source, target = stack(fw, "keras", [("a", 7)]), model_of(fw, framework)
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    before = {id(variable): variable.numpy() for variable in target.variables()}
    done = ckptkit.load_into(target.live, mover.save(source, "weights.h5"), allow_missing=True)
    assert len(done.loaded) == 2
    for variable in target.variables():
        changed = tuple(variable.shape) in ((6, 7), (7,))
        assert np.array_equal(variable.numpy(), before[id(variable)]) != changed


def test_what_is_left_over_is_returned(fw, mover):
    source, target = stack(fw, "keras", [("a", 7), ("b", 5), ("c", 4)]), stack(fw, "tf_keras", [("a", 7), ("b", 5)])
    done = ckptkit.load_into(target.live, mover.save(source, "weights.h5"), allow_unexpected=True)
    assert set(done.left) == {"c/kernel", "c/bias"}


def test_a_compiled_model_keeps_its_optimizer(fw, mover):
    source, target = stack(fw, "keras", [("a", 7), ("b", 5)]), stack(fw, "keras", [("a", 7), ("b", 5)])
    target.live.compile(optimizer="adam", loss="mse")
    sample = batch(target, rows=8)
    target.live.fit(sample, np.zeros((8, 5), "float32"), verbose=0)
    state = [variable.numpy() for variable in target.live.optimizer.variables]
    ckptkit.load_into(target.live, mover.save(source, "weights.h5"))
    assert_agree(target.run(sample), source.run(sample))
    after = [variable.numpy() for variable in target.live.optimizer.variables]
    assert all(np.array_equal(one, other) for one, other in zip(state, after, strict=True))


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_what_a_normalisation_made_of_its_variables_follows_them(fw, tmp_path, framework):
    keras = getattr(fw, framework)

    def build(shift):
        norm = keras.layers.Normalization()
        norm.adapt(np.random.default_rng(0).normal(shift, 2, size=(20, 3)).astype("float32"))
        return keras.Sequential([keras.Input((3,)), norm, keras.layers.Dense(2)])

    first, second = build(1.0), build(7.0)
    inputs = np.ones((1, 3), "float32")
    fw.tf.train.Checkpoint(model=first).write(str(tmp_path / "ck"))
    ckptkit.load_into(second, tmp_path / "ck")
    assert np.allclose(second(inputs), first(inputs))


@pytest.mark.parametrize("framework", ["keras", "tf_keras", "sonnet"])
def test_a_model_without_variables_is_told_to_be_built(fw, mover, framework):
    path = mover.save(stack(fw, "keras", [("a", 7)]), "weights.h5")
    if framework == "sonnet":
        live = fw.snt.Linear(7)
    else:
        k = getattr(fw, framework)
        live = k.Sequential([k.layers.Dense(7)])
    with pytest.raises(ModelError, match="no variables yet.*call it once"):
        ckptkit.load_into(live, path)


def test_what_is_no_model_is_refused(fw, mover):
    path = mover.save(stack(fw, "keras", [("a", 7)]), "weights.h5")
    with pytest.raises(ModelError, match=r"not a model: expected a Keras, .* object, found dict"):
        ckptkit.load_into({}, path)


def test_subclassed_models_of_both_generations(fw, mover):
    """Layers are attributes, made in another order than they are called."""

    def subclass(k: Any) -> Any:
        class Net(k.Model):
            def __init__(self) -> None:
                super().__init__()
                self.head = k.layers.Dense(5, name="head")
                self.body = k.layers.Dense(7, activation="tanh", name="body")
                self.norm = k.layers.BatchNormalization(name="norm")

            def call(self, x: Any, training: bool = False) -> Any:
                return self.head(self.norm(self.body(x), training=training))

        return Net()

    models = [Model(name, subclass(getattr(fw, name)), (6,)) for name in ("keras", "tf_keras")]
    sample = batch(models[0])
    for model in models:
        model.run(sample)
    for one, other in (models, models[::-1]):
        randomize(one.variables(), 1)
        randomize(other.variables(), 2)
        for container in ("weights.h5", "checkpoint"):
            ckptkit.load_into(other.live, mover.save(one, container))
            assert_agree(other.run(sample), one.run(sample))
            randomize(other.variables(), 3)


def test_a_model_whose_saver_loses_variables_is_refused(fw, mover):
    """`tf.train.Checkpoint` does not see what a Keras 3 layer keeps in a list: it would silently stay as it is."""
    k = fw.keras

    class Block(k.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [k.layers.Dense(7), {"top": k.layers.Dense(5)}]

        def build(self, shape: Any) -> None:
            self.parts[0].build((None, 6))
            self.parts[1]["top"].build((None, 7))

    block = Block()
    block.build((None, 6))
    path = mover.save(stack(fw, "keras", [("a", 7), ("b", 5)]), "weights.h5")
    for options in ({}, {"allow_unexpected": True, "allow_missing": True}):
        with pytest.raises(ModelError, match="its own saver leaves out 4 of the model's 4 variables"):
            ckptkit.load_into(block, path, **options)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("container", ["own", "checkpoint"])
def test_a_models_own_file_goes_through_its_own_loader(fw, mover, framework, container):
    """And gives what matching gives."""

    def make() -> Model:
        return stack(fw, framework, [("a", 7), ("b", 5)]) if "keras" in framework else model_of(fw, framework)

    source, target, matched = make(), make(), make()
    for seed, model in enumerate((source, target, matched)):
        randomize(model.variables(), seed)
    path = mover.save(source, CONTAINER[framework] if container == "own" else "checkpoint")
    done = ckptkit.load_into(target.live, path)
    assert done.loaded_by != MATCHING
    assert len(done.loaded) == 4
    assert done.left == ()
    assert ckptkit.load_into(matched.live, path, fan_out=True).loaded_by == MATCHING
    for ours, theirs, other in zip(source.variables(), target.variables(), matched.variables(), strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy())
        assert np.array_equal(ours.numpy(), other.numpy())


def test_another_models_file_is_matched_though_keras_would_take_it(fw, mover):
    """Keras 3 loads by the classes of layers, whatever these are called."""
    source, target = stack(fw, "keras", [("a", 6), ("b", 6)]), stack(fw, "keras", [("c", 6), ("d", 6)])
    randomize(source.variables(), 1)
    done = ckptkit.load_into(target.live, mover.save(source, "weights.h5"))
    assert done.loaded_by == MATCHING


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_refusal_speaks_of_the_model(fw, mover, framework):
    """Not of the temporary file through which its weights go."""
    path = mover.save(stack(fw, "keras", [("a", 7)]), "weights.h5")
    with pytest.raises(RefusedError, match=r"^the model wants .*\[7, 5\]") as raised:
        ckptkit.load_into(model_of(fw, framework).live, path)
    assert "template" not in str(raised.value)


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_one_of_two_copies_is_asked_for(fw, tmp_path, framework):
    rng = np.random.default_rng(8)
    layers = {"a/kernel": (6, 6), "a/bias": (6,), "b/kernel": (6, 6), "b/bias": (6,)}
    values = {
        f"{scope}/{name}": rng.normal(size=shape) for scope in ("Online", "Target") for name, shape in layers.items()
    }
    path = tmp_path / "agent.npz"
    np.savez(path, **{name: value.astype("float32") for name, value in values.items()})
    target = stack(fw, framework, [("a", 6), ("b", 6)])
    with pytest.raises(RefusedError, match="--source-scope Online or --source-scope Target"):
        ckptkit.load_into(target.live, path, allow_unexpected=True)
    ckptkit.load_into(target.live, path, source_scope="Target")
    found = [weight.numpy() for layer in target.live.layers for weight in layer.weights]
    for weight, name in zip(found, layers, strict=True):
        assert np.allclose(weight, values[f"Target/{name}"])
    ckptkit.load_into(target.live, path, source_scope="Online", pairs={"a": "b", "b": "a"})
    found = [weight.numpy() for layer in target.live.layers for weight in layer.weights]
    for weight, name in zip(found, ("b/kernel", "b/bias", "a/kernel", "a/bias"), strict=True):
        assert np.allclose(weight, values[f"Online/{name}"])
