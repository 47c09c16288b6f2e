"""Small modules that lose a variable, each written once for `tf.Module` and Sonnet (`base` is either)."""

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any

import tensorflow as tf

from tests.audit.keras_traps import FINE, remember


class Linear(tf.Module):
    """What snt.Linear is, made at once."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(tf.ones((4, 2)))

    def __call__(self, x):
        return x @ self.w


def holding(base: Any, hold: Any, use: Any) -> Any:
    class Model(base):
        def __init__(self):
            super().__init__()
            hold(self, inner)

        def __call__(self, x):
            return use(self)(x)

    inner = Linear()
    return remember(Model(), lambda: inner.w)


def attribute(base):
    return holding(base, lambda m, d: setattr(m, "d", d), lambda m: m.d)


def in_list(base):
    return holding(base, lambda m, d: setattr(m, "ds", [d]), lambda m: m.ds[0])


def in_tuple(base):
    return holding(base, lambda m, d: setattr(m, "ds", (d,)), lambda m: m.ds[0])


def in_dict(base):
    return holding(base, lambda m, d: setattr(m, "ds", {"d": d}), lambda m: m.ds["d"])


def in_set(base):
    return holding(base, lambda m, d: setattr(m, "ds", {d}), lambda m: next(iter(m.ds)))


def in_deque(base):
    return holding(base, lambda m, d: setattr(m, "ds", collections.deque([d])), lambda m: m.ds[0])


def in_mixture(base):
    return holding(base, lambda m, d: setattr(m, "ds", [{"heads": [d]}]), lambda m: m.ds[0]["heads"][0])


class Helper:
    def __init__(self, head):
        self.head = head


def in_plain_object(base):
    return holding(base, lambda m, d: setattr(m, "helper", Helper(d)), lambda m: m.helper.head)


@dataclasses.dataclass
class Heads:
    head: Any


def in_dataclass(base):
    return holding(base, lambda m, d: setattr(m, "ds", Heads(d)), lambda m: m.ds.head)


def in_partial(base):
    return holding(base, lambda m, d: setattr(m, "f", functools.partial(lambda w, x: w(x), d)), lambda m: m.f)


def past_tracking(base):
    return holding(base, lambda m, d: object.__setattr__(m, "d", d), lambda m: m.d)


def in_closure(base):
    inner = Linear()

    class Model(base):
        def __call__(self, x):
            return inner(x)

    return remember(Model(), lambda: inner.w)


GLOBAL: dict[str, Any] = {}


def in_global(base):
    inner = GLOBAL["inner"] = Linear()

    class Model(base):
        def __call__(self, x):
            return GLOBAL["inner"](x)

    return remember(Model(), lambda: inner.w)


def class_attribute(base):
    class Model(base):
        head = Linear()

        def __call__(self, x):
            return self.head(x)

    return remember(Model(), lambda: Model.head.w)


def kept_on_first_call(base):
    class Model(base):
        def __init__(self):
            super().__init__()
            self.w = None

        def __call__(self, x):
            if self.w is None:
                self.w = tf.Variable(tf.ones((4, 2)))
            return x @ self.w

    model = Model()
    return remember(model, lambda: model.w)


def compiled_call(base):
    class Model(base):
        def __init__(self):
            super().__init__()
            self.w = None

        @tf.function
        def __call__(self, x):
            if self.w is None:
                self.w = tf.Variable(tf.ones((4, 2)))
            return x @ self.w

    model = Model()
    return remember(model, lambda: model.w)


def frozen(base):
    class Model(base):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones((4, 2)), trainable=False)

        def __call__(self, x):
            return x @ self.w

    model = Model()
    return remember(model, lambda: model.w)


def never_used(base):
    class Model(base):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones((4, 2)))
            self.left_over = tf.Variable(tf.ones((5,)))

        def __call__(self, x):
            return x @ self.w

    model = Model()
    return remember(model, lambda: model.left_over)


def stop_gradient(base):
    class Model(base):
        def __init__(self):
            super().__init__()
            self.first = tf.Variable(tf.ones((4, 3)))
            self.second = tf.Variable(tf.ones((3, 2)))

        def __call__(self, x):
            return tf.stop_gradient(x @ self.first) @ self.second

    model = Model()
    return remember(model, lambda: model.first)


def keras_inside(base):
    import keras

    layer = keras.layers.Dense(2)

    class Model(base):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def __call__(self, x):
            return self.layer(x)

    return remember(Model(), lambda: layer.kernel)


def tf_keras_inside(base):
    import tf_keras

    layer = tf_keras.layers.Dense(2)

    class Model(base):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def __call__(self, x):
            return self.layer(x)

    return remember(Model(), lambda: layer.kernel)


TRAPS = {
    function.__name__: (function, kind)
    for function, kind in (
        (attribute, FINE),
        (in_list, FINE),
        (in_tuple, FINE),
        (in_dict, FINE),
        (in_set, "untracked"),
        (in_deque, "lost"),
        (in_mixture, FINE),
        (in_plain_object, "untracked"),
        (in_dataclass, "untracked"),
        (in_partial, "untracked"),
        (past_tracking, "lost"),
        (in_closure, "untracked"),
        (in_global, "untracked"),
        (class_attribute, "untracked"),
        (kept_on_first_call, FINE),
        (compiled_call, FINE),
        (frozen, FINE),
        (never_used, "orphan"),
        (stop_gradient, "untrained"),
        (keras_inside, "foreign"),
        (tf_keras_inside, FINE),
    )
}
