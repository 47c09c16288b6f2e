"""Small Keras models that lose a weight, each written once for Keras 3 and tf_keras (`K` is either).

A trap returns a model and remembers how to find the variable concerned once the model has run; the memory is the
test's own, so nothing in the model leads to it.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import weakref
from typing import Any

import tensorflow as tf

# `get_variable` refuses a name that another model of this process has.
_UNIQUE = itertools.count()

_REMEMBERED: dict[int, tuple[Any, Any]] = {}


def remember(model: Any, find: Any) -> Any:
    """Keep `find`, a function that gives the variable in question, for `model`."""
    _REMEMBERED[id(model)] = (model, find)
    return model


def forget() -> None:
    """Let go of the models."""
    _REMEMBERED.clear()


def concerned(model: Any) -> tf.Variable:
    """The `tf.Variable` in question of a model that has run."""
    variable = _REMEMBERED[id(model)][1]()
    return getattr(variable, "_value", variable) if not isinstance(variable, tf.Variable) else variable


def kernel(layer: Any) -> Any:
    return lambda: layer.kernel


def around(K: Any, layer: Any) -> Any:
    """A subclassed model that applies one layer."""

    class Model(K.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = K.layers.Dense(3)
            self.block = layer

        def call(self, x):
            return self.block(self.first(x))

    return Model()


# ------------------------------------------------------------------------------------------------ variables of its own


def tf_variable_in_build(K):
    class Scale(K.layers.Layer):
        def build(self, shape):
            self.w = tf.Variable(tf.ones((shape[-1], 2)))
            super().build(shape)

        def call(self, x):
            return x @ self.w

    layer = Scale()
    return remember(around(K, layer), lambda: layer.w)


def tf_variable_in_init(K):
    class Scale(K.layers.Layer):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones((3, 2)))

        def call(self, x):
            return x @ self.w

    layer = Scale()
    return remember(around(K, layer), lambda: layer.w)


def get_variable_in_build(K):
    class Scale(K.layers.Layer):
        def build(self, shape):
            self.w = tf.compat.v1.get_variable(
                f"w{next(_UNIQUE)}", (shape[-1], 2), initializer=tf.compat.v1.ones_initializer()
            )
            super().build(shape)

        def call(self, x):
            return x @ self.w

    layer = Scale()
    return remember(around(K, layer), lambda: layer.w)


def tf_variable_in_list(K):
    class Scale(K.layers.Layer):
        def build(self, shape):
            self.ws = [tf.Variable(tf.ones((shape[-1], 2)))]
            super().build(shape)

        def call(self, x):
            return x @ self.ws[0]

    layer = Scale()
    return remember(around(K, layer), lambda: layer.ws[0])


def frozen_tf_variable(K):
    class Scale(K.layers.Layer):
        def build(self, shape):
            self.w = tf.Variable(tf.ones((shape[-1], 2)), trainable=False)
            super().build(shape)

        def call(self, x):
            return x @ self.w

    layer = Scale()
    return remember(around(K, layer), lambda: layer.w)


def add_weight(K):
    class Scale(K.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 2), initializer="ones", name="w")
            super().build(shape)

        def call(self, x):
            return x @ self.w

    layer = Scale()
    return remember(around(K, layer), lambda: layer.w)


def lambda_over_variable(K):
    w = tf.Variable(tf.ones((3, 2)))
    model = K.Sequential([K.layers.Dense(3), K.layers.Lambda(lambda x: x @ w)])
    return remember(model, lambda: w)


# ------------------------------------------------------------------------------------------------------ held somewhere


def holding(K: Any, hold: Any, use: Any) -> Any:
    """A model whose `__init__` does `hold(self, layer)` and whose `call` applies `use(self)`."""

    class Model(K.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = K.layers.Dense(3)
            hold(self, layer)

        def call(self, x):
            return use(self)(self.first(x))

    layer = K.layers.Dense(2)
    return remember(Model(), kernel(layer))


def attribute(K):
    return holding(K, lambda m, d: setattr(m, "d", d), lambda m: m.d)


def in_list(K):
    return holding(K, lambda m, d: setattr(m, "ds", [d]), lambda m: m.ds[0])


def in_tuple(K):
    return holding(K, lambda m, d: setattr(m, "ds", (d,)), lambda m: m.ds[0])


def in_dict(K):
    return holding(K, lambda m, d: setattr(m, "ds", {"d": d}), lambda m: m.ds["d"])


def in_ordered_dict(K):
    return holding(K, lambda m, d: setattr(m, "ds", collections.OrderedDict(d=d)), lambda m: m.ds["d"])


def in_set(K):
    return holding(K, lambda m, d: setattr(m, "ds", {d}), lambda m: next(iter(m.ds)))


def in_deque(K):
    return holding(K, lambda m, d: setattr(m, "ds", collections.deque([d])), lambda m: m.ds[0])


def in_dict_of_lists(K):
    return holding(K, lambda m, d: setattr(m, "ds", {"heads": [d]}), lambda m: m.ds["heads"][0])


def in_list_of_dicts(K):
    return holding(K, lambda m, d: setattr(m, "ds", [{"head": d}]), lambda m: m.ds[0]["head"])


def in_tuple_of_lists(K):
    return holding(K, lambda m, d: setattr(m, "ds", ([d],)), lambda m: m.ds[0][0])


def in_mixture(K):
    def hold(model, layer):
        model.blocks = [{"heads": [layer], "rest": (None,)}]

    return holding(K, hold, lambda m: m.blocks[0]["heads"][0])


Pair = collections.namedtuple("Pair", ["head"])


def in_namedtuple(K):
    return holding(K, lambda m, d: setattr(m, "ds", Pair(d)), lambda m: m.ds.head)


@dataclasses.dataclass
class Heads:
    head: Any


def in_dataclass(K):
    return holding(K, lambda m, d: setattr(m, "ds", Heads(d)), lambda m: m.ds.head)


class Helper:
    def __init__(self, head):
        self.head = head


def in_plain_object(K):
    return holding(K, lambda m, d: setattr(m, "helper", Helper(d)), lambda m: m.helper.head)


def in_slots(K):
    class Slotted:
        __slots__ = ("head",)

    def hold(model, layer):
        model.helper = Slotted()
        model.helper.head = layer

    return holding(K, hold, lambda m: m.helper.head)


def in_partial(K):
    return holding(K, lambda m, d: setattr(m, "f", functools.partial(lambda layer, x: layer(x), d)), lambda m: m.f)


def in_bound_method(K):
    return holding(K, lambda m, d: setattr(m, "f", d.__call__), lambda m: m.f)


def behind_weakref(K):
    keep = []

    def hold(model, layer):
        keep.append(layer)
        model.ref = weakref.ref(layer)

    return holding(K, hold, lambda m: m.ref())


def in_generator(K):
    def forever(layer):
        while True:
            yield layer

    return holding(K, lambda m, d: setattr(m, "g", forever(d)), lambda m: next(m.g))


def appended_later(K):
    def hold(model, layer):
        model.ds = []
        model.ds.append(layer)

    return holding(K, hold, lambda m: m.ds[0])


def past_tracking(K):
    return holding(K, lambda m, d: object.__setattr__(m, "d", d), lambda m: m.d)


def in_instance_dict(K):
    return holding(K, lambda m, d: m.__dict__.update(d=d), lambda m: m.d)


def in_closure(K):
    layer = K.layers.Dense(2)

    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        def call(self, x):
            return layer(self.first(x))

    return remember(Model(), kernel(layer))


def in_default_argument(K):
    layer = K.layers.Dense(2)

    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)
            self.head = lambda x, d=layer: d(x)

        def call(self, x):
            return self.head(self.first(x))

    return remember(Model(), kernel(layer))


GLOBAL: dict[str, Any] = {}


def in_global(K):
    layer = GLOBAL["layer"] = K.layers.Dense(2)

    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        def call(self, x):
            return GLOBAL["layer"](self.first(x))

    return remember(Model(), kernel(layer))


def class_attribute(K):
    class Model(K.Model):
        head = K.layers.Dense(2)

        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        def call(self, x):
            return self.head(self.first(x))

    return remember(Model(), kernel(Model.head))


def class_attribute_list(K):
    class Model(K.Model):
        heads = [K.layers.Dense(2)]  # noqa: RUF012 - the trap

        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        def call(self, x):
            return self.heads[0](self.first(x))

    return remember(Model(), kernel(Model.heads[0]))


def cached_property(K):
    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        @functools.cached_property
        def head(self):
            return K.layers.Dense(2)

        def call(self, x):
            return self.head(self.first(x))

    model = Model()
    return remember(model, lambda: model.head.kernel)


def from_property(K):
    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)
            self.helper = Helper(K.layers.Dense(2))

        @property
        def head(self):
            return self.helper.head

        def call(self, x):
            return self.head(self.first(x))

    model = Model()
    return remember(model, lambda: model.helper.head.kernel)


def in_lru_cache(K):
    @functools.cache
    def head(units):
        return K.layers.Dense(units)

    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)

        def call(self, x):
            return head(2)(self.first(x))

    return remember(Model(), lambda: head(2).kernel)


def sublayer_in_build(K):
    class Block(K.layers.Layer):
        def build(self, shape):
            self.inner = K.layers.Dense(2)
            self.inner.build(shape)
            super().build(shape)

        def call(self, x):
            return self.inner(x)

    layer = Block()
    return remember(around(K, layer), lambda: layer.inner.kernel)


def kept_on_first_call(K):
    class Model(K.Model):
        def __init__(self):
            super().__init__()
            self.first = K.layers.Dense(3)
            self.head = None

        def call(self, x):
            if self.head is None:
                self.head = K.layers.Dense(2)
            return self.head(self.first(x))

    model = Model()
    return remember(model, lambda: model.head.kernel)


def tf_module_inside(K):
    class Linear(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones((3, 2)))

        def __call__(self, x):
            return x @ self.w

    module = Linear()
    return remember(around(K, module), lambda: module.w)


def sonnet_inside(K):
    import sonnet as snt

    module = snt.Linear(2)
    return remember(around(K, module), lambda: module.w)


def other_keras_inside(K):
    import keras
    import tf_keras

    other = tf_keras if K is keras else keras
    layer = other.layers.Dense(2)
    return remember(around(K, layer), kernel(layer))


# ------------------------------------------------------------------------------------------------------------ training


def stop_gradient(K):
    class Stop(K.layers.Layer):
        def call(self, x):
            return tf.stop_gradient(x)

    dense = K.layers.Dense(3)
    model = K.Sequential([dense, Stop(), K.layers.Dense(2)])
    return remember(model, kernel(dense))


def rounded(K):
    class Round(K.layers.Layer):
        def call(self, x):
            return tf.cast(tf.cast(x, tf.int32), tf.float32) + tf.ones_like(x)

    dense = K.layers.Dense(3)
    model = K.Sequential([dense, Round(), K.layers.Dense(2)])
    return remember(model, kernel(dense))


def frozen(K):
    dense = K.layers.Dense(3, trainable=False)
    return remember(K.Sequential([dense, K.layers.Dense(2)]), kernel(dense))


def never_used(K):
    class Block(K.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 2), initializer="ones", name="w")
            self.left_over = self.add_weight(shape=(5,), initializer="ones", name="left_over")
            super().build(shape)

        def call(self, x):
            return x @ self.w

    layer = Block()
    return remember(around(K, layer), lambda: layer.left_over)


FINE = "fine"
TRAPS: dict[str, tuple[Any, str, str]] = {
    # name: (trap, kind in Keras 3, kind in tf_keras)
    function.__name__: (function, ours, theirs)
    for function, ours, theirs in (
        (tf_variable_in_build, "untracked", FINE),
        (tf_variable_in_init, "untracked", FINE),
        (get_variable_in_build, "untracked", FINE),
        (tf_variable_in_list, "untracked", FINE),
        (frozen_tf_variable, "untracked", FINE),
        (add_weight, FINE, FINE),
        (lambda_over_variable, "untracked", "untracked"),
        (attribute, FINE, FINE),
        (in_list, "lost", FINE),
        (in_tuple, FINE, FINE),
        (in_dict, "lost", FINE),
        (in_ordered_dict, "lost", FINE),
        (in_set, "lost", "untracked"),
        (in_deque, "untracked", "untracked"),
        (in_dict_of_lists, "lost", FINE),
        (in_list_of_dicts, "lost", FINE),
        (in_tuple_of_lists, "lost", FINE),
        (in_mixture, "lost", FINE),
        (in_namedtuple, FINE, FINE),
        (in_dataclass, "untracked", "untracked"),
        (in_plain_object, "untracked", "untracked"),
        (in_slots, "untracked", "untracked"),
        (in_partial, "untracked", "untracked"),
        (in_bound_method, "untracked", "untracked"),
        (behind_weakref, "untracked", "untracked"),
        (in_generator, "untracked", "untracked"),
        (appended_later, "lost", FINE),
        (past_tracking, "untracked", "untracked"),
        (in_instance_dict, "untracked", "untracked"),
        (in_closure, "untracked", "untracked"),
        (in_default_argument, "untracked", "untracked"),
        (in_global, "untracked", "untracked"),
        (class_attribute, "untracked", "untracked"),
        (class_attribute_list, "untracked", "untracked"),
        (cached_property, "untracked", "untracked"),
        (from_property, "untracked", "untracked"),
        (in_lru_cache, "untracked", "untracked"),
        (sublayer_in_build, FINE, FINE),
        (kept_on_first_call, FINE, FINE),
        (tf_module_inside, "foreign", "foreign"),
        (sonnet_inside, "foreign", "foreign"),
        (other_keras_inside, "foreign", "foreign"),
        (stop_gradient, "untrained", "untrained"),
        (rounded, "untrained", "untrained"),
        (frozen, FINE, FINE),
        (never_used, "orphan", "orphan"),
    )
}
