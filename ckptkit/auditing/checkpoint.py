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
from ckptkit.formats.tensorflow.layout import variables_prefix
from ckptkit.frameworks import is_keras, is_model, keras_elsewhere, require_tensorflow, state
from ckptkit.references import user_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from ckptkit.auditing.measure import Measured
    from ckptkit.formats.location import Location

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


def compare(measured: Measured, location: Location) -> list[Finding]:
    """The findings of loading a checkpoint into the measured model; its values are put back.

    Args:
        measured: the model's measurements.
        location: of a checkpoint that the model's framework can load, on this machine.

    Raises:
        CkptkitError: the file cannot be read.
    """
    path = location.typed
    stored = {key: values.content(value) for key, value in read_values(location.at.text) if not _is_other(key)}
    subject = measured.subject
    model = subject.model
    weights = [(v, f) for v, f in zip(measured.variables, measured.facts, strict=True) if not f.each_call]
    variables = [variable for variable, _ in weights]
    with values.preserved((*variables, *state(model, subject.framework))):
        loaded = _load_best(model, subject.framework, location, variables)
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


def _load_best(model: Any, framework: str, location: Location, variables: Sequence[Any]) -> _Loaded | str:
    """The value that each variable got, by the way of loading that reaches most; or why none works."""
    best: _Loaded | None = None
    problem = "its format is not one that the framework loads"
    for load in _ways(model, framework, location):
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


def _ways(model: Any, framework: str, location: Location) -> Iterable[Any]:
    path = location.at.text
    if location.format.module == "ckptkit.formats.keras":
        if is_keras(framework) and is_model(model):
            yield lambda: model.load_weights(path)
            yield lambda: model.load_weights(path, skip_mismatch=True)
        return
    if keras_elsewhere():
        return
    tf = require_tensorflow()
    prefix = variables_prefix(location.at).text if location.format.made_of.folder else path
    yield lambda: tf.train.Checkpoint(model=model).read(prefix).expect_partial()
    yield lambda: tf.train.Checkpoint(model).read(prefix).expect_partial()
    if is_keras(framework) and is_model(model):
        yield lambda: model.load_weights(prefix)
