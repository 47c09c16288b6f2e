"""The frameworks behind one small view: which one an object is of, its weights, how it is called.

A framework is looked up in `sys.modules`, never imported: an object of it can only exist where it is loaded already.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable
from typing import Any, Literal

from ckptkit.errors import MissingDependencyError
from ckptkit.references import user_code
from ckptkit.trees import FunctionalModel, as_functional

Framework = Literal["keras", "tf_keras", "sonnet", "tf.Module", "torch", "jax"]

TITLES: dict[str, str] = {
    "keras": "Keras 3",
    "tf_keras": "tf_keras",
    "sonnet": "Sonnet 2",
    "tf.Module": "tf.Module",
    "torch": "PyTorch",
    "jax": "JAX",
}


def require_tensorflow() -> Any:
    """TensorFlow, imported now; its native log stays off stderr unless the environment says otherwise.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingDependencyError(
            "live models need TensorFlow", hint="Install ckptkit[tensorflow] or ckptkit[tensorflow-cpu]."
        ) from error
    return tf


def has_tensorflow() -> bool:
    """Whether TensorFlow is there: PyTorch's modules and models of JAX run without."""
    return "tensorflow" in sys.modules or importlib.util.find_spec("tensorflow") is not None


def framework_of(thing: object) -> Framework | None:
    """The framework whose layer, model or module `thing` is, or None."""
    if isinstance(thing, FunctionalModel):
        return "jax"
    keras, tf_keras, sonnet = (sys.modules.get(name) for name in ("keras", "tf_keras", "sonnet"))
    if keras is not None and isinstance(thing, keras.layers.Layer):
        return "keras"
    if tf_keras is not None and isinstance(thing, tf_keras.layers.Layer):
        return "tf_keras"  # before tf.Module, whose subclass it is
    if sonnet is not None and isinstance(thing, sonnet.Module):
        return "sonnet"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(thing, tensorflow.Module):
        return "tf.Module"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(thing, torch.nn.Module):
        return "torch"  # after Keras, whose layers are such modules where it runs on PyTorch
    return None


def functional_or_same(model: Any) -> Any:
    """A model of JAX as a function over its tree; any other as it is."""
    return model if framework_of(model) is not None else as_functional(model) or model


def is_keras(framework: str) -> bool:
    """Whether `framework` is one of the two Keras lines."""
    return framework in ("keras", "tf_keras")


def is_model(thing: object) -> bool:
    """Whether `thing` is a Keras model, which has savers and a training loop of its own."""
    return any(
        module is not None and isinstance(thing, module.Model)
        for module in (sys.modules.get("keras"), sys.modules.get("tf_keras"))
    )


def other_backend(thing: object) -> str | None:
    """`jax` or `torch` where `thing` is of a Keras 3 that runs on it; None for anything on TensorFlow."""
    if framework_of(thing) != "keras":
        return None
    backend = str(sys.modules["keras"].backend.backend())
    return None if backend == "tensorflow" else backend


def keras_elsewhere() -> str | None:
    """The backend of a Keras 3 that is loaded, or will be, where that is not TensorFlow."""
    keras = sys.modules.get("keras")
    loaded = keras is not None and hasattr(keras, "backend")
    backend = str(keras.backend.backend()) if keras is not None and loaded else os.environ.get("KERAS_BACKEND")
    return backend if backend in ("jax", "torch") else None


def dtype_name(variable: Any) -> str:
    """The name of a variable's type: Keras 3 has it as a text."""
    return variable.dtype if isinstance(variable.dtype, str) else str(variable.dtype.name)


def raw(variable: Any) -> Any:
    """The `tf.Variable` inside what a framework calls a variable.

    Keras 3 keeps it in `_value` (its public `value` casts inside an autocast scope), tf_keras's mixed-precision wrapper
    in `_variable`.
    """
    for attribute in ("_value", "_variable"):
        inner = getattr(variable, attribute, None)
        if hasattr(inner, "assign") and hasattr(inner, "trainable"):
            return inner
    return variable


def weights(model: Any, framework: str) -> list[Any]:
    """What the framework says are the model's weights, as `tf.Variable`s; none for a model that is not built."""
    if framework == "tf_keras" and not model.built:
        return []  # a Sequential raises when it is asked
    return [raw(variable) for variable in (model.weights if is_keras(framework) else _listed(model, "variables"))]


def trainable_weights(model: Any, framework: str) -> list[Any]:
    """What the framework hands to an optimizer, as the framework's own variables."""
    return list(model.trainable_weights if is_keras(framework) else _listed(model, "trainable_variables"))


def named_variables(model: Any, framework: str) -> list[Any]:
    """The framework's own variables, which know their names: weights, seeds and metrics."""
    return list(model.variables if is_keras(framework) else _listed(model, "variables"))


