"""Live layers of Flax (linen and NNX) and Haiku, as the other subjects: weights by suffix, and a forward pass.

Trees of JAX are sorted by key, so that a subject gives its weights in the order of its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from ckptkit.canonical.flat_trees import join_collections
from ckptkit.conventions import Row
from tests.conventions.layers import DIMS, dims_of
from tests.conventions.subjects import EPSILON, Box, Subject, input_of

pytest.importorskip("jax", reason="the frameworks are an extra")
pytest.importorskip("flax", reason="the frameworks are an extra")
pytest.importorskip("haiku", reason="the frameworks are an extra")

import flax.linen as nn
import haiku as hk
import jax
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

I, O, H, C, M, V, D, N, K = (DIMS[name] for name in "IOHCMVDNK")
WINDOWS = {"1": (2,), "2": (2, 3), "3": (2, 3, 4)}
NORM = {"epsilon": EPSILON}


def _named(row: Row, names: Iterable[str]) -> dict[str, str]:
    """Suffix of the row -> the one name that ends with it; every name is used, but for what is no weight."""
    left = set(names)
    found = {}
    for native in row.natives:
        spellings = (native.suffix, *native.aliases)
        ends = [name for name in left if any(f"/{name}".endswith(f"/{word}") for word in spellings)]
        if native.kind == "weight":
            (found[native.suffix],) = ends
        left -= set(ends)
    assert not left
    return found


def _window(row: Row) -> tuple[int, ...]:
    return WINDOWS[next(letter for letter in row.kind if letter.isdigit())]


# ------------------------------------------------------------------------------------------------------------- linen


def _linen_layer(row: Row) -> Any:
    name = row.class_name
    transposed = "transpose_kernel" in row.name
    made: dict[str, Callable[[], Any]] = {
        "Dense": lambda: nn.Dense(O),
        "DenseGeneral": lambda: nn.DenseGeneral(O, axis=(-2, -1)) if "output" in row.name else nn.DenseGeneral((N, K)),
        "Embed": lambda: nn.Embed(V, D),
        "Conv": lambda: nn.Conv(O, _window(row), padding="VALID"),
        "ConvTranspose": lambda: nn.ConvTranspose(
            O, _window(row), strides=(2,) * len(_window(row)), padding="VALID", transpose_kernel=transposed
        ),
        "BatchNorm": lambda: nn.BatchNorm(use_running_average=True, **NORM),
        "LayerNorm": lambda: nn.LayerNorm(**NORM),
        "GroupNorm": lambda: nn.GroupNorm(C, **NORM),
        "InstanceNorm": lambda: nn.InstanceNorm(**NORM),
        "RMSNorm": lambda: nn.RMSNorm(epsilon=1e-6),
        "PReLU": lambda: nn.PReLU(),
        "ConvLSTMCell": lambda: nn.RNN(nn.ConvLSTMCell(O, _window(row))),
    }
    return made[name]() if name in made else nn.RNN(getattr(nn, name)(H))


def linen_subject(row: Row) -> Subject:
    """The layer of linen that `row` is of."""
    return variables_subject(row, _linen_layer(row))


def variables_subject(row: Row, module: Any) -> Subject:
    """A module of linen, whose variables are named by `row`."""
    tree = module.init(jax.random.PRNGKey(0), input_of(row))
    boxes = {"/".join(path): Box(np.asarray(value)) for path, value in flatten_dict(tree).items()}
    joined = join_collections({key: key for key in boxes})
    stored = {path: key for key, path in joined.items()}
    weights = {suffix: boxes[stored[name]] for suffix, name in _named(row, stored).items()}

    @jax.jit
    def apply(tree: Any, x: Any) -> Any:
        return module.apply(tree, x)

    def run(x: Any) -> Any:
        return apply(unflatten_dict({tuple(key.split("/")): box.numpy() for key, box in boxes.items()}), x)

    return Subject(weights, run)


# --------------------------------------------------------------------------------------------------------------- NNX


def _nnx_layer(row: Row, inputs: int) -> Any:
    name, rngs = row.class_name, nnx.Rngs(0)
    transposed = "transpose_kernel" in row.name
    made: dict[str, Callable[[], Any]] = {
        "Dense": lambda: nnx.Linear(inputs, O, rngs=rngs),
        "DenseGeneral": lambda: (
            nnx.LinearGeneral((N, K), O, axis=(-2, -1), rngs=rngs)
            if "output" in row.name
            else nnx.LinearGeneral(inputs, (N, K), rngs=rngs)
        ),
        "Embed": lambda: nnx.Embed(V, D, rngs=rngs),
        "Conv": lambda: nnx.Conv(inputs, O, _window(row), padding="VALID", rngs=rngs),
        "ConvTranspose": lambda: nnx.ConvTranspose(
            inputs, O, _window(row), strides=(2,) * len(_window(row)), padding="VALID",
            transpose_kernel=transposed, rngs=rngs,
        ),
        "BatchNorm": lambda: nnx.BatchNorm(C, use_running_average=True, rngs=rngs, **NORM),
        "LayerNorm": lambda: nnx.LayerNorm(C, rngs=rngs, **NORM),
        "GroupNorm": lambda: nnx.GroupNorm(C, C, rngs=rngs, **NORM),
        "InstanceNorm": lambda: nnx.InstanceNorm(C, rngs=rngs, **NORM),
        "RMSNorm": lambda: nnx.RMSNorm(C, epsilon=1e-6, rngs=rngs),
        "PReLU": lambda: nnx.PReLU(),
    }  # fmt: skip
    return made[name]() if name in made else nnx.RNN(getattr(nnx, name)(inputs, H, rngs=rngs))


def nnx_subject(row: Row) -> Subject:
    """The layer of NNX that `row` is of."""
    module = _nnx_layer(row, dims_of(row)["I"])
    graph, state = nnx.split(module)
    flat = {"/".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}
    boxes = {name: Box(np.asarray(value[...])) for name, value in flat.items() if not name.startswith("rngs/")}
    weights = {suffix: boxes[name] for suffix, name in _named(row, boxes).items()}

    def run(x: Any) -> Any:
        for name, box in boxes.items():
            flat[name][...] = jax.numpy.asarray(box.numpy())
        return nnx.merge(graph, state)(x)

    return Subject(weights, run)


def flax_subject(name: str, row: Row) -> Subject:
    """The layer of Flax that `row` is of: linen's, but where only NNX has it."""
    return nnx_subject(row) if "nnx" in name else linen_subject(row)


