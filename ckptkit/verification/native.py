"""Weights into a model by its framework's own loader, and by nothing else.

What a verification proves must not rest on ckptkit's own matching. So a file of weights goes through the loader that its
framework has for it, and only counts as loaded when every variable of the model was set by it, and every weight of the file
was used.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.errors import ModelError
from ckptkit.model import KerasV3, LegacyKeras
from ckptkit.references import describe
from ckptkit.verification.coverage import digest
from ckptkit.verification.roots import roots

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.model import Checkpoint, Contents

# What a variable holds before it is loaded; a loader that leaves it there has not found it.
_MARK = -0.000_739_154_3
_INTEGER_MARK = 1_987_654_321


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model was filled.

    Attributes:
        words: the loader.
        unused: weights of the file that it had no place for, by canonical name.
    """

    words: str
    unused: tuple[str, ...] = ()


class NotNativeError(Exception):
    """No loader of the framework takes the file for the model.

    Attributes:
        tried: what was tried and why it failed, in words.
    """

    def __init__(self, tried: Sequence[str]) -> None:
        """Keep what was tried."""
        super().__init__("; ".join(tried))
        self.tried = tuple(tried)


def load_native(model: Any, checkpoint: Checkpoint, contents: Contents, path: str, *, own: bool = False) -> Loading:
    """Load a checkpoint into a live model by the framework's own loader, every variable of the model or nothing.

    Args:
        model: a Keras 3, tf_keras, Sonnet or `tf.Module` object whose variables exist.
        checkpoint: the same file, open: says which weights have to arrive.
        contents: what its format module found.
        path: where it is, as its format has it: a local file, a bundle's prefix, a SavedModel's folder.
        own: whether a file that goes by the order or the classes of layers must also name them as the model does.

    Raises:
        NotNativeError: none takes it; the model holds what it did before.
    """
    framework = frameworks.framework_of(model)
    if framework is None:
        raise ModelError(
            "not a model", expected="a Keras, tf_keras, Sonnet or tf.Module object", found=type(model).__name__
        )
    variables = frameworks.distinct(frameworks.weights(model, framework))
    if not variables:
        raise ModelError(
            "the model has no variables yet", key=type(model).__name__,
            hint="Give --inputs data.npz or an --input-shape for each input, or let the factory call it once.",
        )  # fmt: skip
    structure = contents.structure
    if isinstance(structure, LegacyKeras | KerasV3):
        return _load_keras(model, framework, variables, checkpoint, structure, contents, path, own=own)
    if contents.format in {"tensor-bundle", "saved-model", "tf-v1"}:
        return _load_tensorflow(model, framework, variables, checkpoint, _prefix(path, contents.format))
    raise NotNativeError([f"{frameworks.TITLES[framework]} has no loader for {contents.format}"])


def _load_keras(
    model: Any,
    framework: str,
    variables: Sequence[Any],
    checkpoint: Checkpoint,
    structure: LegacyKeras | KerasV3,
    contents: Contents,
    path: str,
    *,
    own: bool,
) -> Loading:
    if not frameworks.is_model(model):
        raise NotNativeError(
            [f"a {frameworks.TITLES[framework]} object without load_weights takes no {contents.format} file"]
        )
    # Keras 3 reads the files of other generations by the order of layers, which it may have put in another.
    foreign = framework == "keras" and isinstance(structure, LegacyKeras) and not _of_keras3(structure)
    if (own or foreign) and not _same_layers(model, structure):
        # Such files are loaded by the order, or by the classes, of layers, whatever these are called.
        raise NotNativeError(["the layers of the file have other names, or another order, than the model's"])
    words = f"{framework} Model.load_weights"
    with _undone_on_failure(model, variables) as keep, _named_for_keras(path, contents) as name:
        reason = _try(lambda: model.load_weights(name), variables)
        unused = () if reason else _unused(variables, checkpoint)
        if unused:
            reason = f"{len(unused)} weights of the file have no place in the model, such as {unused[0]}"
        if reason:
            raise NotNativeError([f"{words}: {reason}"])
        keep()
    return Loading(words)


def _load_tensorflow(
    model: Any, framework: str, variables: Sequence[Any], checkpoint: Checkpoint, prefix: str
) -> Loading:
    tried: list[str] = []
    fitting: dict[str, list[bytes]] = {}
    with _undone_on_failure(model, variables) as keep:
        attempts = [
            (f"tf.train.Checkpoint({words}).read", _reading(make, prefix)) for words, make in roots(model, prefix)
        ]
        attempts.append(
            ("tf.compat.v1.train.Saver.restore, by the variables' names", lambda: _restore(model, framework, prefix))
        )
        for words, attempt in attempts:
            if fitting and "Saver" in words:
                break
            reason = _try(attempt, variables)
            if reason is None:
                fitting[words] = [digest(variable.numpy()) for variable in variables]
                values = [variable.numpy() for variable in variables]
            else:
                tried.append(f"{words}: {reason}")
        if not fitting:
            raise NotNativeError(tried)
        if len({tuple(found) for found in fitting.values()}) > 1:
            raise NotNativeError([f"the file holds several such models: {', '.join(fitting)}"])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        frameworks.settle(model)
        keep()
    return Loading(next(iter(fitting)), _unused(variables, checkpoint))


