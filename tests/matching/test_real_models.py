"""Checkpoints that the real frameworks wrote: every pair is checked by content.

Each variable is filled with a constant that says which layer, counted as the model's author lists them, it belongs
to; a pair is right when both sides hold the same constant.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptkit import canonical, formats
from ckptkit.conventions import read_forms
from ckptkit.matching import match
from ckptkit.matching.result import Match
from ckptkit.model import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # saving in old formats warns, in both frameworks

Build = Callable[[Any, int], tuple[Any, Sequence[Any]]]


@pytest.fixture(scope="module")
def frameworks() -> dict[str, Any]:
    import keras
    import tf_keras

    return {"keras": keras, "tf_keras": tf_keras}


def opened(path: Path) -> Checkpoint:
    contents, source = formats.open_contents(str(path))
    return Checkpoint(read_forms(canonical.build(contents, str(path)).with_flow()), source)


def fill(layers: Sequence[Any]) -> None:
    for place, layer in enumerate(layers):
        layer.set_weights([np.full_like(w, 1 + 16 * place + i) for i, w in enumerate(layer.get_weights())])


def check(found: Match, a: Checkpoint, b: Checkpoint) -> None:
    """Every pair holds the same constants, in whatever layout."""
    assert found.pairs
    for pair in found.pairs:
        constants = [{float(x) for name in names for x in np.unique(side[name].read())}
                     for side, names in ((a, pair.source), (b, pair.target))]  # fmt: skip
        assert constants[0] == constants[1], pair
        assert "order disagrees" not in " ".join(pair.evidence)


def on_inputs(keras: Any, count: int, shape: tuple[int, ...], apply: Callable[[Any], Any]) -> Any:
    inputs = [keras.Input(shape) for _ in range(count)]
    outputs = [apply(x) for x in inputs]
    return keras.Model(inputs, outputs[0] if count == 1 else keras.layers.Concatenate()(outputs))


def chain(layers: Sequence[Any]) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return apply


def mlp(keras: Any, inputs: int) -> tuple[Any, Sequence[Any]]:
    """All hidden layers of one shape: nothing but order tells them apart."""
    layers = [keras.layers.Dense(8, activation="relu") for _ in range(12)] + [keras.layers.Dense(5)]
    return on_inputs(keras, inputs, (8,), chain(layers)), layers


def cnn(keras: Any, inputs: int) -> tuple[Any, Sequence[Any]]:
    make = keras.layers
    layers = []
    for _ in range(3):
        layers += [make.Conv2D(3, 3, padding="same"), make.BatchNormalization(), make.ReLU()]
    layers += [make.Flatten(), make.Dense(4)]
    return on_inputs(keras, inputs, (4, 4, 3), chain(layers)), layers


def rnn(keras: Any, inputs: int) -> tuple[Any, Sequence[Any]]:
    make = keras.layers
    layers = [
        make.Embedding(20, 6),
        make.Bidirectional(make.LSTM(3, return_sequences=True)),
        make.Bidirectional(make.LSTM(3, return_sequences=True)),
        make.GRU(6, return_sequences=True),
        make.GRU(6),
        make.Dense(3),
    ]
    return on_inputs(keras, inputs, (5,), chain(layers)), layers


def resnet(keras: Any, inputs: int) -> tuple[Any, Sequence[Any]]:
    """Residual blocks with projections, whose branches interleave in the order of a functional model's layers."""
    make = keras.layers
    layers: list[Any] = []

    def block(filters: int) -> Callable[[Any], Any]:
        convs = [make.Conv2D(filters, size, padding="same") for size in (3, 3, 1)]
        norms = [make.BatchNormalization() for _ in convs]
        activation, add = make.ReLU(), make.Add()
        layers.extend(itertools.chain.from_iterable(zip(convs, norms, strict=True)))

        def apply(x: Any) -> Any:
            main = norms[1](convs[1](activation(norms[0](convs[0](x)))))
            return add([main, norms[2](convs[2](x))])

        return apply

    steps: list[Any] = [block(filters) for filters in (4, 4, 8, 8)]
    head = make.Dense(5)
    steps += [make.GlobalAveragePooling2D(), head]
    return on_inputs(keras, inputs, (8, 8, 3), chain(steps)), [*layers, head]


def nested(keras: Any, inputs: int) -> tuple[Any, Sequence[Any]]:
    """The same layers as `mlp`, the middle ones in a model of their own."""
    layers = [keras.layers.Dense(8, activation="relu") for _ in range(12)] + [keras.layers.Dense(5)]
    x = keras.Input((8,))
    inner = keras.Model(x, chain(layers[3:9])(x), name="tower")
    return on_inputs(keras, inputs, (8,), chain([*layers[:3], inner, *layers[9:]])), layers


@dataclass(frozen=True)
class Saved:
    framework: str
    inputs: int
    checkpoint: Checkpoint