# ------------------------------------------------------------------------------------------------------------- Haiku


def _haiku_layer(row: Row, x: Any) -> Any:
    name = row.class_name
    made: dict[str, Callable[[], Any]] = {
        "Linear": lambda: hk.Linear(O),
        "Embed": lambda: hk.Embed(V, D),
        "LayerNorm": lambda: hk.LayerNorm(-1, True, True, eps=EPSILON),
        "GroupNorm": lambda: hk.GroupNorm(C, eps=EPSILON),
        "InstanceNorm": lambda: hk.InstanceNorm(True, True, eps=EPSILON),
        "RMSNorm": lambda: hk.RMSNorm(-1, eps=1e-6),
        "VanillaRNN": lambda: hk.VanillaRNN(H),
        "LSTM": lambda: hk.LSTM(H),
        "GRU": lambda: hk.GRU(H),
    }
    if name in made:
        return made[name]()
    if name.endswith("DLSTM"):
        return getattr(hk, name)(x.shape[2:-1], O, _window(row))
    if name.startswith("Depthwise"):
        return getattr(hk, name)(M, _window(row), padding="VALID")
    stride = {"stride": 2} if "Transpose" in name else {}
    return getattr(hk, name)(O, _window(row), padding="VALID", **stride)


def haiku_subject(_: str, row: Row) -> Subject:
    """The layer of Haiku that `row` is of."""

    def forward(x: Any, is_training: bool) -> Any:
        if row.class_name == "BatchNorm":
            return hk.BatchNorm(True, True, 0.9, eps=EPSILON)(x, is_training)
        layer = _haiku_layer(row, x)
        if not isinstance(layer, hk.RNNCore):
            return layer(x)
        outputs, _ = hk.static_unroll(layer, x.swapaxes(0, 1), layer.initial_state(x.shape[0]))
        return outputs.swapaxes(0, 1)

    model = hk.transform_with_state(forward)
    trees = model.init(jax.random.PRNGKey(0), input_of(row), True)
    boxes = [
        {f"{module}/{name}": Box(np.asarray(value)) for module, held in tree.items() for name, value in held.items()}
        for tree in trees
    ]
    every = {name: box for tree in boxes for name, box in tree.items()}
    weights = {suffix: every[name] for suffix, name in _named(row, every).items()}

    def run(x: Any) -> Any:
        params, state = map(_haiku_tree, boxes)
        return model.apply(params, state, None, x, False)[0]

    return Subject(weights, run)


def _haiku_tree(boxes: Mapping[str, Box]) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = {}
    for path, box in boxes.items():
        module, _, name = path.rpartition("/")
        tree.setdefault(module, {})[name] = box.numpy()
    return tree
