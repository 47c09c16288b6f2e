"""Layouts that real files have and Keras has not: published definitions run against Keras, with the weights moved.

The names on both sides are equal but for the variables' own words, so that what is tested is how the numbers lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from ckptkit import load_into, plan, remap
from ckptkit.errors import RefusedError
from tests.moves.architectures import on_inputs
from tests.moves.proof import Model, assert_agree, randomize

EPSILON = 1e-5
Weights = Mapping[str, np.ndarray]


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 3) -> dict[str, np.ndarray]:
    """Random values; positive where they are divided by or stand for a variance."""
    random = np.random.default_rng(seed)
    values = {}
    for name, shape in shapes.items():
        value = random.normal(size=shape).astype("float32") * np.float32(1.2 / max(1, np.sqrt(np.prod(shape[:-1]))))
        values[name] = np.abs(value) + np.float32(0.3) if "var" in name.lower() else value
    return values


class Proof:
    """Moves arrays into a Keras model and back, and runs both."""

    def __init__(self, mover: Any, model: Model, container: str) -> None:
        self._mover, self.model, self._container = mover, model, container

    def into_keras(self, weights: Weights, x: np.ndarray, **options: Any) -> tuple[np.ndarray, Any]:
        """What the model computes with these weights, and the plan."""
        randomize(self.model.variables(), 11)
        source, template = self._mover.path(".npz"), self._mover.save(self.model, self._container)
        np.savez(source, **weights)
        chosen = self.model.container(self._container)
        out = self._mover.path(chosen.ending)
        done = remap(source, template, out, **options)
        return self.model.run(x, chosen.load(self.model.live, out)), done.plan

    def from_keras(self, shapes: Weights, x: np.ndarray, **options: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What the model computes with new weights, and those weights in arrays of these names and shapes."""
        randomize(self.model.variables(), 12)
        expected = self.model.run(x)
        source, template, out = self._mover.save(self.model, self._container), *(self._mover.path(".npz") for _ in "ab")
        np.savez(template, **shapes)
        remap(source, template, out, **options)
        with np.load(out) as written:
            return expected, dict(written)


def both_ways(
    proof: Proof, shapes: Mapping[str, tuple[int, ...]], run: Callable[[Weights, np.ndarray], Any], x: np.ndarray,
    back: Mapping[str, Any] | None = None, **options: Any,
) -> Any:  # fmt: skip
    """Assert that the definition and Keras agree, there and back; gives the plan into Keras."""
    weights = random_weights(shapes)
    found, made = proof.into_keras(weights, x, **options)
    assert_agree(found, np.asarray(run(weights, x)))
    expected, given = proof.from_keras(random_weights(shapes, 5), x, **(back or options))
    assert {name: value.shape for name, value in given.items()} == dict(shapes)
    assert_agree(np.asarray(run(given, x)), expected)
    return made


def keras_model(fw: Any, shape: tuple[int, ...], layers: list[Any]) -> Model:
    return Model("keras", fw.keras.Sequential([fw.keras.Input(shape), *layers]), shape)


@pytest.mark.parametrize("bias", [(1, 1, 1, 7), (1, 7, 1, 1), (7,)], ids=str)
def test_biases_that_keep_their_axes(fw, mover, bias):
    """OpenAI's code: `w`, and `b` of the shape in which it is added."""
    k = fw.keras.layers
    model = keras_model(fw, (9, 8, 5), [k.Conv2D(7, (2, 3), name="c1"), k.Flatten(), k.Dense(3, name="fc")])
    shapes = {"c1/w": (2, 3, 5, 7), "c1/b": bias, "fc/w": (8 * 6 * 7, 3), "fc/b": (1, 3)}

    def run(w: Weights, x: np.ndarray) -> np.ndarray:
        hidden = fw.tf.nn.conv2d(x, w["c1/w"], 1, "VALID").numpy() + w["c1/b"].reshape(-1)
        return hidden.reshape(len(x), -1) @ w["fc/w"] + w["fc/b"]

    both_ways(Proof(mover, model, "keras"), shapes, run, np.random.default_rng(1).normal(size=(4, 9, 8, 5)).astype("f"))


WORDS = {
    "tensorpack": ("gamma", "beta", "mean/EMA", "variance/EMA"),
    "caffe": ("scale", "offset", "mean", "variance"),
    "population": ("scale", "beta", "pop_mean", "pop_var"),
    "short": ("g", "b", "mu", "var"),
}


