"""What each layer of a live model is given and gives, recorded in one eager run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from ckptkit import frameworks
from ckptkit.verification.calls import Call
from ckptkit.verification.torch_hooks import record_torch


@dataclass(frozen=True, slots=True)
class _Array:
    """A value of a backend that is none of TensorFlow's, read as one."""

    value: Any

    def numpy(self) -> Any:
        return self.value


def record_calls(model: Any, call: Callable[[], object]) -> list[Call]:
    """The first call of each object inside `model` that owns weights, in the order of finishing, while `call` runs it."""
    if frameworks.framework_of(model) == "torch":
        return record_torch(model, call)
    calls: dict[int, Call] = {}
    with _watched(model, calls):
        call()
    # A cell is part of its recurrent layer, which people know by name; it is also called once a step.
    cells = {id(getattr(call.layer, "cell", None)) for call in calls.values()}
    return [call for call in calls.values() if id(call.layer) not in cells and owns_weights(call.layer)]


def owns_weights(layer: Any) -> bool:
    """Whether `layer` has variables that none of the layers inside it has, or is a recurrent layer around its cell."""
    framework = frameworks.framework_of(layer)
    if framework is None:
        return False
    if frameworks.is_keras(framework):
        inner = [other for other in layer._flatten_layers(include_self=False) if other.weights]
        return bool(layer.weights) and (not inner or hasattr(layer, "cell"))
    own = {id(variable) for variable in layer.variables}
    below = {id(variable) for other in layer.submodules for variable in other.variables}
    return bool(own - below) or bool(own and not below)


@contextmanager
def _watched(model: Any, calls: dict[int, Call]) -> Iterator[None]:
    """Record through the `__call__` of every class that an object inside `model` has its own from."""
    with ExitStack() as stack:
        for owner in _callable_classes(model):
            stack.enter_context(mock.patch.object(owner, "__call__", _recording(owner.__call__, calls)))
        yield


def _callable_classes(model: Any) -> list[type]:
    keras = [
        module.layers.Layer for module in (sys.modules.get("keras"), sys.modules.get("tf_keras")) if module is not None
    ]
    found: dict[type, None] = {}
    for thing in (model, *getattr(model, "submodules", ())):
        base = next((layer for layer in keras if isinstance(thing, layer)), None)
        owner = base or next((c for c in type(thing).__mro__ if "__call__" in c.__dict__), None)
        if owner is not None:
            found[owner] = None
    return list(found)


def _recording(original: Any, calls: dict[int, Call]) -> Any:
    def first_tensor(self: Any, tree: Any) -> Any:
        if frameworks.other_backend(self) is not None:
            keras = sys.modules["keras"]
            found = next((leaf for leaf in keras.tree.flatten(tree) if keras.ops.is_tensor(leaf)), None)
            return None if found is None else _Array(keras.ops.convert_to_numpy(found))
        import tensorflow as tf

        return next((leaf for leaf in tf.nest.flatten(tree) if tf.is_tensor(leaf)), None)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        given, made = first_tensor(self, (args, kwargs)), first_tensor(self, result)
        if id(self) not in calls and made is not None and hasattr(made, "numpy"):
            calls[id(self)] = Call(
                self,
                getattr(self, "name", type(self).__name__),
                type(self).__name__,
                None if given is None or not hasattr(given, "numpy") else given.numpy(),
                made.numpy(),
            )
        return result

    return call
