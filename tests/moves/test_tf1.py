"""`variable_scope`, tf.layers, partitions and slots: TensorFlow 1 to Keras and back."""

from __future__ import annotations

import numpy as np
import pytest

from ckptkit import plan, remap
from ckptkit.errors import RefusedError
from tests.moves.architectures import chain, on_inputs, stack
from tests.moves.graphs import Graph
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize, towers

IMAGE = (8, 8, 3)


def small_cnn(fw):
    """tf.layers with everything that has weights; trained with Adam, so that there are slots and counters."""

    def build():
        v1 = fw.v1
        images = x = v1.placeholder("float32", (None, *IMAGE))
        x = v1.layers.conv2d(x, 4, 3, activation="relu", name="conv_first")
        x = v1.layers.batch_normalization(x, training=False, name="norm")
        x = v1.layers.separable_conv2d(x, 6, 2, name="separable")
        x = v1.layers.conv2d_transpose(x, 5, 2, name="up")
        logits = v1.layers.dense(fw.tf.reduce_mean(x, (1, 2)), 3, name="head")
        v1.train.AdamOptimizer().minimize(fw.tf.reduce_sum(logits), global_step=v1.train.get_or_create_global_step())
        return [images], logits

    return Graph(fw, build)


def small_cnn_of_keras(fw, framework: str, inputs: int = 1) -> Model:
    k = getattr(fw, framework)
    make = k.layers
    layers = [
        make.Conv2D(4, 3, activation="relu"), make.BatchNormalization(), make.SeparableConv2D(6, 2),
        make.Conv2DTranspose(5, 2), make.GlobalAveragePooling2D(), make.Dense(3),
    ]  # fmt: skip
    return Model(framework, on_inputs(k, inputs, IMAGE, chain(layers)), IMAGE, inputs)


@pytest.mark.parametrize("target", [("keras", "weights.h5", 1), ("keras", "keras", 2), ("tf_keras", "h5", 1)], ids=str)
@pytest.mark.parametrize("by", ["auto", "order"])
def test_tf_layers_and_keras(fw, mover, target, by):
    framework, container, inputs = target
    graph, model = small_cnn(fw), small_cnn_of_keras(fw, framework, inputs)
    graph.randomize(1)
    randomize(model.variables(), 2)
    sample = batch(model)
    expected = graph.run(sample)
    saved, template = graph.save(mover.path(), step=9000), mover.save(model, container)
    output = mover.path(model.container(container).ending)
    remap(saved, template, output, by=by)
    live = model.container(container).load(model.live, output)
    for tower in towers(model.run(sample, live), inputs):
        assert_agree(tower, expected)
    before = graph.values()
    randomize(model.variables(), 3)
    expected = model.run(sample)
    back = mover.path()
    done = remap(mover.save(model, container), saved, back, by=by)
    graph.randomize(4)
    graph.restore(back)
    assert_agree(graph.run(sample), towers(expected, inputs)[0])
    after = graph.values()
    kept = {name for name in before if "Adam" in name or name in ("beta1_power", "beta2_power", "global_step")}
    assert len(kept) == 2 * 11 + 3
    for name in before:
        assert np.array_equal(before[name], after[name]) == (name in kept), name
    assert done.kept == len(kept)


SCOPES = ("feed_forward_x", "feed_forward_y", "feed_forward_shared")


def feed_forward(fw, calls):
    """Networks in scopes: (scope, reuse) for each input, outputs joined."""

    def build():
        v1 = fw.v1
        value = v1.placeholder("float32", (None, 6))
        outputs = []
        for scope, reuse in calls:
            with v1.variable_scope(scope, reuse=reuse):
                hidden = v1.layers.dense(value, 7, activation=fw.tf.tanh, name="dense_a")
                outputs.append(v1.layers.dense(hidden, 4, name="dense_b"))
        return [value], fw.tf.concat(outputs, -1)

    return Graph(fw, build)


def dense_a_and_b(fw, framework: str, inputs: int = 1) -> Model:
    k = getattr(fw, framework)
    layers = [k.layers.Dense(7, activation="tanh", name="dense_a"), k.layers.Dense(4, name="dense_b")]
    return Model(framework, on_inputs(k, inputs, (6,), chain(layers)), (6,), inputs)