@pytest.mark.parametrize("words", WORDS)
def test_words_of_batch_normalisation(fw, mover, words):
    gamma, beta, mean, variance = (f"bn/{word}" for word in WORDS[words])
    model = keras_model(fw, (6, 5), [fw.keras.layers.BatchNormalization(epsilon=EPSILON, name="bn")])

    def run(w: Weights, x: np.ndarray) -> np.ndarray:
        return (x - w[mean]) / np.sqrt(w[variance] + EPSILON) * w[gamma] + w[beta]

    shapes = dict.fromkeys((gamma, beta, mean, variance), (5,))
    both_ways(Proof(mover, model, "keras"), shapes, run, np.random.default_rng(1).normal(size=(4, 6, 5)).astype("f"))


def test_a_kernel_that_covers_its_input(fw, mover):
    """VGG's `fc6` and logits of slim are convolutions; Keras flattens and has Dense."""
    k = fw.keras.layers
    model = keras_model(fw, (3, 4, 5), [k.Flatten(), k.Dense(7, activation="relu", name="fc6"), k.Dense(2, name="fc8")])
    shapes = {"fc6/weights": (3, 4, 5, 7), "fc6/biases": (7,), "fc8/weights": (1, 1, 7, 2), "fc8/biases": (2,)}

    def run(w: Weights, x: np.ndarray) -> np.ndarray:
        hidden = fw.tf.nn.relu(fw.tf.nn.conv2d(x, w["fc6/weights"], 1, "VALID") + w["fc6/biases"])
        return (fw.tf.nn.conv2d(hidden, w["fc8/weights"], 1, "VALID") + w["fc8/biases"]).numpy().reshape(len(x), -1)

    x = np.random.default_rng(1).normal(size=(4, 3, 4, 5)).astype("f")
    made = both_ways(Proof(mover, model, "keras"), shapes, run, x)
    doubts = {step.target.name: step.doubts for step in made.steps}
    assert doubts["fc6/kernel"] == ("assumes flatten=channels_last",)
    assert doubts["fc8/kernel"] == ()


