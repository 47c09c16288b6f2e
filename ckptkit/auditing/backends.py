"""Keras 3 on JAX and on PyTorch: which of its variables come into being, are read, and are reached by a gradient.

Keras's own variables are watched here, as those of TensorFlow are elsewhere: nothing sees what a layer makes of the backend
itself (a `jax.Array`, a `torch.nn.Parameter` beside Keras), and no step of `fit` is run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ckptkit.auditing import values
from ckptkit.auditing.tracking import Creation, Recorder, origin_of, watched
from ckptkit.auditing.training import Training
from ckptkit.frameworks import run, tensors, trainable_weights

LIMITS = (
    "on {backend} nothing shows arrays that a layer makes past Keras (keras.Variable, add_weight), tf.train.Checkpoint, or"
    " what a step of fit changes: trained is what the optimizer is handed and a gradient reaches"
)
"""What an audit on another backend cannot show."""


class KerasRecorder(Recorder):
    """As `Recorder`, of `keras.Variable`s on whichever backend; what calls read is in `read`."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Any] = []

    def __enter__(self) -> KerasRecorder:
        keras = sys.modules.get("keras")
        if keras is not None:
            self._stack.enter_context(watched(keras.layers.Layer, self._note_home))
            self._stack.enter_context(watched(keras.Variable, self._note_created))
            self._stack.enter_context(_reads(keras.Variable, self.read.append))
        return self

    def _note_created(self, variable: Any) -> None:
        if not any(creation.variable is variable for creation in self.creations[-2:]):  # of a class and of its base
            origin = origin_of(sys._getframe(2), self._homes)
            made_by = (
                "keras.Variable" if origin.made_by == "tf.Variable" else origin.made_by
            )  # nothing else stands between
            self.creations.append(Creation(variable, *origin._replace(made_by=made_by)))


@contextmanager
def _reads(kind: Any, note: Callable[[Any], None]) -> Iterator[None]:
    """Call `note` with every instance of `kind` whose value is asked for."""
    owner = next(base for base in kind.__mro__ if "value" in vars(base))
    original = vars(owner)["value"]

    def value(self: Any) -> Any:
        note(self)
        return original.fget(self)

    owner.value = property(value, original.fset, original.fdel, original.__doc__)
    try:
        yield
    finally:
        owner.value = original


def measure_training(model: Any, arguments: tuple[Any, ...], variables: Sequence[Any]) -> Training:
    """Take the gradient of a random projection of the outputs at positive values of all weights.

    Args:
        model: built; its variables are overwritten.
        arguments: what it is called with.
        variables: all `keras.Variable`s of interest, tracked or not.
    """
    keras = sys.modules["keras"]
    values.mark(variables, seed=3)
    read: list[Any] = []
    optimized = frozenset(id(variable) for variable in trainable_weights(model, "keras"))
    sources = [variable for variable in variables if str(variable.dtype).startswith(("float", "bfloat"))]
    take = _of_torch if keras.backend.backend() == "torch" else _of_jax
    with _reads(keras.Variable, read.append):
        gradients = take(sources, lambda: _total(model, arguments))
    seen = frozenset(map(id, read))
    if gradients is None:
        return Training(None, seen, optimized)
    # An optimizer that was built knows its variables; another is built when training begins.
    optimizer = getattr(model, "optimizer", None)
    known = (
        frozenset(map(id, getattr(optimizer, "_trainable_variables", ()))) if optimizer and optimizer.built else None
    )
    problem = "the optimizer was built without it" if known is not None and not optimized <= known else None
    connected = frozenset(id(v) for v, g in zip(sources, gradients, strict=True) if g is not None and np.any(g != 0))
    return Training(connected, seen, optimized, connected, problem=problem, known=known or frozenset())


def _total(model: Any, arguments: tuple[Any, ...]) -> Any:
    """A sum of the outputs with random factors and of the losses of layers; None where nothing can be differentiated."""
    ops = sys.modules["keras"].ops
    outputs = run(model, arguments, training=True)
    terms = []
    for leaf in tensors(outputs):
        if "float" in str(leaf.dtype):
            factors = np.random.default_rng(4).uniform(0.5, 1.5, tuple(leaf.shape)).astype(np.float32)
            terms.append(ops.sum(ops.cast(leaf, "float32") * ops.convert_to_tensor(factors)))
    terms += [ops.sum(ops.cast(loss, "float32")) for loss in model.losses]
    return sum(terms[1:], terms[0]) if terms else None


def _of_torch(sources: Sequence[Any], total: Callable[[], Any]) -> list[Any] | None:
    torch = sys.modules["torch"]
    held = [variable.value for variable in sources]
    before = [tensor.requires_grad for tensor in held]
    try:
        for tensor in held:
            tensor.requires_grad_(True)
        result = total()
        if result is None or not result.requires_grad:
            return None if result is None else [None] * len(held)
        found = torch.autograd.grad(result, held, allow_unused=True)
    finally:
        for tensor, flag in zip(held, before, strict=True):
            tensor.requires_grad_(flag)
    return [None if gradient is None else gradient.detach().float().numpy() for gradient in found]


def _of_jax(sources: Sequence[Any], total: Callable[[], Any]) -> list[Any] | None:
    import jax

    keras = sys.modules["keras"]
    empty = []

    def summed(given: Sequence[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(sources, given, strict=True))):
            result = total()
        empty.append(result is None)
        return 0.0 if result is None else result

    found = jax.grad(summed)([variable.value for variable in sources]) if sources else []
    return None if any(empty) else [np.asarray(gradient, np.float32) for gradient in found]