@pytest.mark.parametrize("by", ["auto", "order", "scope"])
@pytest.mark.parametrize("target", [("keras", "weights.h5"), ("tf_keras", "weights")], ids="-".join)
def test_a_reused_scope_is_one_network(fw, mover, target, by):
    graph = feed_forward(fw, [("feed_forward_shared", False), ("feed_forward_shared", True)])
    model = dense_a_and_b(fw, target[0], 2)
    graph.randomize(1)
    randomize(model.variables(), 2)
    saved, output = graph.save(mover.path()), mover.path(model.container(target[1]).ending)
    sample = batch(model)
    remap(saved, mover.save(model, target[1]), output, by=by)
    model.live.load_weights(output)
    assert_agree(model.run(sample), graph.run(sample))
    randomize(model.variables(), 3)
    back = mover.path()
    remap(mover.save(model, target[1]), saved, back, by=by)
    graph.restore(back)
    assert_agree(graph.run(sample), model.run(sample))


@pytest.mark.parametrize("by", ["auto", "order", "scope"])
def test_scopes_that_are_not_reused_are_never_merged(fw, mover, tmp_path, by):
    graph = feed_forward(fw, [("feed_forward_x", False), ("feed_forward_y", False)])
    model = dense_a_and_b(fw, "keras")
    graph.randomize(1)
    paths = graph.save(mover.path()), mover.save(model, "weights.h5")
    before = set(tmp_path.iterdir())
    for one, other in (paths, paths[::-1]):
        for options in ({}, {"allow_unexpected": True}, {"allow_missing": True, "allow_unexpected": True}):
            with pytest.raises(RefusedError, match="feed_forward_x/dense_a.*feed_forward_y/dense_a|ambiguous"):
                remap(one, other, mover.path(".weights.h5"), by=by, **options)
    with pytest.raises(RefusedError, match="feed_forward_[xy]/dense_[ab]/(kernel|bias)"):
        remap(*paths, mover.path(".weights.h5"), by=by, fan_out=True)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_a_rename_chooses_one_of_the_scopes(fw, mover, chosen):
    graph = feed_forward(fw, [*((scope, False) for scope in SCOPES), (SCOPES[2], True)])
    model = dense_a_and_b(fw, "keras")
    graph.randomize(1)
    randomize(model.variables(), 2)
    sample = batch(model)
    output = mover.path(".weights.h5")
    done = remap(
        graph.save(mover.path()), mover.save(model, "weights.h5"), output, rename=[f"^{SCOPES[chosen]}/="],
        allow_unexpected=True,
    )  # fmt: skip
    model.live.load_weights(output)
    assert_agree(model.run(sample), towers(graph.run(sample), 4)[chosen])
    assert len(done.plan.unexpected) == 8


def test_one_network_fills_both_scopes(fw, mover):
    graph = feed_forward(fw, [("feed_forward_x", False), ("feed_forward_y", False)])
    model = dense_a_and_b(fw, "keras")
    randomize(model.variables(), 2)
    sample = batch(model)
    saved, back = graph.save(mover.path()), mover.path()
    remap(mover.save(model, "weights.h5"), saved, back, fan_out=True)
    graph.restore(back)
    for tower in towers(graph.run(sample), 2):
        assert_agree(tower, model.run(sample))
    # Now that both hold the same, either feeds the network of Keras's.
    randomize(model.variables(), 3)
    output = mover.path(".weights.h5")
    remap(back, mover.save(model, "weights.h5"), output, fan_out=True)
    model.live.load_weights(output)
    assert_agree(model.run(sample), towers(graph.run(sample), 2)[0])


