"""A model against a given checkpoint: what it would not find there, and what of it nobody asks for.

Measured, not matched by name: the framework loads the file into the model, whose values were overwritten before; what
kept the overwritten value was not in the file, and what is in the file and in no variable was not asked for.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ckptkit.auditing import values
from ckptkit.auditing.findings import Finding
from ckptkit.auditing.savers import read_values
from ckptkit.errors import ModelError
from ckptkit.frameworks import is_keras, is_model, require_tensorflow, state
from ckptkit.references import user_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from ckptkit.auditing.measure import Measured

# Keys that no model asks for as weights: a Keras file's optimizer and metrics, a bundle's slots and counters.
_OTHER_PREFIXES = (
    "optimizer/",
    "optimizer_weights/",
    "metrics/",
    "_CHECKPOINTABLE_OBJECT_GRAPH",
    "save_counter/",
    "global_step",
)
_OTHER_PARTS = ("/.OPTIMIZER_SLOT/", "/optimizer/", "/keras_api/metrics/")


def compare(measured: Measured, path: str) -> list[Finding]:
    """The findings of loading `path` into the measured model; its values are put back.

    Args:
        measured: the model's measurements.
        path: a checkpoint that the model's framework can load.

    Raises:
        CkptkitError: the file cannot be read.
    """
    stored = {key: values.content(value) for key, value in read_values(path) if not _is_other(key)}
    subject = measured.subject
    model = subject.model
    weights = [(v, f) for v, f in zip(measured.variables, measured.facts, strict=True) if not f.each_call]
    variables = [variable for variable, _ in weights]
    with values.preserved((*variables, *state(model, subject.framework))):
        loaded = _load_best(model, subject.framework, path, variables)
    if isinstance(loaded, str):
        return [
            Finding(
                "saver-fails",
                "error",
                None,
                f"{path} cannot be loaded into the model: {loaded}.",
                f"`ckptkit diff` shows what differs, `ckptkit remap {path} --like …` moves it.",
                subject=path,
            )
        ]
    found = [
        Finding(
            "not-in-checkpoint",
            "error",
            facts,
            f"{facts.held_at or facts.variable} gets no value from {path}.",
            "It keeps its initial value: load it from elsewhere, or move it with `ckptkit remap`.",
        )
        for (_, facts), value in zip(weights, loaded, strict=True)
        if value is None
    ]
    taken = Counter(values.content(value) for value in loaded if value is not None)
    for key, content in stored.items():
        if taken[content]:
            taken[content] -= 1
        else:
            found.append(_unasked(key, path))
    return found


def _unasked(key: str, path: str) -> Finding:
    return Finding(
        "not-in-model",
        "warning",
        None,
        f"{key} is in {path} and the model never asks for it.",
        "The model lacks the layer, or holds it under another name: `ckptkit remap` moves it.",
        subject=key,
    )


def _is_other(key: str) -> bool:
    return key.startswith(_OTHER_PREFIXES) or any(part in key for part in _OTHER_PARTS)


_Loaded = list["np.ndarray | None"]


def _load_best(model: Any, framework: str, path: str, variables: Sequence[Any]) -> _Loaded | str:
    """The value that each variable got, by the way of loading that reaches most; or why none works."""
    best: _Loaded | None = None
    problem = "its format is not one that the framework loads"
    for load in _ways(model, framework, path):
        marks = values.mark(variables, seed=5)
        try:
            with user_code("loading fails"):
                load()
        except ModelError as error:
            problem = error.problem
        now = [values.read(variable) for variable in variables]
        came = [None if values.same(value, mark) else value for value, mark in zip(now, marks, strict=True)]
        if any(value is not None for value in came) and (best is None or _reached(came) > _reached(best)):
            best = came
    return problem if best is None else best


def _reached(loaded: _Loaded) -> int:
    return sum(value is not None for value in loaded)


def _ways(model: Any, framework: str, path: str) -> Iterable[Any]:
    tf = require_tensorflow()
    if path.endswith((".h5", ".keras", ".hdf5")):
        if is_keras(framework) and is_model(model):
            yield lambda: model.load_weights(path)
            yield lambda: model.load_weights(path, skip_mismatch=True)
        return
    prefix = tf.train.latest_checkpoint(path) or path.removesuffix(".index")
    yield lambda: tf.train.Checkpoint(model=model).read(prefix).expect_partial()
    yield lambda: tf.train.Checkpoint(model).read(prefix).expect_partial()
    if is_keras(framework) and is_model(model):
        yield lambda: model.load_weights(prefix)
