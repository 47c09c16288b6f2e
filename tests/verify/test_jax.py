"""Models of JAX verified: linen, NNX, Haiku and bare functions, against each other and against Keras and Sonnet."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the frameworks are an extra")
pytest.importorskip("haiku", reason="the frameworks are an extra")

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import freeze
from flax.traverse_util import flatten_dict

import ckptkit
from ckptkit.errors import ModelError, RefusedError, UsageError

pytestmark = pytest.mark.jax

SIZES = (5, 7, 3)
Weights = tuple[tuple[np.ndarray, np.ndarray], ...]


def weights(seed: int = 1) -> Weights:
    random = np.random.default_rng(seed)
    return tuple(
        (random.normal(size=(a, b)).astype(np.float32), random.normal(size=b).astype(np.float32))
        for a, b in itertools.pairwise(SIZES)
    )


class Mlp(nn.Module):
    rate: float = 0.0

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.tanh(nn.Dense(7)(x))
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(3)(x)


class NnxMlp(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first, self.drop, self.second = (
            nnx.Linear(5, 7, rngs=rngs),
            nnx.Dropout(0.5, rngs=rngs),
            nnx.Linear(7, 3, rngs=rngs),
        )

    def __call__(self, x: Any) -> Any:
        return self.second(self.drop(nnx.tanh(self.first(x))))


def linen(held: Weights) -> Any:
    return Mlp(0.5), {
        "params": {f"Dense_{n}": {"kernel": jnp.asarray(k), "bias": jnp.asarray(b)} for n, (k, b) in enumerate(held)}
    }


def in_nnx(held: Weights) -> Any:
    model = NnxMlp()
    for layer, (kernel, bias) in zip((model.first, model.second), held, strict=True):
        layer.kernel[...], layer.bias[...] = jnp.asarray(kernel), jnp.asarray(bias)
    return model


def haiku(held: Weights) -> Any:
    net = hk.transform(lambda x: hk.nets.MLP([7, 3], activation=jnp.tanh)(x))
    return net, {f"mlp/~/linear_{n}": {"w": jnp.asarray(k), "b": jnp.asarray(b)} for n, (k, b) in enumerate(held)}


def function(held: Weights) -> Any:
    def apply(tree: Any, x: Any) -> Any:
        (a, b), (c, d) = tree
        return jnp.tanh(x @ a + b) @ c + d

    return apply, [tuple(map(jnp.asarray, pair)) for pair in held]


MODELS: dict[str, Callable[[Weights], Any]] = {"linen": linen, "nnx": in_nnx, "haiku": haiku, "function": function}
X = [np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)]


@pytest.mark.parametrize("a", MODELS)
@pytest.mark.parametrize("b", MODELS)
def test_equal_models_pass_and_one_wrong_element_fails(a: str, b: str) -> None:
    result = ckptkit.compare_models(MODELS[a](weights()), MODELS[b](weights()), X)
    assert result.passed
    assert result.coverage is not None
    assert result.coverage.by_outputs == 4
    wrong = weights()
    wrong[1][1][2] += 1e-3
    result = ckptkit.compare_models(MODELS[a](weights()), MODELS[b](wrong), X)
    assert not result.passed


@pytest.mark.parametrize("name", ["linen", "nnx", "haiku"])
def test_where_they_part_is_named(name: str) -> None:
    wrong = weights()
    wrong[0][0][1, 2] += 0.5
    result = ckptkit.compare_models(MODELS[name](weights()), MODELS[name](wrong), X)
    assert result.first_divergence is not None
    assert result.first_divergence.source.split("/")[-1] in ("Dense_0", "first", "linear_0")


def test_a_bare_function_shows_no_layers_and_says_so() -> None:
    wrong = weights()
    wrong[0][0][1, 2] += 0.5
    result = ckptkit.compare_models(MODELS["linen"](weights()), MODELS["function"](wrong), X)
    assert result.first_divergence is None
    assert any("a bare function shows no layers" in note for note in result.notes)


def test_a_function_of_arrays_alone_has_no_weights_to_lose() -> None:
    module, variables = linen(weights())
    result = ckptkit.compare_models(lambda x: module.apply(variables, x), linen(weights()), X)
    assert result.passed


def test_statistics_that_a_call_would_change_are_let_go() -> None:
    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            calls = self.variable("cache", "calls", lambda: jnp.zeros(()))
            calls.value = calls.value + 1
            return nn.Dense(3)(x) * calls.value

    model = Counting()
    variables = model.init(jax.random.PRNGKey(0), X[0])
    assert ckptkit.compare_models((model, variables), (model, variables), X).passed


def test_random_samples_are_the_same_on_both_sides() -> None:
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(3)(x) + jax.random.normal(self.make_rng("noise"), (x.shape[0], 3))

    model = Noisy()
    variables = model.init({"params": jax.random.PRNGKey(0), "noise": jax.random.PRNGKey(1)}, X[0])
    result = ckptkit.compare_models((model, variables), (model, variables), X)
    assert result.passed
    assert any("the same samples" in note for note in result.notes)


def test_a_module_without_its_variables_is_refused() -> None:
    for bare, words in ((Mlp(), "linen module without"), (hk.transform(lambda x: x), "Haiku function without")):
        with pytest.raises(ModelError, match=words):
            ckptkit.compare_models(bare, linen(weights()), X)
    with pytest.raises(UsageError, match="does not say what inputs"):
        ckptkit.compare_models(linen(weights()), linen(weights()))


FACTORY = """
import jax, jax.numpy as jnp, flax.linen as nn, haiku as hk
from flax import nnx