def test_depthwise_convolutions_of_slim(fw, mover):
    """MobileNet: `depthwise_weights`, and the normaliser in a scope below the layer's."""
    k = fw.keras.layers
    layers = [
        k.DepthwiseConv2D((2, 3), depth_multiplier=2, use_bias=False, name="depthwise"),
        k.BatchNormalization(epsilon=EPSILON, name="norm"),
    ]
    model = keras_model(fw, (9, 8, 5), layers)
    norm = {word: f"depthwise/BatchNorm/{word}" for word in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes = {"depthwise/depthwise_weights": (2, 3, 5, 2), **dict.fromkeys(norm.values(), (10,))}

    def run(w: Weights, x: np.ndarray) -> Any:
        y = fw.tf.nn.depthwise_conv2d(x, w["depthwise/depthwise_weights"], [1, 1, 1, 1], "VALID")
        parts = (w[norm[word]] for word in ("moving_mean", "moving_variance", "beta", "gamma"))
        return fw.tf.nn.batch_normalization(y, *parts, EPSILON)

    x = np.random.default_rng(1).normal(size=(4, 9, 8, 5)).astype("f")
    both_ways(
        Proof(mover, model, "keras"), shapes, run, x, rename=["depthwise/BatchNorm=norm"],
        back={"rename": ["^norm$=depthwise/BatchNorm"]},
    )  # fmt: skip


WIDTH, HEADS, SIZE = 12, 3, 4


def attention(w: Weights, x: np.ndarray) -> np.ndarray:
    """GPT-2's attention without its mask: one projection to query, key and value, heads cut out of the last axis."""
    parts = np.split(x @ w["attn/c_attn/w"][0] + w["attn/c_attn/b"], 3, axis=2)
    query, key, value = (part.reshape(*x.shape[:2], HEADS, SIZE).transpose(0, 2, 1, 3) for part in parts)
    scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(SIZE)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ value
    return mixed.transpose(0, 2, 1, 3).reshape(x.shape) @ w["attn/c_proj/w"][0] + w["attn/c_proj/b"]


FUSED = {
    "attn/c_attn/w": (1, WIDTH, 3 * WIDTH), "attn/c_attn/b": (3 * WIDTH,), "attn/c_proj/w": (1, WIDTH, WIDTH),
    "attn/c_proj/b": (WIDTH,),
}  # fmt: skip
THERE = ["attn/c_attn/(query|key|value)=attn/\\1", "attn/c_proj=attn/attention_output"]
BACK = ["attn/(query|key|value)$=attn/c_attn/\\1", "attn/attention_output=attn/c_proj"]


@pytest.mark.parametrize("container", ["keras", "weights.h5", "h5"])
def test_query_key_and_value_in_one_projection(fw, mover, container):
    k = fw.keras
    inputs = k.Input((6, WIDTH))
    live = k.Model(inputs, k.layers.MultiHeadAttention(HEADS, SIZE, name="attn")(inputs, inputs))
    model = Model("keras", live, (6, WIDTH))
    x = np.random.default_rng(1).normal(size=(4, 6, WIDTH)).astype("f")
    made = both_ways(Proof(mover, model, container), FUSED, attention, x, rename=THERE, back={"rename": BACK})
    doubts = [doubt for step in made.steps for doubt in step.doubts]
    assert sum("holds query, key and value, in that order" in doubt for doubt in doubts) == 6


def test_heads_of_another_size_are_another_function(fw, mover):
    paths = []
    for heads in ((6, 3, 4), (6, 4, 3)):
        paths.append(mover.path(".npz"))
        np.savez(paths[-1], **{"q/kernel": np.ones(heads, "f"), "q/bias": np.ones(heads[1:], "f")})
    with pytest.raises(RefusedError, match=r"q/kernel \[6, 4, 3\]"):
        plan(*paths)


@pytest.mark.parametrize("containers", [("h5", "keras"), ("checkpoint", "weights.h5"), ("h5", "h5")], ids=str)
def test_an_adapter_is_merged_where_the_target_has_none(fw, mover, containers):
    def made(rank: int) -> Model:
        layers = [fw.keras.layers.Dense(7, activation="tanh", name="body"), fw.keras.layers.Dense(3, name="head")]
        model = keras_model(fw, (5,), layers)
        if rank:
            model.live.get_layer("body").enable_lora(rank)
        return model

    expected, found, done = mover.move(made(2), made(0), containers)
    assert_agree(found, expected)
    assert any("is merged into it" in doubt for step in done.plan.steps for doubt in step.doubts)


def test_half_an_adapter_is_left_behind_for_nothing(fw, mover):
    half = {"d/kernel": np.ones((6, 5), "f"), "d/bias": np.ones(5, "f"), "d/lora_kernel_a": np.ones((6, 2), "f")}
    source, target = tied(fw, mover, half), tied(fw, mover, {name: half[name] for name in ("d/kernel", "d/bias")})
    with pytest.raises(RefusedError, match="d/lora_kernel_a belongs to an adapter, and d without it"):
        plan(source, target, allow_unexpected=True)


def test_a_quantized_layer_is_refused_by_that_word(fw, mover):
    def made(mode: str | None) -> Model:
        model = keras_model(fw, (16,), [fw.keras.layers.Dense(8, name="body")])
        if mode:
            model.live.quantize(mode)
        return model

    floats = mover.save(made(None), "keras")
    for mode in ("int8", "int4"):
        for container in ("keras", "weights.h5", "h5"):
            integers = mover.save(made(mode), container)
            for one, other in ((integers, floats), (floats, integers)):
                with pytest.raises(RefusedError, match="quantized"):
                    plan(one, other)
            assert plan(integers, integers).plan.steps


def test_an_embedding_with_a_way_back(fw, mover):
    """A target with a table of its own for the way out gets the one that the source uses for both, and is told so."""

    def made(tied: bool) -> Model:
        tokens = fw.keras.Input((6,), dtype="int32")
        table = fw.keras.layers.ReversibleEmbedding(19, 5, tie_weights=tied, name="tokens")
        return Model("keras", fw.keras.Model(tokens, table(table(tokens), reverse=True)), (6,), vocabulary=19)

    for source, target in ((True, True), (False, False), (True, False)):
        expected, found, done = mover.move(made(source), made(target), ("keras", "keras"))
        assert_agree(found, expected)
        said = [doubt for step in done.plan.steps for doubt in step.doubts]
        assert bool(said) == (source and not target)
    with pytest.raises(RefusedError, match="reverse_embeddings"):
        mover.move(made(False), made(True), ("keras", "keras"))


def tied(fw: Any, mover: Any, names: Mapping[str, np.ndarray]) -> str:
    path = mover.path(".npz")
    np.savez(path, **names)
    return path


def test_a_table_that_is_stored_once_or_twice(fw, mover):
    table = np.random.default_rng(1).normal(size=(19, 5)).astype("f")
    once, twice = {"tokens/embeddings": table}, {"tokens/embeddings": table, "logits/kernel": table.T}
    one, two = tied(fw, mover, once), tied(fw, mover, twice)
    with pytest.raises(RefusedError, match=r"tokens/embeddings transposed, which --assume tied=transposed says"):
        plan(one, two)
    said = {"tied": "transposed"}
    for source, target, wanted in ((one, two, twice), (two, one, once)):
        done = remap(source, target, mover.path(".npz"), assume=said)
        with np.load(done.output) as written:
            assert {name: value.tolist() for name, value in written.items()} == {
                n: v.tolist() for n, v in wanted.items()
            }
        assert any("tied" in doubt for step in done.plan.steps for doubt in step.doubts)
    other = tied(fw, mover, {**twice, "logits/kernel": table.T + np.float32(1e-3)})
    with pytest.raises(RefusedError, match="differ by up to 0.001"):
        remap(other, one, mover.path(".npz"), assume=said)


@pytest.mark.parametrize(
    ("left", "moves"),
    [
        (("cls/predictions/output_bias",), True),
        (("head/b",), True),
        (("head/scale",), False),
        (("head/bias", "other/bias"), False),
        ((), False),
    ],
)
def test_logits_over_a_table_whose_bias_lies_elsewhere(fw, mover, left, moves):
    random = np.random.default_rng(2)
    shapes = {"tokens/embeddings": (19, 5), "body/kernel": (5, 5), "body/bias": (5,)}
    shared = {name: random.normal(size=shape).astype("f") for name, shape in shapes.items()}
    vectors = {name: random.normal(size=19).astype("f") for name in left}
    source = tied(fw, mover, {**shared, **vectors})
    target = tied(fw, mover, {**shared, "logits/kernel": np.zeros((5, 19), "f"), "logits/bias": np.zeros(19, "f")})
    if not moves:
        with pytest.raises(RefusedError):
            plan(source, target)
        return
    done = remap(source, target, mover.path(".npz"))
    with np.load(done.output) as written:
        np.testing.assert_array_equal(written["logits/kernel"], shared["tokens/embeddings"].T)
        np.testing.assert_array_equal(written["logits/bias"], vectors[left[0]])
    assert sum(left[0] in doubt for step in done.plan.steps for doubt in step.doubts) == 2


def norm_of(fw: Any, kind: str, parts: Mapping[str, bool]) -> Model:
    layer = getattr(fw.keras.layers, kind)
    options = {"groups": 2} if kind == "GroupNormalization" else {}
    layers = [fw.keras.layers.Dense(6, activation="tanh", name="body"), layer(name="norm", **options, **parts)]
    return Model("keras", on_inputs(fw.keras, 1, (5,), lambda x: layers[1](layers[0](x))), (5,))


@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization", "GroupNormalization"])
@pytest.mark.parametrize("parts", [{"scale": False}, {"center": False}, {"scale": False, "center": False}], ids=str)
def test_a_normalisation_without_all_its_parts_between_all_containers(fw, mover, kind, parts):
    if len(parts) == 2 and kind != "BatchNormalization":
        pytest.skip("it has no variables")
    names = ("keras", "weights.h5", "h5", "checkpoint")
    for one in names:
        for other in names:
            expected, found, _ = mover.move(norm_of(fw, kind, parts), norm_of(fw, kind, parts), (one, other))
            assert_agree(found, expected)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_live_model_with_an_adapter_takes_the_base_and_its_own_kind(fw, mover, ending):
    """Keras merges an adapter when it saves and sets it to zero when it loads; what is computed is what counts."""

    def made(rank: int) -> Model:
        model = keras_model(
            fw, (5,), [fw.keras.layers.Dense(7, activation="tanh", name="body"), fw.keras.layers.Dense(3)]
        )
        if rank:
            model.live.get_layer("body").enable_lora(rank)
        return model

    x = np.random.default_rng(1).normal(size=(4, 5)).astype("f")
    for source, target in ((0, 2), (2, 2), (2, 0)):
        one, other, path = made(source), made(target), mover.path(ending)
        randomize(one.variables(), 1), randomize(other.variables(), 2)
        one.live.save_weights(path) if ending == ".weights.h5" else one.live.save(path)
        load_into(other.live, path)
        assert_agree(other.run(x), one.run(x))
