"""Agents: OpenAI Baselines, Stable Baselines and Dopamine, under the variable names of their TensorFlow 1 code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.matching.published.scheme import Scheme, Stored, Weights, below, noise, published

SLIM = {"kernel": "weights", "bias": "biases"}
SHORT = {"kernel": "w", "bias": "b"}
DENSE = {"kernel": "kernel", "bias": "bias"}
FILTERS, UNITS, ACTIONS = (5, 7, 6), 9, 4


def _nature(convs: tuple[str, ...], hidden: tuple[str, ...], heads: dict[str, int]) -> Callable[[], Any]:
    """Three convolutions, dense layers, and a head for each entry of `heads`."""

    def build() -> Any:
        import keras
        from keras import layers as make

        x = frames = keras.Input((84, 84, 4))
        for name, filters, size, stride in zip(convs, FILTERS, (8, 4, 3), (4, 2, 1), strict=True):
            x = make.Conv2D(filters, size, stride, activation="relu", name=name)(x)
        x = make.Flatten()(x)
        for name in hidden:
            x = make.Dense(UNITS, activation="relu", name=name)(x)
        return keras.Model(frames, [make.Dense(units, name=name)(x) for name, units in heads.items()])

    return build


def _trunk(w: Weights, scope: str, convs: dict[str, str], dense: dict[str, str], bias: tuple[int, ...]) -> Stored:
    """Baselines' trunk: the bias of a convolution has the rank of its output."""
    out = {}
    for theirs, ours in convs.items():
        out |= {f"{scope}/{theirs}/w": w[f"{ours}/kernel"], f"{scope}/{theirs}/b": w[f"{ours}/bias"].reshape(bias)}
    for theirs, ours in dense.items():
        out |= below(f"{scope}/{theirs}", w.layer(ours, **SHORT))
    return out


CONVS = {"c1": "conv1", "c2": "conv2", "c3": "conv3"}


def _policy_and_value(root: str, policy: str, value: str, trunk: str) -> Scheme:
    def store(w: Weights) -> Stored:
        out = _trunk(w, f"{root}/{trunk}".rstrip("/"), CONVS, {"fc1": "fc"}, (1, 1, 1, -1))
        out |= below(f"{root}/{value}", w.layer("value", **SHORT))
        return {**out, **below(f"{root}/{policy}", w.layer("policy", **SHORT))}

    return Scheme(_nature(tuple(CONVS.values()), ("fc",), {"policy": ACTIONS, "value": 1}), store)


@published
def baselines_ppo2_on_frames() -> Scheme:
    return _policy_and_value("ppo2_model", "pi", "vf", "pi")


@published
def baselines_a2c_on_frames() -> Scheme:
    return _policy_and_value("a2c_model", "pi", "vf", "pi")


@published
def stable_baselines_cnn_policy() -> Scheme:
    """The trunk's layers lie beside the heads; the head of Q values has the policy's shape."""
    scheme = _policy_and_value("model", "pi", "vf", "")

    def extra(_: Weights) -> Stored:
        return noise(8, {"model/q/w": (UNITS, ACTIONS), "model/q/b": (ACTIONS,)})

    # Whether `policy` is `pi` or `q` no word says.
    return Scheme(scheme.build, scheme.store, extra, extra_expect=("right", "refused"))


def _twins(names: Callable[[str, int], str], heads: tuple[str, str]) -> Callable[[], Any]:
    """Policy and value networks of equal shapes on one observation."""

    def build() -> Any:
        import keras
        from keras import layers as make

        seen, ends = keras.Input((6,)), []
        for part, units, head in (("pi", ACTIONS, heads[0]), ("vf", 1, heads[1])):
            x = seen
            for i in range(2):
                x = make.Dense(UNITS, activation="tanh", name=names(part, i))(x)
            ends.append(make.Dense(units, name=head)(x))
        return keras.Model(seen, ends)

    return build