@pytest.mark.parametrize("by", ["auto", "scope"])
def test_scopes_and_towers_of_the_same_names(fw, mover, by):
    """`feed_forward_x` and `_y` are inner models of those names in Keras."""
    graph = feed_forward(fw, [("feed_forward_x", False), ("feed_forward_y", False)])
    k = fw.keras
    start = k.Input((6,))
    outputs = []
    for name in ("feed_forward_y", "feed_forward_x"):
        inner_start = k.Input((6,))
        hidden = k.layers.Dense(7, activation="tanh", name="dense_a")(inner_start)
        outputs.append(k.Model(inner_start, k.layers.Dense(4, name="dense_b")(hidden), name=name)(start))
    model = Model("keras", k.Model(start, k.layers.Concatenate()(outputs[::-1])), (6,))
    graph.randomize(1)
    randomize(model.variables(), 2)
    sample = batch(model)
    saved, output, back = graph.save(mover.path()), mover.path(".weights.h5"), mover.path()
    remap(saved, mover.save(model, "weights.h5"), output, by=by)
    model.live.load_weights(output)
    assert_agree(model.run(sample), graph.run(sample))
    randomize(model.variables(), 3)
    remap(mover.save(model, "weights.h5"), saved, back, by=by)
    graph.restore(back)
    assert_agree(graph.run(sample), model.run(sample))


@pytest.mark.parametrize("parts", [2, 3])
def test_partitioned_variables(fw, mover, parts):
    """One name, several slices in the file."""
    tf, v1 = fw.tf, fw.v1

    def build():
        words = v1.placeholder("int32", (None, 5))
        with v1.variable_scope("model", partitioner=v1.fixed_size_partitioner(parts)):
            table = v1.get_variable("embedding", (11, 6))
            kernel = v1.get_variable("head/kernel", (6, 4))
        with v1.variable_scope("model"):
            bias = v1.get_variable("head/bias", (4,))
        x = tf.reduce_mean(v1.nn.embedding_lookup(table, words, partition_strategy="div"), 1)
        return [words], tf.matmul(x, tf.convert_to_tensor(kernel)) + bias

    graph = Graph(fw, build)
    graph.randomize(1)
    k = fw.keras
    start = k.Input((5,), dtype="int32")
    x = k.layers.GlobalAveragePooling1D()(k.layers.Embedding(11, 6)(start))
    model = Model("keras", k.Model(start, k.layers.Dense(4)(x)), (5,), vocabulary=11)
    randomize(model.variables(), 2)
    sample, output = batch(model), mover.path(".weights.h5")
    saved, template = graph.save(mover.path()), mover.save(model, "weights.h5")
    remap(saved, template, output)
    model.live.load_weights(output)
    assert_agree(model.run(sample), graph.run(sample))
    randomize(model.variables(), 3)
    back = mover.path()
    remap(mover.save(model, "weights.h5"), saved, back)
    graph.restore(back)
    assert_agree(graph.run(sample), model.run(sample))


def test_tf_variables_with_automatic_suffixes(fw, mover):
    """`tf.Variable` makes a name unique by itself: `w`, `w_1`, `w_2`."""
    tf, v1 = fw.tf, fw.v1

    def build():
        start = x = v1.placeholder("float32", (None, 6))
        for _ in range(3):
            kernel = tf.Variable(tf.zeros((6, 6)), name="kernel")
            bias = tf.Variable(tf.zeros((6,)), name="bias")
            x = tf.tanh(tf.matmul(x, kernel) + bias)
        return [start], x

    graph = Graph(fw, build)
    graph.randomize(1)
    model = stack(fw, "keras", [(None, 6)] * 3)
    randomize(model.variables(), 2)
    sample, output = batch(model), mover.path(".weights.h5")
    assert_differ(model.run(sample), graph.run(sample))
    paths = graph.save(mover.path()), mover.save(model, "weights.h5")
    remap(*paths, output)
    model.live.load_weights(output)
    assert_agree(model.run(sample), graph.run(sample))


def test_a_wrong_shape_is_refused_with_both_shapes(fw, mover):
    graph = feed_forward(fw, [("feed_forward_shared", False)])
    model = stack(fw, "keras", [("dense_a", 8), ("dense_b", 4)])
    with pytest.raises(
        RefusedError, match=r"dense_a/kernel \[6, 8\] \(nearest: .*dense_a/kernel \[6, 7\], another shape"
    ):
        plan(graph.save(mover.path()), mover.save(model, "weights.h5"))
