"""What each saver keeps: save with it, load into a fresh model, compare; and read the file with our own readers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ckptkit.auditing import values
from ckptkit.auditing.adapters import Adapter, is_merged
from ckptkit.errors import CkptkitError, ModelError
from ckptkit.frameworks import is_keras, is_model, keras_elsewhere, require_tensorflow, run
from ckptkit.references import user_code

SaverName = Literal["weights.h5", "h5", "checkpoint"]
SAVERS: tuple[SaverName, ...] = ("weights.h5", "h5", "checkpoint")

CALLS: dict[tuple[str, str], str] = {
    ("keras", "weights.h5"): 'save_weights("x.weights.h5")',
    ("keras", "h5"): 'save("x.h5")',
    ("tf_keras", "weights.h5"): 'save_weights("x.weights.h5")',
    ("tf_keras", "h5"): 'save_weights("x.h5")',
}
"""How a user calls each saver, for messages; every other one is `tf.train.Checkpoint`."""


@dataclass(frozen=True, slots=True)
class Saving:
    """What became of the variables by one saver.

    Attributes:
        saver: which one.
        restored: for each variable, whether a fresh model that loads the file has its value; None where the framework
            cannot write with this saver.
        in_file: for each variable, whether our own reader finds its value in the file; None where nothing was written.
        problem: what the saver raised, in one line, or None.
        merged: for each variable, whether it is part of an adapter that came back merged.
    """

    saver: SaverName
    restored: tuple[bool, ...] | None
    in_file: tuple[bool, ...] | None
    problem: str | None = None
    merged: tuple[bool, ...] | None = None


def measure_savers(
    framework: str,
    model: Any,
    fresh: Any,
    pairs: Sequence[tuple[Any, Any]],
    arguments: tuple[Any, ...],
    adapters: Sequence[Adapter] = (),
) -> tuple[Saving, ...]:
    """Save `model`, load into `fresh`, for each saver; every variable gets other values.

    Args:
        framework: that of the model.
        model: built.
        fresh: another of its making, built; or the same one, which then loads its own file with its values overwritten.
        pairs: (variable of `model`, its counterpart in `fresh`), each in a fixed order.
        arguments: what the model is called with.
        adapters: of the model, by their places in `pairs`.

    Returns:
        One result per saver; `restored` and `in_file` are in the order of `pairs`.
    """
    saved, loaded = _savable(framework, model, arguments), _savable(framework, fresh, arguments)
    results = []
    with tempfile.TemporaryDirectory(prefix="ckptkit-audit-") as folder:
        for saver in SAVERS:
            pair = _functions(framework, saver)
            if pair is None:
                results.append(Saving(saver, None, None))
            else:
                results.append(
                    _measure(saver, pair, saved, loaded, pairs, Path(folder) / saver.replace(".", ""), adapters)
                )
    return tuple(results)


_Save = Callable[[Any, Path], str]
_Load = Callable[[Any, str], None]


def _measure(
    saver: SaverName,
    functions: tuple[_Save, _Load],
    model: Any,
    fresh: Any,
    pairs: Sequence[tuple[Any, Any]],
    folder: Path,
    adapters: Sequence[Adapter],
) -> Saving:
    save, load = functions
    folder.mkdir()
    wanted = values.mark((variable for variable, _ in pairs), seed=1)
    try:
        with user_code("saving fails"):
            path = save(model, folder)
    except ModelError as error:
        if _cannot_write(saver, error.__cause__):
            return Saving(saver, None, None)
        nothing = (False,) * len(pairs)
        return Saving(saver, nothing, nothing, error.problem)
    in_file = _find_in_file(path, wanted)
    values.mark((variable for _, variable in pairs), seed=2)
    problem = None
    try:
        with user_code("loading fails"):
            load(fresh, path)
    except ModelError as error:
        problem = error.problem
    found = [values.read(variable) for _, variable in pairs]
    restored = tuple(values.same(value, given) for value, given in zip(found, wanted, strict=True))
    merged = {place for adapter in adapters if is_merged(adapter, wanted, found) for place in adapter.all}
    return Saving(saver, restored, in_file, problem, tuple(place in merged for place in range(len(pairs))))


def _cannot_write(saver: SaverName, error: BaseException | None) -> bool:
    """Whether the framework cannot write this model with this saver at all, which says nothing about its weights.

    Keras 3's `.h5` holds the architecture too and refuses models without a configuration in several ways; only HDF5's
    refusal of a second object of the same name is about the weights.
    """
    return isinstance(error, NotImplementedError) or (saver == "h5" and "already exists" not in str(error))


def _functions(framework: str, saver: SaverName) -> tuple[_Save, _Load] | None:
    if saver == "checkpoint":
        if keras_elsewhere():
            return None
        return _save_checkpoint, _load_checkpoint
    if not is_keras(framework):
        return None
    if saver == "h5":
        return (_save_whole if framework == "keras" else _save_legacy), _load_weights
    return _save_weights, _load_weights


def _save_weights(model: Any, folder: Path) -> str:
    path = str(folder / "x.weights.h5")
    model.save_weights(path)
    return path


def _save_legacy(model: Any, folder: Path) -> str:
    path = str(folder / "x.h5")
    model.save_weights(path)
    return path


def _save_whole(model: Any, folder: Path) -> str:
    path = str(folder / "x.h5")
    model.save(path)
    return path


def _load_weights(model: Any, path: str) -> None:
    model.load_weights(path)


def _save_checkpoint(model: Any, folder: Path) -> str:
    return str(require_tensorflow().train.Checkpoint(model=model).write(str(folder / "x")))


def _load_checkpoint(model: Any, path: str) -> None:
    require_tensorflow().train.Checkpoint(model=model).read(path).expect_partial()


def _savable(framework: str, model: Any, arguments: tuple[Any, ...]) -> Any:
    """The model itself, or, for a lone Keras layer, which has no saver, a model around it."""
    if not is_keras(framework) or is_model(model):
        return model
    base = sys.modules[framework].Model

    class Around(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(name="around")
            self.layer = model

        def call(self, *inputs: Any, training: bool | None = None) -> Any:
            return run(self.layer, inputs, training=bool(training))

    around = Around()
    around(*arguments)
    return around


def _find_in_file(path: str, wanted: Sequence[np.ndarray]) -> tuple[bool, ...] | None:
    """Whether each value is in the file, by our own readers; None when they cannot read it."""
    try:
        stored = {values.content(value) for _, value in read_values(path)}
    except CkptkitError:
        return None
    return tuple(values.content(value) in stored for value in wanted)


def read_values(path: str) -> Iterator[tuple[str, np.ndarray]]:
    """(key, value) of every readable, numeric tensor of a checkpoint, one at a time.

    Raises:
        CkptkitError: the file cannot be read.
    """
    from ckptkit import dtypes, formats

    contents, source = formats.open_contents(path)
    try:
        for tensor in contents.tensors:
            if tensor.problem is None and tensor.dtype != "string":
                value = np.empty(tensor.shape, dtypes.numpy_dtype(tensor.dtype))
                if value.nbytes:
                    source.read_into(tensor.key, 0, memoryview(value.reshape(-1).view(np.uint8).data))
                yield tensor.key, value
    finally:
        source.close()