@published
def baselines_ppo2_twin_networks() -> Scheme:
    """`value_network="copy"`: hidden layers of equal shapes, told apart by `pi` and `vf`."""
    names = {"pi": "policy_fc", "vf": "value_fc"}

    def store(w: Weights) -> Stored:
        out = {}
        for part in ("pi", "vf"):
            for i in range(2):
                out |= below(f"ppo2_model/{part}/mlp_fc{i}", w.layer(f"{names[part]}{i + 1}", **SHORT))
        out |= below("ppo2_model/vf", w.layer("value", **SHORT))
        return {**out, **below("ppo2_model/pi", w.layer("policy", **SHORT))}

    def extra(_: Weights) -> Stored:
        return noise(9, {"ppo2_model/pi/logstd": (1, ACTIONS)})

    return Scheme(_twins(lambda part, i: f"{names[part]}{i + 1}", ("policy", "value")), store, extra)


@published
def stable_baselines_mlp_policy() -> Scheme:
    def store(w: Weights) -> Stored:
        out = {}
        for i in range(2):
            for part in ("pi", "vf"):
                out |= below(f"model/{part}_fc{i}", w.layer(f"{part}_dense_{i}", **SHORT))
        out |= below("model/vf", w.layer("vf", **SHORT))
        return {**out, **below("model/pi", w.layer("pi", **SHORT))}

    def extra(_: Weights) -> Stored:
        return noise(10, {"model/pi/logstd": (1, ACTIONS), "model/q/w": (UNITS, ACTIONS), "model/q/b": (ACTIONS,)})

    return Scheme(_twins(lambda part, i: f"{part}_dense_{i}", ("pi", "vf")), store, extra)


Q_CONVS = {"convnet/Conv": "conv1", "convnet/Conv_1": "conv2", "convnet/Conv_2": "conv3"}


def _q_network(dueling: bool) -> Callable[[], Any]:
    def build() -> Any:
        import keras
        from keras import layers as make

        x = frames = keras.Input((84, 84, 4))
        for name, filters, size, stride in zip(Q_CONVS.values(), FILTERS, (8, 4, 3), (4, 2, 1), strict=True):
            x = make.Conv2D(filters, size, stride, activation="relu", padding="same", name=name)(x)
        x = make.Flatten()(x)
        q = make.Dense(ACTIONS, name="action_value_out")(make.Dense(UNITS, name="action_value_hidden")(x))
        if dueling:
            q = make.Add()([q, make.Dense(1, name="state_value_out")(make.Dense(UNITS, name="state_value_hidden")(x))])
        return keras.Model(frames, q)

    return build


def _q_store(scope: str, dueling: bool) -> Callable[[Weights], Stored]:
    def store(w: Weights) -> Stored:
        out = {}
        for theirs, ours in Q_CONVS.items():
            out |= below(f"{scope}/{theirs}", w.layer(ours, **SLIM))
        for head in ("action_value", "state_value")[: 1 + dueling]:
            out |= below(f"{scope}/{head}/fully_connected", w.layer(f"{head}_hidden", **SLIM))
            out |= below(f"{scope}/{head}/fully_connected_1", w.layer(f"{head}_out", **SLIM))
        return out

    return store


@published
def baselines_dqn() -> Scheme:
    return Scheme(_q_network(False), _q_store("deepq/q_func", False))


@published
def baselines_dueling_dqn() -> Scheme:
    """State value and action value: equal shapes but for the last layer."""
    return Scheme(_q_network(True), _q_store("deepq/q_func", True))


def _copies(store: Callable[[Weights], Stored], wanted: str, other: str) -> Callable[[Weights], Stored]:
    """The network twice, the second time with other values."""

    def both(w: Weights) -> Stored:
        first = store(w)
        rng = np.random.default_rng(11)
        second = {name.replace(wanted, other, 1): value + rng.normal(size=value.shape).astype("float32")
                  for name, value in first.items()}  # fmt: skip
        return {**first, **second}

    return both