def _reading(make: Callable[[], Any], prefix: str) -> Callable[[], object]:
    return lambda: make().read(prefix).expect_partial()


def _try(attempt: Callable[[], object], variables: Sequence[Any]) -> str | None:
    """Why an attempt does not count, or None where it set every variable."""
    _mark(variables)
    try:
        attempt()
    except Exception as error:  # noqa: BLE001  # loaders raise whatever they like
        return describe(error)
    left = [variable for variable in variables if _is_marked(variable)]
    if left:
        return f"{len(left)} of {len(variables)} variables were not set, such as {left[0].name.split(':')[0]}"
    return None


def _mark_of(variable: Any) -> np.ndarray | None:
    """What marks a variable, as an array without dimensions; None where no value would be beyond doubt."""
    import numpy as np

    if 0 in variable.shape:
        return None
    name = _dtype(variable)
    if "float" in name:
        return np.asarray(_MARK).astype(np.dtype(name))
    integer = name.startswith(("int", "uint")) and np.dtype(name).itemsize >= 4
    return np.asarray(_INTEGER_MARK, np.dtype(name)) if integer else None


def _dtype(variable: Any) -> str:
    """Name of a variable's dtype, which is a word itself where Keras does not run on TensorFlow."""
    return str(getattr(variable.dtype, "name", variable.dtype))


def _mark(variables: Sequence[Any]) -> None:
    import numpy as np

    for variable in variables:
        mark = _mark_of(variable)
        if mark is not None:
            variable.assign(np.full(tuple(variable.shape), mark))


def _is_marked(variable: Any) -> bool:
    mark = _mark_of(variable)
    return mark is not None and bool((variable.numpy() == mark).all())


def _unused(variables: Sequence[Any], checkpoint: Checkpoint) -> tuple[str, ...]:
    """Weights of the file whose values the model does not hold: only looked for where there are more of them."""
    stored = [variable for variable in checkpoint.spec.variables if variable.kind == "weight"]
    # Counters and generators of the model are no weights of the file's.
    if len(stored) <= sum("float" in _dtype(variable) for variable in variables):
        return ()
    held = {digest(variable.numpy()) for variable in variables}
    return tuple(variable.name for variable in stored if digest(checkpoint[variable.name].read()) not in held)


@contextmanager
def _undone_on_failure(model: Any, variables: Sequence[Any]) -> Iterator[Callable[[], None]]:
    """Put values back unless the function that is given is called."""
    import numpy as np

    # Copies: on PyTorch an array is the variable's own memory.
    before = [np.array(variable.numpy()) for variable in variables]
    kept = False

    def keep() -> None:
        nonlocal kept
        kept = True

    try:
        yield keep
    finally:
        if not kept:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            frameworks.settle(model)


def _of_keras3(structure: LegacyKeras) -> bool:
    return structure.keras_version is not None and structure.keras_version.startswith("3")


def _same_layers(model: Any, structure: LegacyKeras | KerasV3) -> bool:
    """Whether a file names the layers that the model has: in its order, where the file is loaded by that."""
    if isinstance(structure, LegacyKeras):
        held = _attribute_names(model)
        names = [{layer.name, *held.get(id(layer), ())} for layer in model.layers if layer.weights]
        stored = [group.name for group in structure.groups if group.weights]
        return len(names) == len(stored) and all(name in known for name, known in zip(stored, names, strict=True))
    known = {layer.name for layer in model._flatten_layers()}
    return all(group.name is None or group.name in known for group in structure.groups if group.keys)


def _attribute_names(model: Any) -> dict[int, list[str]]:
    """`id` of an object -> the attributes of a model that hold it: what a subclass calls a layer that has no name."""
    found: dict[int, list[str]] = {}
    for name, value in vars(model).items():
        found.setdefault(id(value), []).append(name)
    return found


@contextmanager
def _named_for_keras(path: str, contents: Contents) -> Iterator[str]:
    """A path to the same file that ends as Keras wants it: its loaders look at the name, not into the file."""
    endings: tuple[str, ...]
    if contents.format == "keras":
        endings = (".keras",)
    elif contents.format == "keras-sharded":
        endings = (".json",)
    elif isinstance(contents.structure, KerasV3):
        endings = (".weights.h5",)
    else:
        endings = (".h5", ".hdf5")
    if path.endswith(endings) and not (endings[0] == ".h5" and path.endswith(".weights.h5")):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        name = str(Path(folder) / f"weights{endings[0]}")
        try:
            Path(name).symlink_to(Path(path).resolve())
        except OSError:  # a file system, or a user, without symbolic links
            shutil.copyfile(path, name)
        yield name


def _prefix(path: str, format_name: str) -> str:
    """What TensorFlow's loaders call a checkpoint."""
    return str(Path(path) / "variables" / "variables") if format_name == "saved-model" else path


def _restore(model: Any, framework: str, prefix: str) -> None:
    import tensorflow as tf

    named: dict[str, Any] = {}
    for variable in frameworks.distinct(frameworks.weights(model, framework)):
        name = variable.name.split(":")[0]
        if name in named:
            raise ValueError(f"several variables are called {name}")
        named[name] = variable
    tf.compat.v1.train.Saver(named).restore(None, prefix)
