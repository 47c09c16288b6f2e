"""What runs a `tf.function` over variables: the part that live models and signatures of SavedModels share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ckptkit.errors import ModelError
from ckptkit.frameworks import distinct
from ckptkit.references import describe
from ckptkit.verification import graph_facts, state
from ckptkit.verification.devices import Device, run_on
from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import numpy as np


class FunctionRunner:
    """Runs a `tf.function` of flat inputs and flat outputs. Subclasses set the attributes and say what the variables are.

    Attributes:
        name: as `Runner.name`.
        inputs: as `Runner.inputs`.
        outputs: as `Runner.outputs`.
        loaded_by: as `Runner.loaded_by`.
        path: as `Runner.path`.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    loaded_by: str
    path: str | None
    _device: Device
    _function: Any

    def _variables(self) -> list[Any]:
        raise NotImplementedError

    def run(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> list[np.ndarray]:
        """As `Runner.run`."""
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with self.unchanged(arrays, free=free):
            try:
                outputs = run_on(self._device, self._function, tensors)
            except Exception as error:  # the user's model may raise anything
                raise ModelError(f"running the model failed: {describe(error)}", key=self.name) from error
            return [value.numpy() for value in outputs]

    @contextmanager
    def unchanged(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> Iterator[None]:
        """Put back what running on `arrays` changes, with random samples fixed meanwhile, or other ones if `free`."""
        graph = self.traced(arrays).graph
        with ExitStack() as stack:
            if graph_facts.draws(graph):
                stack.enter_context(state.global_seed(free=free))
            if graph_facts.changes(graph):
                touched = distinct([*graph.variables, *self._variables()])
                stack.enter_context(state.put_back(touched))
                state.seed_generators(touched, free=free)
            yield

    def draws(self, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
        """As `Runner.draws`."""
        return graph_facts.draws(self.traced(arrays).graph)

    def is_function(self, arrays: Sequence[np.ndarray]) -> bool:
        """As `DirectRunner.is_function`."""
        return graph_facts.is_function(self.traced(arrays).graph)

    def half_precision(self, arrays: Sequence[np.ndarray]) -> str | None:
        """As `Runner.half_precision`."""
        return graph_facts.half_precision(self.traced(arrays).graph)

    def names(self) -> list[str]:
        """As `Runner.names`."""
        return [variable.name.removesuffix(":0") for variable in self._variables()]

    def weights(self) -> list[np.ndarray]:
        """As `Runner.weights`."""
        return [state.view(variable) for variable in self._variables()]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """As `Runner.assign`."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def give(self, values: Sequence[np.ndarray]) -> None:
        """As `DirectRunner.give`; only memory of this machine's first CPU is shared."""
        shared = self._device.title.startswith("CPU")
        self.assign([state.tensor_over(value) for value in values] if shared else values)

    def kept(self) -> AbstractContextManager[None]:
        """As `DirectRunner.kept`."""
        return state.put_back(self._variables())

    def gradients(
        self, arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None] | None:
        """As `Runner.gradients`."""
        import tensorflow as tf

        if self._device.strategy.num_replicas_in_sync > 1 or self._device.title.startswith("TPU"):
            return None
        variables = self._variables()
        floating = [variable for variable in variables if variable.dtype.is_floating or variable.dtype.is_complex]
        with self.unchanged(arrays):
            try:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    for variable in floating:
                        tape.watch(variable)
                    outputs = self._function(*(tf.constant(array) for array in arrays))
                    total = _projected(outputs, factors)
                found = [] if total is None else tape.gradient(total, floating)
            except Exception:  # noqa: BLE001  # ops without a gradient raise whatever they like: values are compared then
                return None
        if total is None:
            return None
        known = {id(v): dense(g) for v, g in zip(floating, found, strict=True) if g is not None}
        return [known.get(id(variable)) for variable in variables]

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:
        """As `Runner.traced`."""
        import tensorflow as tf

        known: dict[Any, Any] = self.__dict__.setdefault("_traces", {})
        key = tuple((array.shape, array.dtype.name) for array in arrays)
        if key not in known:
            # Graph-mode execution so that recurrent layers keep their loops, which a rewrite then reaches.
            with state.global_seed():
                try:
                    known[key] = self._function.get_concrete_function(
                        *(tf.TensorSpec(array.shape, tf.as_dtype(array.dtype)) for array in arrays)
                    )
                except Exception as error:  # the user's model may raise anything
                    raise ModelError(f"tracing the model failed: {describe(error)}", key=self.name) from error
        return known[key]


def _projected(outputs: Sequence[Any], factors: Sequence[np.ndarray | None]) -> Any:
    """Sum of the outputs times their factors, as a scalar; None where no output can be differentiated."""
    import tensorflow as tf

    terms = []
    for output, factor in zip(outputs, factors, strict=True):
        if factor is None:
            continue
        parts = [tf.math.real(output), tf.math.imag(output)] if output.dtype.is_complex else [output]
        terms += [tf.reduce_sum(tf.cast(part, tf.float32) * factor) for part in parts if part.dtype.is_floating]
    return tf.add_n(terms) if terms else None


def dense(gradient: Any) -> np.ndarray:
    """A gradient as an array, rows of a table that were looked up several times added."""
    import numpy as np

    if not hasattr(gradient, "indices"):
        return gradient if isinstance(gradient, np.ndarray) else state.view(gradient)
    rows, added = np.asarray(gradient.indices), np.asarray(gradient.values)
    whole: np.ndarray = np.zeros(tuple(int(size) for size in np.asarray(gradient.dense_shape)), added.dtype)
    np.add.at(whole, rows, added)
    return whole
