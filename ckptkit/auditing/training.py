"""What is trained: which variables a gradient reaches, and which ones a training step of the framework changes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptkit.auditing import values
from ckptkit.errors import ModelError
from ckptkit.frameworks import is_keras, raw, require_tensorflow, run, state, tensors, trainable_weights
from ckptkit.references import describe, user_code

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Training:
    """Facts by `id` of a `tf.Variable`.

    Attributes:
        connected: a gradient reaches it from the outputs or the regularisation losses; None when nothing can be
            differentiated (no float output).
        read: variables that a training call reads.
        optimized: the framework hands it to an optimizer.
        stepped: what one training step as the model was compiled changes beyond what calling it does, or None when the
            model is not compiled, or no target fitted.
        live: the gradient there is not zero, so that a step must show.
        stale: of `stepped`, what the framework does not hand to an optimizer now, and this optimizer knows.
        problem: what the optimizer said of a variable that it was not built for, or None.
        known: variables that the optimizer takes, where `problem` is set.
    """

    connected: frozenset[int] | None
    read: frozenset[int]
    optimized: frozenset[int]
    live: frozenset[int] = frozenset()
    stepped: frozenset[int] | None = None
    stale: frozenset[int] = frozenset()
    problem: str | None = None
    known: frozenset[int] = frozenset()

    def trained(self, key: int) -> bool | None:
        """Whether training changes the variable; None when it could not be found out."""
        if self.problem is not None and key in self.optimized and key not in self.known:
            return False
        if self.stepped is not None and (key in self.live or key not in self.optimized):
            return key in self.stepped
        if self.connected is None:
            return None if key in self.optimized else False
        return key in self.optimized and key in self.connected


def measure_gradients(model: Any, framework: str, arguments: tuple[Any, ...], variables: Sequence[Any]) -> Training:
    """Take the gradient of a random projection of the outputs at positive values of all weights.

    Args:
        model: built; its variables are overwritten.
        framework: that of the model.
        arguments: what it is called with.
        variables: all `tf.Variable`s of interest, tracked or not.
    """
    tf = require_tensorflow()
    values.mark(variables, seed=3)
    with tf.GradientTape() as tape:
        outputs = run(model, arguments, training=True)
        terms = [_project(tensor) for tensor in tensors(outputs) if tensor.dtype.is_floating]
        terms += [tf.cast(tf.reduce_sum(loss), tf.float32) for loss in _losses(model, framework)]
        total = tf.add_n(terms) if terms else None
    read = frozenset(id(variable) for variable in tape.watched_variables())
    optimizable = trainable_weights(model, framework)
    optimized = frozenset(id(raw(variable)) for variable in optimizable)
    if total is None:
        return Training(None, read, optimized)
    sources = [variable for variable in variables if variable.dtype.is_floating or variable.dtype.is_complex]
    gradients = tape.gradient(total, sources)
    found = {id(v): g for v, g in zip(sources, gradients, strict=True) if g is not None}
    live = frozenset(key for key, gradient in found.items() if _is_live(gradient))
    if is_keras(framework):
        refused = _refused(framework, [(found[id(raw(v))], v) for v in optimizable if id(raw(v)) in found])
        optimized -= refused
    return Training(frozenset(found), read, optimized, live)


def _refused(framework: str, pairs: list[tuple[Any, Any]]) -> frozenset[int]:
    """Variables that the framework's own optimizer cannot update, such as those of the other Keras."""

    def takes(some: list[tuple[Any, Any]]) -> bool:
        try:
            with user_code("the optimizer refuses"):
                sys.modules[framework].optimizers.SGD(1e-3).apply_gradients(some)
        except ModelError:
            return False
        return True

    if not pairs or takes(pairs):
        return frozenset()
    return frozenset(id(raw(variable)) for gradient, variable in pairs if not takes([(gradient, variable)]))


def _losses(model: Any, framework: str) -> list[Any]:
    return list(model.losses) if is_keras(framework) else []


def _project(tensor: Any) -> Any:
    """Sum of the outputs with random factors: a plain sum would be blind behind a softmax."""
    tf = require_tensorflow()
    factors = np.random.default_rng(4).uniform(0.5, 1.5, tuple(tensor.shape))
    return tf.reduce_sum(tf.cast(tensor, tf.float32) * factors.astype(np.float32))


