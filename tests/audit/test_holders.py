"""Paths to variables: the one that the user wrote, through every kind of link, whatever the shape of the objects."""

from __future__ import annotations

import collections
import functools
import weakref
from typing import Any

import pytest
import tensorflow as tf

from ckptkit.auditing.holders import find_holders
from ckptkit.auditing.tracking import Recorder, is_user_file


class Holder(tf.Module):
    """Holds one thing."""

    def __init__(self, thing: Any) -> None:
        super().__init__()
        self.thing = thing


class Plain:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


Pair = collections.namedtuple("Pair", ["left", "right"])


def path_to(root: Any, variable: tf.Variable) -> tuple[str, tuple[str, ...]]:
    _, holder = find_holders(root)[id(variable)]
    return holder.path, holder.links


def closure(variable: Any) -> Any:
    return lambda: variable


def default(variable: Any) -> Any:
    def function(v=variable):
        return v

    return function


def generator(variable: Any) -> Any:
    def values():
        kept = variable
        yield kept
        yield kept

    made = values()
    next(made)
    return made


def cached(variable: Any) -> Any:
    box = [variable]

    @functools.lru_cache(maxsize=3)
    def made(key: int) -> Any:
        return box.pop()

    made(1)
    return made


@pytest.mark.parametrize(
    ("make", "path", "last"),
    [
        (lambda v: v, "model.thing", "attribute"),
        (lambda v: [0, v], "model.thing[1]", "list"),
        (lambda v: (v,), "model.thing[0]", "tuple"),
        (lambda v: {"a": [v]}, "model.thing['a'][0]", "list"),
        (lambda v: Pair(None, v), "model.thing.right", "tuple"),
        (lambda v: collections.deque([v]), "model.thing[0]", "deque"),
        (lambda v: {Plain(v)}, "model.thing{…}.inner", "object"),
        (lambda v: Plain(Plain(v)), "model.thing.inner.inner", "object"),
        (closure, "model.thing.<closure>.variable", "closure"),
        (default, "model.thing.<default>", "default"),
        (lambda v: functools.partial(print, v), "model.thing.args[0]", "partial"),
        (lambda v: functools.partial(print, end=v), "model.thing.keywords['end']", "partial"),
        (generator, "model.thing.variable", "generator"),
        (cached, "model.thing.cache", "cache"),
    ],
)
def test_links(make: Any, path: str, last: str) -> None:
    variable = tf.Variable(1.0)
    found, links = path_to(Holder(make(variable)), variable)
    if "generator" in links:
        assert found.startswith("model.thing.")
    else:
        assert found == path
    assert links[-1] == last


def test_a_weak_reference() -> None:
    inner = Plain(tf.Variable(1.0))
    path, links = path_to(Holder(weakref.ref(inner)), inner.inner)
    assert path == "model.thing().inner"
    assert "weakref" in links


def test_cycles_and_depth_end() -> None:
    variable = tf.Variable(1.0)
    chain: Any = Plain(variable)
    first = chain
    for _ in range(5000):
        chain = Plain(chain)
    first.back = chain
    path, _ = path_to(Holder(chain), variable)
    assert path.count(".inner") == 5001


def test_the_public_way_is_told() -> None:
    variable = tf.Variable(1.0)
    holder = Holder(Plain(variable))
    holder._first = variable
    assert path_to(holder, variable)[0] in ("model._first", "model.thing.inner")
    holder.public = variable
    assert path_to(holder, variable)[0] == "model.public"


class Angry:
    """What a mark generator, a mock or a context-bound proxy may do when it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Disguised(Angry):
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("asked what it is")


@pytest.mark.parametrize("kind", [Angry, Disguised])
def test_an_object_that_raises_when_asked_is_left_alone(kind: type) -> None:
    variable = tf.Variable(1.0)
    holder = Holder(Plain(variable))
    object.__setattr__(holder, "angry", kind())
    assert path_to(holder, variable)[0] == "model.thing.inner"


def test_an_attribute_that_raises_is_not_asked() -> None:
    class Property(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(1.0)

        @property
        def boom(self) -> Any:
            raise RuntimeError("a property was evaluated")

    model = Property()
    assert path_to(model, model.w)[0] == "model.w"


def test_where_a_variable_was_made() -> None:
    with Recorder() as recorder:
        tf.Variable(1.0)
    (creation,) = recorder.creations
    assert creation.created_at is not None
    assert creation.created_at.rpartition(":")[0].endswith("test_holders.py")
    assert creation.method == "test_where_a_variable_was_made"
    assert creation.made_by == "tf.Variable"


def test_watching_leaves_the_classes_as_they_were() -> None:
    keras = pytest.importorskip("keras")
    tf_keras = pytest.importorskip("tf_keras")
    kinds = [tf.Module, keras.layers.Layer, tf_keras.layers.Layer, keras.Variable]
    before = [(kind.__init__, "__init__" in vars(kind)) for kind in kinds]
    with pytest.raises(RuntimeError), Recorder():
        raise RuntimeError
    assert [(kind.__init__, "__init__" in vars(kind)) for kind in kinds] == before
    assert not tf.config.functions_run_eagerly()


def test_whose_file_it_is() -> None:
    assert is_user_file(__file__)
    assert not is_user_file(tf.__file__)
    assert not is_user_file(functools.__file__)
    assert not is_user_file("<frozen importlib._bootstrap>")