def saved(frameworks: dict[str, Any], build: Build, folder: Path) -> Iterator[Saved]:
    for (name, keras), inputs in itertools.product(frameworks.items(), (1, 2)):
        model, layers = build(keras, inputs)
        fill(layers)
        for suffix in ("h5", "weights.h5") if name == "keras" else ("h5", "keras"):
            path = folder / f"{build.__name__}_{name}_{inputs}.{suffix}"
            if suffix == "weights.h5":
                model.save_weights(path)
            else:
                model.save(path)
            yield Saved(name, inputs, opened(path))


@pytest.mark.parametrize("build", [mlp, cnn, rnn, resnet])
def test_single_and_multi_input_models_of_both_generations(frameworks, build: Build, tmp_path: Path) -> None:
    every = list(saved(frameworks, build, tmp_path))
    for one, other in itertools.permutations(every, 2):
        for by in ("auto", "order"):
            found = match(one.checkpoint.spec, other.checkpoint.spec, by=by)
            assert found.complete, (one, other, by)
            check(found, one.checkpoint, other.checkpoint)


def test_nested_and_flat(frameworks, tmp_path: Path) -> None:
    flat, inside = list(saved(frameworks, mlp, tmp_path)), list(saved(frameworks, nested, tmp_path))
    for one, other in itertools.product(flat, inside):
        for a, b in ((one, other), (other, one)):
            found = match(a.checkpoint.spec, b.checkpoint.spec, by="order")
            assert found.complete
            check(found, a.checkpoint, b.checkpoint)


def test_an_inserted_layer_of_equal_shape_is_never_guessed(frameworks, tmp_path: Path) -> None:
    keras = frameworks["keras"]
    for count in (3, 4):
        model, layers = mlp(keras, 1)
        model = on_inputs(keras, 1, (8,), chain([*layers[:count], layers[-1]]))
        model.save_weights(tmp_path / f"{count}.weights.h5")
    a, b = opened(tmp_path / "3.weights.h5"), opened(tmp_path / "4.weights.h5")
    found = match(a.spec, b.spec, by="order")
    assert [pair.target[0].rpartition("/")[2] for pair in found.pairs] == ["kernel", "bias"]
    (group,) = found.ambiguous
    assert (len(group.source), len(group.target)) == (6, 8)


def test_the_trap_of_numbers_within_a_class(frameworks, tmp_path: Path) -> None:
    """Keras itself loads these two into each other's places: layers made in another order than they are used."""
    keras = frameworks["keras"]
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        made = {place: keras.layers.Dense(8, name=f"given_{place}") for place in order}
        model = on_inputs(keras, 1, (8,), chain([made[0], made[1]]))
        fill([made[0], made[1]])
        model.save_weights(tmp_path / f"{name}.weights.h5")
    a, b = opened(tmp_path / "a.weights.h5"), opened(tmp_path / "b.weights.h5")
    for by in ("auto", "order", "scope"):
        check(match(a.spec, b.spec, by=by), a, b)


@pytest.fixture(scope="module")
def scopes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TF1 checkpoint with towers `feed_forward_x` and `feed_forward_y`, with and without a `.meta` beside it."""
    import tensorflow as tf

    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("scopes")
    with v1.Graph().as_default(), v1.Session() as session:
        for tower, place in (("x", 0), ("y", 2)):
            with v1.variable_scope(f"feed_forward_{tower}"):
                for i, name in enumerate(("dense_a", "dense_b")):
                    with v1.variable_scope(name):
                        base = 1.0 + 16 * (place + i)
                        v1.get_variable("kernel", (8, 8), initializer=v1.constant_initializer(base))
                        v1.get_variable("bias", (8,), initializer=v1.constant_initializer(base + 1))
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        saver.save(session, str(folder / "with_meta"))
        saver.save(session, str(folder / "without_meta"), write_meta_graph=False)
    return folder


@pytest.mark.parametrize("name", ["with_meta", "without_meta"])
def test_scopes_of_tensorflow_1_into_keras(frameworks, scopes: Path, name: str, tmp_path: Path) -> None:
    keras = frameworks["keras"]
    made = [keras.layers.Dense(8, name="dense_a"), keras.layers.Dense(8, name="dense_b")]
    model = on_inputs(keras, 1, (8,), chain(made))
    fill(made)
    model.save(tmp_path / "keras.h5")
    a, b = opened(scopes / f"{name}.index"), opened(tmp_path / "keras.h5")
    for by in ("auto", "scope", "order"):
        assert not match(a.spec, b.spec, by=by).complete
        assert not match(a.spec, b.spec, by=by).pairs
    for by in ("auto", "scope"):
        found = match(a.spec, b.spec, by=by, rename=["^feed_forward_x/="])
        assert not found.missing
        assert not found.ambiguous
        assert len(found.unexpected) == 4
        check(found, a, b)
    towers = match(a.spec, b.spec, by="scope", fan_out=True)
    assert towers.complete
    assert {len(pair.copies) for pair in towers.pairs} == {1}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TF1 checkpoints without a `.meta`: an encoder and a decoder with equal cells, and a stack of twelve cells."""
    import tensorflow as tf

    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("cells")
    with v1.Graph().as_default(), v1.Session() as session:
        embedding = v1.get_variable("embedding", (30, 8))
        steps = tf.unstack(tf.nn.embedding_lookup(embedding, v1.placeholder(tf.int32, (None, 3))), axis=1)
        with v1.variable_scope("encoder"):
            _, state = v1.nn.static_rnn(v1.nn.rnn_cell.GRUCell(8, name="cell"), steps, dtype=tf.float32)
        with v1.variable_scope("decoder"), v1.variable_scope("decoder"):
            outputs, _ = v1.nn.static_rnn(v1.nn.rnn_cell.GRUCell(8, name="cell"), steps, initial_state=state)
            v1.layers.Dense(30, use_bias=False, name="out_layer")(outputs[-1])
        v1.train.get_or_create_global_step()
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "seq2seq"), write_meta_graph=False)
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 3, 8))
        halves = (v1.nn.rnn_cell.LSTMCell(4), v1.nn.rnn_cell.LSTMCell(4))
        v1.nn.bidirectional_dynamic_rnn(*halves, x, dtype=tf.float32)
        stack = v1.nn.rnn_cell.MultiRNNCell([v1.nn.rnn_cell.BasicLSTMCell(8) for _ in range(12)])
        v1.nn.dynamic_rnn(stack, x, dtype=tf.float32, scope="stack")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "stack"), write_meta_graph=False)
    return folder