@published
def baselines_dqn_with_target_network() -> Scheme:
    store = _copies(_q_store("deepq/q_func", True), "q_func", "target_q_func")
    return Scheme(_q_network(True), store, options={"source_scope": "deepq/q_func"}, back=())


def _dopamine(w: Weights) -> Stored:
    out = {}
    for theirs, ours in (("Conv", "conv_1"), ("Conv_1", "conv_2"), ("Conv_2", "conv_3"), ("fully_connected", "dense_1"),
                         ("fully_connected_1", "dense_2")):  # fmt: skip
        out |= below(f"Online/{theirs}", w.layer(ours, **SLIM))
    return out


DOPAMINE = _nature(("conv_1", "conv_2", "conv_3"), ("dense_1",), {"dense_2": ACTIONS})


@published
def dopamine() -> Scheme:
    store = _copies(_dopamine, "Online", "Target")
    return Scheme(DOPAMINE, store, options={"source_scope": "Online"}, back=())


@published
def dopamine_by_a_rule() -> Scheme:
    store = _copies(_dopamine, "Online", "Target")
    options = {"rename": ["^Online/="], "allow_unexpected": True}
    return Scheme(DOPAMINE, store, options=options, back=())


@published
def soft_actor_critic() -> Scheme:
    """Stable Baselines' SAC: a policy, two critics and a value function, all of the same hidden sizes."""
    parts = {
        "model/pi": "policy",
        "model/values_fn/vf": "vf",
        "model/values_fn/qf1": "qf1",
        "model/values_fn/qf2": "qf2",
    }

    def build() -> Any:
        import keras
        from keras import layers as make

        seen, action, ends = keras.Input((6,)), keras.Input((ACTIONS,)), []
        for name in parts.values():
            x = make.Concatenate()([seen, action]) if name.startswith("q") else seen
            for i in range(2):
                x = make.Dense(UNITS, name=f"{name}_fc{i}")(x)
            if name == "policy":
                ends += [make.Dense(ACTIONS, name="policy_mean")(x), make.Dense(ACTIONS, name="policy_log_std")(x)]
            else:
                ends.append(make.Dense(1, name=f"{name}_out")(x))
        return keras.Model([seen, action], ends)

    def store(w: Weights) -> Stored:
        out = {}
        for scope, name in parts.items():
            for i in range(2):
                out |= below(f"{scope}/fc{i}", w.layer(f"{name}_fc{i}", **DENSE))
            if name == "policy":
                out |= below(f"{scope}/dense", w.layer("policy_mean", **DENSE))
                out |= below(f"{scope}/dense_1", w.layer("policy_log_std", **DENSE))
            else:
                out |= below(f"{scope}/{name}", w.layer(f"{name}_out", **DENSE))
        return out

    return Scheme(build, store)


@published
def deterministic_policy_gradient() -> Scheme:
    """Baselines' DDPG: actor and critic beside their targets; only the trained two are wanted."""

    def build() -> Any:
        import keras
        from keras import layers as make

        seen, action, ends = keras.Input((6,)), keras.Input((ACTIONS,)), []
        for name, units in (("actor", ACTIONS), ("critic", 1)):
            x = seen if name == "actor" else make.Concatenate()([seen, action])
            for i in range(2):
                x = make.Dense(UNITS, name=f"{name}_mlp_fc{i}")(x)
            ends.append(make.Dense(units, name=f"{name}_output")(x))
        return keras.Model([seen, action], ends)

    def store(w: Weights) -> Stored:
        out = {}
        for name in ("actor", "critic"):
            for i in range(2):
                out |= below(f"{name}/mlp_fc{i}", w.layer(f"{name}_mlp_fc{i}", **SHORT))
            out |= below(f"{name}/{'dense' if name == 'actor' else 'output'}", w.layer(f"{name}_output", **DENSE))
        return out

    return Scheme(build, store)