def state(model: Any, framework: str) -> list[Any]:
    """Every `tf.Variable` that calling or training may change: weights, seeds, metrics, the optimizer's."""
    found = named_variables(model, framework)
    if is_keras(framework):
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None:
            slots = optimizer.variables  # a method in older optimizers of tf_keras
            found.extend(slots() if callable(slots) else slots)
        found.extend(variable for metric in getattr(model, "metrics", ()) for variable in metric.variables)
    return [raw(variable) for variable in found]


def _listed(model: Any, name: str) -> Any:
    """As `tf.Module` defines it: Sonnet's own properties raise for a module that has none."""
    return getattr(require_tensorflow().Module, name).fget(model)


def run(model: Any, arguments: tuple[Any, ...], *, training: bool) -> Any:
    """Call `model` on `arguments`, telling it in the framework's word whether it is trained.

    Some of Sonnet's decorators hide the signature of what they wrap, so that only the refused call says that
    `is_training` is wanted; nothing has run then.
    """
    try:
        return _run_as_declared(model, arguments, training=training)
    except TypeError as error:
        if "required positional argument: 'is_training'" not in str(error):
            raise
    return model(*arguments, is_training=training)


def _run_as_declared(model: Any, arguments: tuple[Any, ...], *, training: bool) -> Any:
    """Call `model` by what its signature says.

    A Keras model takes `training` whether or not its `call` does, and hands it on to the layers inside; a Sonnet module
    takes `is_training` where its signature says so, and a recurrent core its initial state.
    """
    words: dict[str, Any] = {}
    if is_keras(framework_of(model) or ""):
        if is_model(model) or "training" in _parameters(model.call):
            words["training"] = training
        return model(*arguments, **words)
    parameters = _parameters(model.__call__)
    words = {word: training for word in ("training", "is_training") if word in parameters}
    if "prev_state" in parameters and len(arguments) == 1 and hasattr(model, "initial_state"):
        arguments = (*arguments, model.initial_state(arguments[0].shape[0]))
    return model(*arguments, **words)


def accepts(model: Any, count: int) -> bool:
    """Whether a call of `model` takes `count` inputs as separate positional arguments."""
    function = model.call if is_keras(framework_of(model) or "") else model.__call__
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = _parameters(function).values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    named = [p for p in parameters if p.kind in kinds and p.name not in ("training", "is_training", "mask")]
    return len(named) >= count


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a callable without a signature, such as one written in C
        return {}


def leaves(tree: Any) -> list[Any]:
    """What a structure of a call holds, in a fixed order."""
    flatten = sys.modules["keras"].tree.flatten if keras_elsewhere() else require_tensorflow().nest.flatten
    return list(flatten(tree))


def tensors(tree: Any) -> list[Any]:
    """The tensors in an output structure, in a fixed order."""
    is_tensor = sys.modules["keras"].ops.is_tensor if keras_elsewhere() else require_tensorflow().is_tensor
    return [leaf for leaf in leaves(tree) if is_tensor(leaf)]


def is_variable(thing: Any) -> bool:
    """Whether `thing` is a `tf.Variable`, or one of a Keras 3 on another backend."""
    if keras_elsewhere():
        return isinstance(thing, sys.modules["keras"].Variable)
    return isinstance(thing, require_tensorflow().Variable)


def distinct(variables: Iterable[Any]) -> list[Any]:
    """The variables without repetition, in order; `tf.Variable` compares by value, so identity decides."""
    return list({id(variable): variable for variable in variables}.values())


def save(model: Any, framework: str, path: str) -> str:
    """Write the weights of `model` with its own saver.

    Args:
        model: built.
        framework: that of the model.
        path: without an ending.

    Returns:
        What was written: `path` with an ending, or a checkpoint's prefix.

    Raises:
        ModelError: the framework refuses.
    """
    with user_code("the model cannot be saved"):
        if isinstance(model, FunctionalModel):
            return model.save(path)
        if framework == "torch":
            from safetensors.torch import save_file

            held = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
            save_file(held, f"{path}.safetensors")
            return f"{path}.safetensors"
        if is_model(model):
            # tf_keras's legacy layout has the layers' own names and order; Keras 3 writes them into the new one.
            path += ".h5" if framework == "tf_keras" else ".weights.h5"
            model.save_weights(path)
            return path
        return str(require_tensorflow().train.Checkpoint(model=model).write(path))


def settle(model: Any) -> None:
    """Let layers that compute with something made of their variables make it anew, after these were assigned one by one.

    A `Normalization` that was adapted keeps its mean and its deviation beside its variables (`finalize_state` in
    keras/src/layers/preprocessing/normalization.py); Keras's own loaders call it.
    """
    for layer in model._flatten_layers() if hasattr(model, "_flatten_layers") else ():
        if hasattr(layer, "finalize_state") and hasattr(layer, "adapt_mean"):
            layer.finalize_state()


def load(model: Any, path: str) -> None:
    """Load what `save` wrote, every variable of it.

    Raises:
        ModelError: the framework refuses, or does not find every variable.
    """
    with user_code("the model cannot load its own weights"):
        if is_model(model):
            model.load_weights(path)
        else:
            require_tensorflow().train.Checkpoint(model=model).read(path).assert_existing_objects_matched()