class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(7)(x))
        return nn.Dense(3)(x)

def linen():
    return Mlp(), Mlp().init(jax.random.PRNGKey(0), jnp.zeros((1, 5)))

def haiku():
    net = hk.transform(lambda x: hk.nets.MLP([7, 3], activation=jnp.tanh)(x))
    return net, net.init(jax.random.PRNGKey(0), jnp.zeros((1, 5)))

class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(5, 7, rngs=rngs), nnx.Linear(7, 3, rngs=rngs)])
    def __call__(self, x):
        return self.layers[1](nnx.tanh(self.layers[0](x)))
"""


def files(folder: Path, held: Weights) -> dict[str, Path]:
    """The same weights as trees of each framework."""
    (folder / "models.py").write_text(FACTORY)
    np.savez(folder / "inputs.npz", x=X[0])
    names = {
        "linen": ("params/Dense_{}/kernel", "params/Dense_{}/bias"), "haiku": ("mlp/~/linear_{}/w", "mlp/~/linear_{}/b"),
        "Net": ("layers/{}/kernel", "layers/{}/bias"),
    }  # fmt: skip
    made = {}
    for framework, (kernel, bias) in names.items():
        made[framework] = folder / f"{framework}.npz"
        arrays = {
            name.format(n): value
            for n, pair in enumerate(held)
            for name, value in zip((kernel, bias), pair, strict=True)
        }
        np.savez(made[framework], **arrays)
    return made


@pytest.mark.parametrize(("a", "b"), [("linen", "haiku"), ("haiku", "Net"), ("Net", "linen")])
def test_files_are_loaded_by_structure_and_it_is_said_by_what(a: str, b: str, tmp_path: Path) -> None:
    made = files(tmp_path, weights())
    models, inputs = tmp_path / "models.py", str(tmp_path / "inputs.npz")
    result = ckptkit.verify(made[a], made[b], src_model=f"{models}:{a}", dst_model=f"{models}:{b}", inputs=inputs)
    assert result.passed
    assert result.pairing_proven
    words = {"linen": "flax.serialization.from_state_dict", "haiku": "a tree of equal structure", "Net": "nnx.update"}
    assert result.loaded_by == (words[a], words[b])


def test_a_file_of_another_structure_is_refused_and_can_be_matched(tmp_path: Path) -> None:
    made = files(tmp_path, weights())
    models, inputs = tmp_path / "models.py", str(tmp_path / "inputs.npz")
    options = {"src_model": f"{models}:linen", "dst_model": f"{models}:linen", "inputs": inputs}
    with pytest.raises(ModelError, match="the file has no params/Dense_0/bias"):
        ckptkit.verify(made["linen"], made["haiku"], **options)
    result = ckptkit.verify(made["linen"], made["haiku"], dst_load="match", **options)
    assert result.passed
    assert not result.pairing_proven


def test_against_keras(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="the frameworks are an extra")
    pytest.importorskip("tensorflow", reason="the frameworks are an extra")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, activation="tanh"), keras.layers.Dense(3)])
    model.set_weights([value for pair in weights() for value in pair])
    for name, make in MODELS.items():
        result = ckptkit.compare_models(model, make(weights()))
        assert result.passed, name
        assert result.coverage is not None
        assert result.coverage.untested == ()
    model.save(tmp_path / "model.keras")
    made = files(tmp_path, weights())
    result = ckptkit.verify(tmp_path / "model.keras", made["linen"], dst_model=f"{tmp_path / 'models.py'}:linen")
    assert result.passed


# ------------------------------------------------------------------------------------------- load_into and to_tree


def test_load_into_an_nnx_module(tmp_path: Path) -> None:
    made = files(tmp_path, weights())
    for name, words in (("haiku", "ckptkit's matching"), ("linen", "ckptkit's matching")):
        model = NnxMlp()
        done = ckptkit.load_into(model, made[name])
        assert done.loaded_by == words
        assert len(done.loaded) == 4
        for layer, (kernel, bias) in zip((model.first, model.second), weights(), strict=True):
            np.testing.assert_array_equal(layer.kernel[...], kernel)
            np.testing.assert_array_equal(layer.bias[...], bias)
    own = {
        f"{name}/{word}": value
        for name, pair in zip(("first", "second"), weights(), strict=True)
        for word, value in zip(("kernel", "bias"), pair, strict=True)
    }
    np.savez(tmp_path / "own.npz", **own, **{"drop/rngs/count": np.zeros((), np.uint32)})
    assert ckptkit.load_into(NnxMlp(), tmp_path / "own.npz").loaded_by == "nnx.update"


def test_load_into_is_all_or_nothing(tmp_path: Path) -> None:
    made = files(tmp_path, (weights()[0],))
    model = in_nnx(weights(5))
    with pytest.raises(RefusedError, match="the tree wants"):
        ckptkit.load_into(model, made["linen"])
    np.testing.assert_array_equal(model.first.kernel[...], weights(5)[0][0])
    with pytest.raises(ModelError, match="to_tree"):
        ckptkit.load_into(linen(weights()), made["linen"])


@pytest.mark.parametrize("kind", [dict, freeze], ids=["dict", "FrozenDict"])
def test_to_tree_keeps_structure_kind_and_dtype(kind: Any, tmp_path: Path) -> None:
    made = files(tmp_path, weights())
    like = kind(linen(weights(2))[1])
    like = jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.bfloat16) if leaf.ndim == 1 else leaf, like)
    for name in ("haiku", "linen"):
        tree = ckptkit.to_tree(made[name], like=like)
        assert type(tree) is type(like)
        assert jax.tree_util.tree_structure(tree) == jax.tree_util.tree_structure(like)
        flat, old = flatten_dict(dict(tree)), flatten_dict(dict(like))
        assert all(isinstance(leaf, jax.Array) and leaf.dtype == old[path].dtype for path, leaf in flat.items())
        np.testing.assert_array_equal(tree["params"]["Dense_1"]["kernel"], weights()[1][0])
        assert tree["params"]["Dense_1"]["bias"].dtype == jnp.bfloat16


def test_to_tree_of_an_nnx_state(tmp_path: Path) -> None:
    made = files(tmp_path, weights())
    model = NnxMlp()
    graph, state = nnx.split(model)
    tree = ckptkit.to_tree(made["haiku"], like=state)
    assert isinstance(tree, nnx.State)
    x = jnp.asarray(X[0])
    merged = nnx.merge(graph, tree)
    merged.eval()
    np.testing.assert_allclose(merged(x), Mlp().apply(linen(weights())[1], x), atol=1e-5)


def test_to_tree_refuses_by_name(tmp_path: Path) -> None:
    made = files(tmp_path, weights())
    like = linen(weights())[1]
    like["params"]["Dense_1"]["kernel"] = jnp.zeros((7, 4))
    with pytest.raises(RefusedError, match="Dense_1"):
        ckptkit.to_tree(made["linen"], like=like)
    with pytest.raises(UsageError, match="no arrays"):
        ckptkit.to_tree(made["linen"], like={})
    with pytest.raises(UsageError, match=r"params/name"):
        ckptkit.to_tree(made["linen"], like={"params": {"name": "text"}})