def layers_of(found: Match, a: Checkpoint, b: Checkpoint) -> dict[str, str]:
    """Target layer -> source layer."""
    return {b[pair.target[0]].layer: a[pair.source[0]].layer for pair in found.pairs}


def test_encoder_and_decoder_of_equal_cells(frameworks, cells: Path, tmp_path: Path) -> None:
    keras = frameworks["keras"]
    make = keras.layers
    words, targets = keras.Input((3,)), keras.Input((3,))
    embed = make.Embedding(30, 8, name="embedding")
    _, state = make.GRU(8, return_state=True, reset_after=False, name="encoder")(embed(words))
    decoded = make.GRU(8, reset_after=False, name="decoder")(embed(targets), initial_state=state)
    keras.Model([words, targets], make.Dense(30, use_bias=False, name="out_layer")(decoded)).save(tmp_path / "k.h5")
    a, b = opened(cells / "seq2seq.index"), opened(tmp_path / "k.h5")
    for by in ("auto", "scope", "order"):
        found = match(a.spec, b.spec, by=by)
        assert found.complete
        pairs = layers_of(found, a, b)
        assert pairs["encoder"].startswith("encoder/")
        assert pairs["decoder"].startswith("decoder/decoder/")
        assert pairs["out_layer"] == "decoder/decoder/out_layer"
        assert match(b.spec, a.spec, by=by).complete


def test_a_gru_that_resets_after_is_refused(frameworks, cells: Path, tmp_path: Path) -> None:
    keras = frameworks["keras"]
    on_inputs(keras, 1, (3, 8), chain([keras.layers.GRU(8, name="encoder")])).save(tmp_path / "k.h5")
    a, b = opened(cells / "seq2seq.index"), opened(tmp_path / "k.h5")
    for by in ("auto", "scope", "order"):
        found = match(a.spec, b.spec, by=by)
        assert not found.pairs
        assert len(found.missing) == 3


def test_halves_and_a_stack_of_cells(frameworks, cells: Path, tmp_path: Path) -> None:
    keras = frameworks["keras"]
    make = keras.layers
    layers = [make.Bidirectional(make.LSTM(4, return_sequences=True), name="both")]
    layers += [make.LSTM(8, return_sequences=True, name=f"own_{chr(97 + i)}") for i in range(12)]
    on_inputs(keras, 1, (3, 8), chain(layers)).save(tmp_path / "k.h5")
    a, b = opened(cells / "stack.index"), opened(tmp_path / "k.h5")
    found = match(a.spec, b.spec)
    own = {f"own_{chr(97 + i)}": f"cell_{i}" for i in range(12)}
    for target, source in layers_of(found, a, b).items():
        if target in own:
            assert source.split("/")[2] == own[target]


def test_sonnet_paths_into_keras(frameworks, tmp_path: Path) -> None:
    import sonnet as snt
    import tensorflow as tf

    keras = frameworks["keras"]
    module = snt.nets.MLP([8, 8, 8])
    module(tf.zeros((1, 8)))
    for i, variable in enumerate(
        sorted(module.variables, key=lambda v: (v.name.partition("/")[2].partition("/")[0], -len(v.shape)))
    ):
        variable.assign(tf.fill(variable.shape, float(1 + 16 * (i // 2) + i % 2)))
    prefix = tf.train.Checkpoint(module=module).write(str(tmp_path / "sonnet"))
    made = [keras.layers.Dense(8) for _ in range(3)]
    model = on_inputs(keras, 1, (8,), chain(made))
    fill(made)
    model.save_weights(tmp_path / "k.weights.h5")
    a, b = opened(Path(f"{prefix}.index")), opened(tmp_path / "k.weights.h5")
    for one, other in ((a, b), (b, a)):
        found = match(one.spec, other.spec)
        assert found.complete
        check(found, one, other)
