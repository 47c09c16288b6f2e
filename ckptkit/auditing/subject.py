"""A model under audit: made, called several times while its variables are watched."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.auditing.backends import KerasRecorder
from ckptkit.auditing.tracking import Creation, Recorder
from ckptkit.errors import CkptkitError, ModelError
from ckptkit.frameworks import (
    Framework,
    distinct,
    dtype_name,
    framework_of,
    keras_elsewhere,
    require_tensorflow,
    run,
    tensors,
    weights,
)
from ckptkit.references import user_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model that has run.

    Attributes:
        model: itself.
        framework: its framework.
        arguments: what it was called with.
        creations: `id` of a variable -> how it was made, for all that were made while watched.
        read: variables that eager calls read, trainable ones only, as gradient tapes see no others.
        repeated: variables that the second of two equal calls made; what training makes at the same places is left out.
        outputs_change: whether the two gave different outputs.
    """

    model: Any
    framework: Framework
    arguments: tuple[Any, ...]
    creations: dict[int, Creation]
    read: list[Any]
    repeated: list[Any]
    outputs_change: bool


def adopt(made: object) -> Framework:
    """The framework of what a factory returned or a caller gave.

    Raises:
        ModelError: it is of none of them.
    """
    framework = framework_of(made)
    if framework is None:
        raise ModelError(
            "not a model", expected="a Keras, tf_keras, Sonnet or tf.Module object", found=type(made).__name__
        )
    return framework


def adopt_callable(factory: object) -> None:
    """Refuse what is neither a model nor a function that makes one.

    Raises:
        ModelError: it cannot be called.
    """
    if not callable(factory):
        raise ModelError(
            "not a model and not a function that makes one",
            expected="a Keras, tf_keras, Sonnet or tf.Module object, or a callable",
            found=type(factory).__name__,
        )


@contextmanager
def own_variable_store() -> Iterator[None]:
    """Give `get_variable` an empty store, as a process of its own would have: a second model may reuse the names."""
    if keras_elsewhere():
        yield
        return
    # TensorFlow keeps the store in a graph collection of this name (`variable_scope._VARSTORE_KEY`).
    stores = require_tensorflow().compat.v1.get_default_graph().get_collection_ref(("__variable_store",))
    kept = list(stores)
    stores.clear()
    try:
        yield
    finally:
        stores[:] = kept


def make(factory: Callable[[], object]) -> tuple[Any, Recorder]:
    """Call `factory` while variables are watched: the model, and the recorder of what was made.

    Raises:
        ModelError: the factory raised.
    """
    recorder = new_recorder()
    recorder.eager = False  # a factory that fits its model compiles the step that is to be judged later
    with recorder:
        try:
            with user_code("the factory failed"):
                model = factory()
        except ModelError as error:
            if isinstance(error.__cause__, CkptkitError):  # said in full already
                raise error.__cause__ from error.__cause__.__cause__
            raise
    recorder.eager = True
    return model, recorder


def new_recorder() -> Recorder:
    """One that sees the variables of whatever is made next."""
    return KerasRecorder() if keras_elsewhere() else Recorder()


def observe(model: Any, recorder: Recorder, arguments: tuple[Any, ...]) -> Subject:
    """Call `model` twice for inference, and twice as in training where it can be.

    Args:
        model: what is watched.
        recorder: the one that saw it being made, or a new one.
        arguments: what it is called with.

    Raises:
        ModelError: the model does not run on `arguments`.
    """
    framework = adopt(model)
    read: list[Any] = []
    repeated: list[Any] = []
    outputs: list[Any] = []
    for training in (False, True):
        for again in (False, True):
            first = len(recorder.creations)
            with recorder, _reading(recorder, read, again=again):
                try:
                    with user_code(f"{type(model).__name__} does not run on the inputs"):
                        result = run(model, arguments, training=training)
                except ModelError:
                    if not training:
                        raise
                    break  # a model for inference only
            made = {id(creation.variable): creation for creation in recorder.creations}
            if again:
                known = {origin(made, variable) for variable in repeated}
                anew = [creation.variable for creation in recorder.creations[first:] if not creation.service]
                repeated.extend(variable for variable in anew if origin(made, variable) not in known)
            if not training:
                outputs.append([_array(tensor) for tensor in tensors(result)])
    return Subject(
        model,
        framework,
        arguments,
        {id(creation.variable): creation for creation in recorder.creations},
        distinct(read),
        distinct(repeated),
        _differ(outputs[0], outputs[1]),
    )


@contextmanager
def _reading(recorder: Recorder, read: list[Any], *, again: bool) -> Iterator[None]:
    """Add to `read` the variables that a call reads; of Keras elsewhere the second one's, as the first registers all."""
    if isinstance(recorder, KerasRecorder):
        recorder.read.clear()
        yield
        read.extend(recorder.read if again else ())
        return
    with require_tensorflow().GradientTape(persistent=True) as tape:
        yield
    read.extend(tape.watched_variables())


def _array(tensor: Any) -> np.ndarray:
    made: np.ndarray = sys.modules["keras"].ops.convert_to_numpy(tensor) if keras_elsewhere() else tensor.numpy()
    return made


def origin(creations: Mapping[int, Creation], variable: Any) -> tuple[Any, ...]:
    """What the variables that one line of the user's code makes in several calls have in common."""
    creation = creations.get(id(variable))
    if creation is None:
        return (id(variable),)
    return creation.created_at, creation.made_by, tuple(variable.shape), dtype_name(variable)


def _differ(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) != len(second) or any(
        left.shape != right.shape or left.tobytes() != right.tobytes()
        for left, right in zip(first, second, strict=True)
    )


_Kind = tuple[str | None, str, tuple[int, ...], str]
Place = tuple[_Kind, int]


def places(subject: Subject, variables: Sequence[Any]) -> dict[Place, Any]:
    """A key for each variable by which its counterpart in another model of the same making is found.

    For one whose making was watched: where, by what, its shape and dtype, and the how-manieth of that kind it is. For
    the others: their place in the model's own list of weights; and for what the model does not list and nobody saw
    being made, such as a global, its identity: two models share it.
    """
    listed = {id(variable): place for place, variable in enumerate(weights(subject.model, subject.framework))}
    order = {key: index for index, key in enumerate(subject.creations)}
    found: dict[Place, Any] = {}
    seen: Counter[_Kind] = Counter()
    for variable in sorted(variables, key=lambda v: order.get(id(v), -1)):
        creation = subject.creations.get(id(variable))
        shape, dtype = tuple(variable.shape), dtype_name(variable)
        if creation is not None:
            kind: _Kind = (creation.created_at, creation.made_by, shape, dtype)
            number = seen[kind]
            seen[kind] += 1
        elif id(variable) in listed:
            kind, number = (None, "weight", shape, dtype), listed[id(variable)]
        else:
            kind, number = (None, "shared", shape, dtype), id(variable)
        found[kind, number] = variable
    return found
