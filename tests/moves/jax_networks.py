"""Small networks, each written as people write it in Keras, Sonnet, linen, NNX and Haiku.

All of one kind compute the same: sizes, activations and epsilons agree. Names are those that the framework gives or that
its users choose for attributes, and differ between the frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import sonnet as snt
import tensorflow as tf
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

EPS = 1e-3
SHAPES: Mapping[str, tuple[int, ...]] = {
    "mlp": (5,), "cnn": (8, 8, 3), "resnet": (8, 8, 4), "encoder": (6, 8), "lstm": (4, 5), "gru": (4, 5),
    "depthwise": (8, 8, 4),
}  # fmt: skip


@dataclass
class Network:
    """A live network: its values by key, how it is run on them, saved and loaded."""

    values: dict[str, np.ndarray]
    forward: Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]
    save: Callable[[Mapping[str, np.ndarray], Path], Path]
    load: Callable[[Path], dict[str, np.ndarray]]

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.forward(self.values, x))

    def randomise(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        for key, value in self.values.items():
            if value.dtype.kind == "f":
                scale = 1.2 / np.sqrt(max(1, np.prod(value.shape[:-1])))
                wide = value.ndim > 1 and max(value.shape) < value.size
                made = random.normal(size=value.shape) * scale if wide else random.uniform(0.3, 1.2, value.shape)
                self.values[key] = made.astype(np.float32)


def _arrays(forward: Any, values: dict[str, np.ndarray]) -> Network:
    """A tree of arrays under paths, kept as npz."""

    def save(held: Mapping[str, np.ndarray], path: Path) -> Path:
        path = path.with_suffix(".npz")
        np.savez(path, **held)
        return path

    def load(path: Path) -> dict[str, np.ndarray]:
        with np.load(path) as file:
            return dict(file)

    return Network(values, forward, save, load)


# ------------------------------------------------------------------------------------------------------------- Keras


def keras_network(kind: str) -> Network:
    L = keras.layers
    bn = lambda: L.BatchNormalization(epsilon=EPS)  # noqa: E731
    x = start = keras.Input(SHAPES[kind])
    if kind == "mlp":
        for units in (7, 7, 6):
            x = L.Dense(units, activation="tanh")(x)
        x = L.Dense(3)(x)
    elif kind == "cnn":
        for _ in range(2):
            x = L.ReLU()(bn()(L.Conv2D(4, 3, padding="same")(x)))
        x = L.Dense(3)(L.GlobalAveragePooling2D()(x))
    elif kind == "depthwise":
        for _ in range(2):
            x = L.ReLU()(L.DepthwiseConv2D(3, padding="same")(x))
            x = L.ReLU()(L.Conv2D(6 if _ else 4, 1)(x))
        x = L.Dense(3)(L.GlobalAveragePooling2D()(x))
    elif kind == "resnet":
        for filters in (4, 6):
            y = L.ReLU()(bn()(L.Conv2D(filters, 3, padding="same", use_bias=False)(x)))
            y = bn()(L.Conv2D(filters, 3, padding="same", use_bias=False)(y))
            x = x if filters == x.shape[-1] else L.Conv2D(filters, 1, use_bias=False)(x)
            x = L.ReLU()(L.Add()([x, y]))
        x = L.Dense(3)(L.GlobalAveragePooling2D()(x))
    elif kind == "encoder":
        for block in ("block_0", "block_1"):
            y = L.LayerNormalization(epsilon=EPS, name=f"{block}_norm1")(x)
            x = L.Add()([x, L.MultiHeadAttention(2, 4, name=f"{block}_attention")(y, y)])
            y = L.LayerNormalization(epsilon=EPS, name=f"{block}_norm2")(x)
            y = L.Dense(16, activation="relu", name=f"{block}_up")(y)
            x = L.Add()([x, L.Dense(8, name=f"{block}_down")(y)])
        x = L.Dense(3, name="head")(L.LayerNormalization(epsilon=EPS, name="final_norm")(x))
    elif kind == "lstm":
        x = L.Dense(3)(L.LSTM(6, return_sequences=True)(x))
    else:
        x = L.Dense(3)(L.GRU(6, return_sequences=True, reset_after=False)(x))
    model = keras.Model(start, x)

    def forward(held: Mapping[str, np.ndarray], x: np.ndarray) -> Any:
        model.set_weights(list(held.values()))
        return model(x, training=False)

    def values() -> dict[str, np.ndarray]:
        return {weight.path: np.asarray(weight) for weight in model.weights}

    def save(held: Mapping[str, np.ndarray], path: Path) -> Path:
        model.set_weights(list(held.values()))
        path = path.with_suffix(".weights.h5")
        model.save_weights(path)
        return path

    def load(path: Path) -> dict[str, np.ndarray]:
        model.load_weights(path)
        return values()

    return Network(values(), forward, save, load)


# ------------------------------------------------------------------------------------------------------------ Sonnet


class _SonnetAttention(snt.Module):
    def __init__(self):
        super().__init__(name="attention")
        self.query, self.key, self.value, self.out = (snt.Linear(8, name=n) for n in ("query", "key", "value", "out"))

    def __call__(self, x):
        q, k, v = (tf.reshape(f(x), (*x.shape[:2], 2, 4)) for f in (self.query, self.key, self.value))
        a = tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", q, k) / 2.0)
        return self.out(tf.reshape(tf.einsum("bhqk,bkhd->bqhd", a, v), x.shape))


class _SonnetResidual(snt.Module):
    def __init__(self, inputs, filters):
        super().__init__()
        self.conv1, self.conv2 = (snt.Conv2D(filters, 3, with_bias=False) for _ in range(2))
        self.norm1, self.norm2 = (snt.BatchNorm(True, True, eps=EPS) for _ in range(2))
        self.shortcut = None if inputs == filters else snt.Conv2D(filters, 1, with_bias=False)

    def __call__(self, x):
        y = tf.nn.relu(self.norm1(self.conv1(x), is_training=False))
        y = self.norm2(self.conv2(y), is_training=False)
        return tf.nn.relu((x if self.shortcut is None else self.shortcut(x)) + y)


class _SonnetBlock(snt.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = (snt.LayerNorm(-1, True, True, eps=EPS) for _ in range(2))
        self.attention, self.up, self.down = _SonnetAttention(), snt.Linear(16), snt.Linear(8)

    def __call__(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(tf.nn.relu(self.up(self.norm2(x))))


class _SonnetNet(snt.Module):
    def __init__(self, kind: str):
        super().__init__(name="net")
        self.kind = kind
        norm = lambda: snt.BatchNorm(True, True, eps=EPS)  # noqa: E731
        ln = lambda: snt.LayerNorm(-1, True, True, eps=EPS)  # noqa: E731
        if kind == "mlp":
            self.body = snt.nets.MLP([7, 7, 6], activation=tf.tanh)
        elif kind == "cnn":
            self.convs, self.norms = [snt.Conv2D(4, 3) for _ in range(2)], [norm() for _ in range(2)]
        elif kind == "depthwise":
            self.depthwise = [snt.DepthwiseConv2D((3, 3)) for _ in range(2)]
            self.pointwise = [snt.Conv2D(4, 1), snt.Conv2D(6, 1)]
        elif kind == "resnet":
            self.blocks = [_SonnetResidual(4, 4), _SonnetResidual(4, 6)]
        elif kind == "encoder":
            self.blocks = [_SonnetBlock() for _ in range(2)]
            self.final_norm = ln()
        else:
            self.core = snt.LSTM(6) if kind == "lstm" else snt.GRU(6)
        self.head = snt.Linear(3)

    def __call__(self, x):
        if self.kind == "mlp":
            return self.head(tf.tanh(self.body(x)))
        if self.kind == "cnn":
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = tf.nn.relu(norm(conv(x), is_training=False))
            return self.head(tf.reduce_mean(x, (1, 2)))
        if self.kind == "depthwise":
            for d, p in zip(self.depthwise, self.pointwise, strict=True):
                x = tf.nn.relu(p(tf.nn.relu(d(x))))
            return self.head(tf.reduce_mean(x, (1, 2)))
        if self.kind == "resnet":
            for block in self.blocks:
                x = block(x)
            return self.head(tf.reduce_mean(x, (1, 2)))
        if self.kind == "encoder":
            for block in self.blocks:
                x = block(x)
            return self.head(self.final_norm(x))
        outputs, _ = snt.static_unroll(self.core, tf.transpose(x, (1, 0, 2)), self.core.initial_state(x.shape[0]))
        return self.head(tf.transpose(outputs, (1, 0, 2)))


def sonnet_network(kind: str) -> Network:
    net = _SonnetNet(kind)
    net(tf.zeros((1, *SHAPES[kind])))
    variables = {f"{number}": variable for number, variable in enumerate(net.variables)}

    def put(held: Mapping[str, np.ndarray]) -> None:
        for key, variable in variables.items():
            variable.assign(held[key])

    def forward(held: Mapping[str, np.ndarray], x: np.ndarray) -> Any:
        put(held)
        return net(tf.constant(x))

    def save(held: Mapping[str, np.ndarray], path: Path) -> Path:
        put(held)
        return Path(tf.train.Checkpoint(net=net).write(str(path)))

    def load(path: Path) -> dict[str, np.ndarray]:
        tf.train.Checkpoint(net=net).read(str(path)).assert_existing_objects_matched()
        return {key: variable.numpy() for key, variable in variables.items()}

    return Network({key: variable.numpy() for key, variable in variables.items()}, forward, save, load)


# ------------------------------------------------------------------------------------------------------------- linen


class _LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm(epsilon=EPS)(x)
        x = x + nn.MultiHeadDotProductAttention(2)(y, y)
        y = nn.LayerNorm(epsilon=EPS)(x)
        y = nn.relu(nn.Dense(16)(y))
        return x + nn.Dense(8)(y)


class _LinenResidual(nn.Module):
    filters: int

    @nn.compact
    def __call__(self, x):
        bn = lambda: nn.BatchNorm(use_running_average=True, epsilon=EPS)  # noqa: E731
        y = nn.relu(bn()(nn.Conv(self.filters, (3, 3), use_bias=False)(x)))
        y = bn()(nn.Conv(self.filters, (3, 3), use_bias=False)(y))
        x = x if x.shape[-1] == self.filters else nn.Conv(self.filters, (1, 1), use_bias=False, name="shortcut")(x)
        return nn.relu(x + y)


class _LinenNet(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, x):
        if self.kind == "mlp":
            for units in (7, 7, 6):
                x = nn.tanh(nn.Dense(units)(x))
        elif self.kind == "cnn":
            for _ in range(2):
                x = nn.relu(nn.BatchNorm(use_running_average=True, epsilon=EPS)(nn.Conv(4, (3, 3))(x)))
            x = x.mean((1, 2))
        elif self.kind == "depthwise":
            for filters in (4, 6):
                x = nn.relu(nn.Conv(4, (3, 3), feature_group_count=4)(x))
                x = nn.relu(nn.Conv(filters, (1, 1))(x))
            x = x.mean((1, 2))
        elif self.kind == "resnet":
            for filters in (4, 6):  # a nested call would make the outer one first, and count it so
                x = _LinenResidual(filters)(x)
            x = x.mean((1, 2))
        elif self.kind == "encoder":
            for number in range(2):
                x = _LinenBlock(name=f"block_{number}")(x)
            x = nn.LayerNorm(epsilon=EPS, name="final_norm")(x)
        else:
            x = nn.RNN(nn.OptimizedLSTMCell(6) if self.kind == "lstm" else nn.GRUCell(6))(x)
        return nn.Dense(3)(x)


def linen_network(kind: str) -> Network:
    net = _LinenNet(kind)
    tree = net.init(jax.random.PRNGKey(0), jnp.zeros((1, *SHAPES[kind])))
    apply = jax.jit(net.apply)

    def forward(held: Mapping[str, np.ndarray], x: np.ndarray) -> Any:
        return apply(unflatten_dict({tuple(key.split("/")): value for key, value in held.items()}), x)

    return _arrays(forward, {"/".join(path): np.asarray(value) for path, value in flatten_dict(tree).items()})


# --------------------------------------------------------------------------------------------------------------- NNX


class _NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.norm1, self.norm2 = (nnx.LayerNorm(8, epsilon=EPS, rngs=rngs) for _ in range(2))
        self.attn = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 8, rngs=rngs)

    def __call__(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.down(nnx.relu(self.up(self.norm2(x))))


class _NnxResidual(nnx.Module):
    def __init__(self, inputs, filters, rngs):
        conv = lambda n, w: nnx.Conv(n, filters, (w, w), use_bias=False, rngs=rngs)  # noqa: E731
        self.conv1, self.conv2 = conv(inputs, 3), conv(filters, 3)
        self.bn1, self.bn2 = (
            nnx.BatchNorm(filters, use_running_average=True, epsilon=EPS, rngs=rngs) for _ in range(2)
        )
        self.shortcut = None if inputs == filters else conv(inputs, 1)

    def __call__(self, x):
        y = self.bn2(self.conv2(nnx.relu(self.bn1(self.conv1(x)))))
        return nnx.relu((x if self.shortcut is None else self.shortcut(x)) + y)


class _NnxNet(nnx.Module):
    def __init__(self, kind, rngs):
        self.kind = kind
        if kind == "mlp":
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in ((5, 7), (7, 7), (7, 6))])
        elif kind == "cnn":
            self.convs = nnx.List([nnx.Conv(n, 4, (3, 3), rngs=rngs) for n in (3, 4)])
            self.norms = nnx.List(
                [nnx.BatchNorm(4, use_running_average=True, epsilon=EPS, rngs=rngs) for _ in range(2)]
            )
        elif kind == "depthwise":
            self.depthwise = nnx.List([nnx.Conv(4, 4, (3, 3), feature_group_count=4, rngs=rngs) for _ in range(2)])
            self.pointwise = nnx.List([nnx.Conv(4, n, (1, 1), rngs=rngs) for n in (4, 6)])
        elif kind == "resnet":
            self.blocks = nnx.List([_NnxResidual(4, 4, rngs), _NnxResidual(4, 6, rngs)])
        elif kind == "encoder":
            self.blocks = nnx.List([_NnxBlock(rngs), _NnxBlock(rngs)])
            self.final_norm = nnx.LayerNorm(8, epsilon=EPS, rngs=rngs)
        else:
            cell = nnx.LSTMCell(5, 6, rngs=rngs) if kind == "lstm" else nnx.GRUCell(5, 6, rngs=rngs)
            self.rnn = nnx.RNN(cell, rngs=rngs)
        self.head = nnx.Linear({"mlp": 6, "cnn": 4, "encoder": 8}.get(kind, 6), 3, rngs=rngs)

    def __call__(self, x):
        if self.kind == "mlp":
            for layer in self.layers:
                x = nnx.tanh(layer(x))
        elif self.kind == "cnn":
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = nnx.relu(norm(conv(x)))
            x = x.mean((1, 2))
        elif self.kind == "depthwise":
            for d, p in zip(self.depthwise, self.pointwise, strict=True):
                x = nnx.relu(p(nnx.relu(d(x))))
            x = x.mean((1, 2))
        elif self.kind == "resnet":
            for block in self.blocks:
                x = block(x)
            x = x.mean((1, 2))
        elif self.kind == "encoder":
            for block in self.blocks:
                x = block(x)
            x = self.final_norm(x)
        else:
            x = self.rnn(x)
        return self.head(x)


def nnx_network(kind: str) -> Network:
    graph, state = nnx.split(_NnxNet(kind, nnx.Rngs(0)))
    flat = {"/".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}
    values = {key: np.asarray(v[...]) for key, v in flat.items() if "rngs" not in key.split("/")}

    def forward(held: Mapping[str, np.ndarray], x: np.ndarray) -> Any:
        for key, value in held.items():
            flat[key][...] = jnp.asarray(value)
        return nnx.merge(graph, state)(x)

    return _arrays(forward, values)


# ------------------------------------------------------------------------------------------------------------- Haiku


class _HaikuBlock(hk.Module):
    def __call__(self, x):
        ln = lambda name: hk.LayerNorm(-1, True, True, eps=EPS, name=name)  # noqa: E731
        y = ln("norm1")(x)
        x = x + hk.MultiHeadAttention(2, 4, w_init=hk.initializers.Constant(0.1), model_size=8)(y, y, y)
        y = jax.nn.relu(hk.Linear(16)(ln("norm2")(x)))
        return x + hk.Linear(8)(y)


def _haiku_forward(kind: str, x: Any, training: bool) -> Any:
    norm = lambda: hk.BatchNorm(True, True, 0.9, eps=EPS)  # noqa: E731
    if kind == "mlp":
        x = hk.nets.MLP([7, 7, 6], activation=jnp.tanh, activate_final=True)(x)
    elif kind == "cnn":
        for _ in range(2):
            x = jax.nn.relu(norm()(hk.Conv2D(4, 3)(x), training))
        x = x.mean((1, 2))
    elif kind == "depthwise":
        for filters in (4, 6):
            x = jax.nn.relu(hk.DepthwiseConv2D(1, (3, 3))(x))
            x = jax.nn.relu(hk.Conv2D(filters, 1)(x))
        x = x.mean((1, 2))
    elif kind == "resnet":
        for filters in (4, 6):
            y = jax.nn.relu(norm()(hk.Conv2D(filters, 3, with_bias=False)(x), training))
            y = norm()(hk.Conv2D(filters, 3, with_bias=False)(y), training)
            x = x if x.shape[-1] == filters else hk.Conv2D(filters, 1, with_bias=False, name="shortcut")(x)
            x = jax.nn.relu(x + y)
        x = x.mean((1, 2))
    elif kind == "encoder":
        for number in range(2):
            x = _HaikuBlock(name=f"block_{number}")(x)
        x = hk.LayerNorm(-1, True, True, eps=EPS, name="final_norm")(x)
    else:
        core = hk.LSTM(6) if kind == "lstm" else hk.GRU(6)
        x, _ = hk.dynamic_unroll(core, x.swapaxes(0, 1), core.initial_state(x.shape[0]))
        x = x.swapaxes(0, 1)
    return hk.Linear(3)(x)


def haiku_network(kind: str) -> Network:
    net = hk.transform_with_state(lambda x, training: _haiku_forward(kind, x, training))
    trees = net.init(jax.random.PRNGKey(0), jnp.ones((2, *SHAPES[kind])), True)
    values = {
        f"{collection}/{module}/{name}": np.asarray(value)
        for collection, tree in zip(("params", "state"), trees, strict=True)
        for module, held in tree.items()
        for name, value in held.items()
    }
    apply = jax.jit(lambda params, state, x: net.apply(params, state, None, x, False)[0])

    def forward(held: Mapping[str, np.ndarray], x: np.ndarray) -> Any:
        made: dict[str, dict[str, dict[str, Any]]] = {"params": {}, "state": {}}
        for key, value in held.items():
            collection, _, rest = key.partition("/")
            module, _, name = rest.rpartition("/")
            made[collection].setdefault(module, {})[name] = value
        return apply(made["params"], made["state"], x)

    return _arrays(forward, values)


NETWORKS: Mapping[str, Callable[[str], Network]] = {
    "keras": keras_network, "sonnet": sonnet_network, "linen": linen_network, "nnx": nnx_network, "haiku": haiku_network,
}  # fmt: skip