def _is_live(gradient: Any) -> bool:
    dense = gradient.values if hasattr(gradient, "values") and hasattr(gradient, "indices") else gradient
    return bool(np.any(np.abs(np.asarray(dense.numpy(), dtype=np.complex128)) > 1e-7))


def measure_step(
    model: Any, framework: str, arguments: tuple[Any, ...], variables: Sequence[Any], gradients: Training
) -> Training:
    """Fit a compiled Keras model with its own optimizer and loss to one batch; the facts with what that changed.

    It has to be `fit`: only that runs the step that an earlier `fit` compiled, with the weights it knew then.

    What merely calling the model in training changes (moving averages, seeds) is not counted. Everything that changes
    is put back, except that an optimizer which had no slots yet has them afterwards: give a factory to avoid that.
    """
    if not is_keras(framework) or not getattr(model, "compiled", getattr(model, "_is_compiled", False)):
        return gradients
    with values.preserved(state(model, framework)):
        values.mark(variables, seed=3)
        before = [values.read(variable) for variable in variables]
        outputs = run(model, arguments, training=True)
        moving = _changed(variables, before)
        for target in _targets(outputs):
            before = [values.read(variable) for variable in variables]
            try:
                with user_code("a training step fails"):
                    model.fit(arguments[0], target, epochs=1, shuffle=False, verbose=0)
            except ModelError as error:
                if _of_optimizer(error.__cause__):
                    known = frozenset(id(variable) for variable in variables if _takes(model.optimizer, variable))
                    return replace(gradients, problem=describe(error.__cause__), known=known)
                continue  # a target that the loss does not take
            stepped = _changed(variables, before) - moving
            if stepped:
                # What the step assigns by itself, such as a moving average of the weights, its optimizer does not know.
                frozen = [v for v in variables if id(v) in stepped - gradients.optimized]
                stale = frozenset(id(variable) for variable in frozen if _takes(model.optimizer, variable))
                return replace(gradients, stepped=stepped, stale=stale)
    return gradients


def _changed(variables: Sequence[Any], before: Sequence[np.ndarray]) -> frozenset[int]:
    return frozenset(
        id(variable)
        for variable, value in zip(variables, before, strict=True)
        if not values.same(value, values.read(variable))
    )


def _takes(optimizer: Any, variable: Any) -> bool:
    """Whether an optimizer that was built already accepts a gradient (of zeros) for this variable."""
    tf = require_tensorflow()
    try:
        with user_code("the optimizer refuses"):
            optimizer.apply_gradients([(tf.zeros_like(variable), variable)])
    except ModelError:
        return False
    return True


def _of_optimizer(error: BaseException | None) -> bool:
    """Whether an optimizer refused a variable that it was not built for, by its words in either Keras."""
    text = str(error).lower()
    return "unknown variable" in text or "cannot recognize variable" in text


def _targets(outputs: Any) -> list[Any]:
    """Targets of the usual kinds for outputs of any structure: as the outputs, class numbers, one number a sample."""
    tf = sys.modules["tensorflow"]

    def shaped(make: Any) -> Any:
        return tf.nest.map_structure(make, outputs)

    return [
        shaped(lambda tensor: np.full(tuple(tensor.shape), 0.5, np.float32)),
        shaped(lambda tensor: np.zeros(tuple(tensor.shape)[:-1], np.int32)),
        shaped(lambda tensor: np.zeros((*tuple(tensor.shape)[:1], 1), np.float32)),
        None,
    ]


def read_in_call(model: Any, arguments: tuple[Any, ...], *, training: bool) -> frozenset[int] | None:
    """The variables that a traced call reads or writes, trainable or not; None when the call cannot be traced."""
    tf = require_tensorflow()

    def call() -> list[Any]:
        return tensors(run(model, arguments, training=training))

    try:
        with user_code("the call cannot be traced"):
            graph = tf.function(call, autograph=False).get_concrete_function().graph
            return frozenset(id(variable) for variable in graph.variables)
    except ModelError:  # code that only runs eagerly, or makes variables: nothing is concluded then
        return None
