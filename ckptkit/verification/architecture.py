"""Whole models from files, without running anything that a file brings along.

Keras files can carry marshalled Python code (Lambda layers) and names of classes to import. What a configuration may name
is therefore decided here, before Keras sees it: classes of Keras itself and nothing else. Keras's own `safe_mode` stays
on top of that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ckptkit.errors import MissingDependencyError, ModelError, UnsupportedError
from ckptkit.references import describe

_HINT = "Name a function that makes the model, as a REF."

# Packages whose classes a configuration may name. Everything else would be an import of the file's choosing.
_OWN = ("keras", "tf_keras", "builtins", "tensorflow.keras", "tensorflow.python.keras")

# Classes that hold code, or reach for it.
_CODE = {"Lambda", "__lambda__", "TensorFlowOpLayer", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}


def check_config(config: Mapping[str, Any], path: str) -> None:
    """Raise unless `config`, the parsed architecture, names nothing but Keras's own classes.

    Raises:
        UnsupportedError: it holds code, or a class of somebody else's.
    """
    pending: list[Any] = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            _check_object(node, path)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _check_object(node: Mapping[str, Any], path: str) -> None:
    name = node.get("class_name")
    if not isinstance(name, str):
        return
    if name in _CODE:
        raise UnsupportedError("the architecture holds code, which is not run", path=path, key=name, hint=_HINT)
    module, registered = node.get("module"), node.get("registered_name")
    foreign = isinstance(module, str) and not any(module == own or module.startswith(own + ".") for own in _OWN)
    custom = isinstance(registered, str) and ">" in registered and not registered.startswith(("keras>", "Keras>"))
    if foreign or custom or name == "function":
        raise UnsupportedError(
            "the architecture names a class that is not Keras's own", path=path,
            key=f"{module}.{name}" if module else str(registered or name), hint=_HINT,
        )  # fmt: skip


def load_model(path: str, config: Mapping[str, Any], keras_version: str | None) -> Any:
    """The model in a `.keras` archive or a whole-model HDF5 file, by the generation of Keras that wrote it.

    Args:
        path: the file.
        config: its architecture, parsed.
        keras_version: as the file has it; None counts as Keras 3.

    Raises:
        UnsupportedError: see `check_config`.
        MissingDependencyError: that generation is not installed.
        ModelError: Keras refuses the file.
    """
    check_config(config, path)
    legacy = keras_version is not None and keras_version.split(".")[0] in {"1", "2"}
    loader = _loader(legacy)
    try:
        return loader(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a layer's constructor does
        raise ModelError(f"Keras cannot load the model: {describe(error)}", path=path, hint=_HINT) from error


def _loader(legacy: bool) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    package = "tf_keras" if legacy else "keras"
    try:
        if legacy:
            import tf_keras

            return tf_keras.models.load_model
        import keras

        return keras.saving.load_model
    except ImportError as error:
        generation = "Keras 1 or 2" if legacy else "Keras 3"
        raise MissingDependencyError(
            f"a model of {generation} needs {package}", hint=f"`pip install {package.replace('_', '-')}`."
        ) from error
