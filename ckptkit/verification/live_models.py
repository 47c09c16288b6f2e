"""Runners for live objects: Keras 3 and tf_keras models and layers, Sonnet and `tf.Module` modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.errors import ModelError, UsageError
from ckptkit.references import describe
from ckptkit.verification.devices import Device, run_on
from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import numpy as np

# Ops that look rows up in a table: their first input bounds the integers that may be fed.
_LOOKUPS = {"GatherV2", "ResourceGather", "Gather"}


class LiveRunner:
    """Runs a live model or module under a device's strategy."""

    def __init__(self, model: Any, name: str, device: Device, specs: Sequence[InputSpec] | None = None) -> None:
        """Bind a model.

        Args:
            model: what is run.
            name: for people.
            device: where; the model should have been made under its strategy.
            specs: its inputs, for objects that do not know their own.

        Raises:
            ModelError: not an object of a framework that is known.
            UsageError: its inputs cannot be told.
        """
        framework = frameworks.framework_of(model)
        if framework is None:
            raise ModelError(
                "not a model", key=name, expected="a Keras, tf_keras, Sonnet or tf.Module object",
                found=type(model).__name__,
            )  # fmt: skip
        self.name = name
        self._model = model
        self._framework = framework
        self._device = device
        self._structure, found = _inputs_of(model, framework, specs, name)
        self._function = self._make_function()
        self.inputs = self._with_limits(found)
        self.outputs = self._output_names()

    def _call(self, *flat: Any) -> Any:
        import tensorflow as tf

        if self._structure is None:
            return frameworks.run(self._model, flat, training=False)
        packed = tf.nest.pack_sequence_as(self._structure, list(flat))
        return frameworks.run(self._model, (packed,), training=False)

    def _make_function(self) -> Any:
        import tensorflow as tf

        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow publishes no types
        def function(*flat: Any) -> list[Any]:
            return frameworks.tensors(self._call(*flat))

        return function

    def _with_limits(self, specs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
        """Find how large integers may be, from the tables that the traced model looks up."""
        import numpy as np

        from ckptkit.verification.inputs import make_inputs

        if all(np.dtype(spec.dtype).kind not in "iu" for spec in specs if spec.dtype != "string"):
            return specs
        graph = self.traced(make_inputs(specs, seed=0, batch=1)).graph
        limit = lookup_limit(graph)
        return tuple(
            InputSpec(spec.name, spec.shape, spec.dtype, limit) if spec.dtype.startswith(("int", "uint")) else spec
            for spec in specs
        )

    def _output_names(self) -> tuple[str, ...]:
        from ckptkit.verification.inputs import make_inputs

        named = getattr(self._model, "output_names", None)
        if named:
            return tuple(named)
        if any(spec.dtype == "string" for spec in self.inputs):
            return ("output",)
        count = len(self.traced(make_inputs(self.inputs, seed=0, batch=1)).outputs)
        return ("output",) if count == 1 else tuple(f"output {number}" for number in range(count))

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As `Runner.run`."""
        import tensorflow as tf

        try:
            outputs = run_on(self._device, self._function, [tf.constant(array) for array in arrays])
        except Exception as error:  # the user's model may raise anything
            raise ModelError(f"running the model failed: {describe(error)}", key=self.name) from error
        return [value.numpy() for value in outputs]

    def _variables(self) -> list[Any]:
        return frameworks.distinct(frameworks.weights(self._model, self._framework))

    def weights(self) -> list[np.ndarray]:
        """As `Runner.weights`."""
        return [variable.numpy() for variable in self._variables()]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """As `Runner.assign`."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:
        """As `Runner.traced`."""
        import tensorflow as tf

        # Graph-mode execution so that recurrent layers keep their loops, which the rewrite then reaches.
        try:
            return self._function.get_concrete_function(
                *(tf.TensorSpec(array.shape, tf.as_dtype(array.dtype)) for array in arrays)
            )
        except Exception as error:  # the user's model may raise anything
            raise ModelError(f"tracing the model failed: {describe(error)}", key=self.name) from error

    def live(self) -> Any:
        """The model."""
        return self._model

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """As `Runner.call`."""
        import tensorflow as tf

        return self._call(*(tf.constant(array) for array in arrays))


def dimensions(shape: Any) -> tuple[int | None, ...]:
    """A `TensorShape` as plain sizes; one of unknown rank takes a batch of numbers."""
    return (None,) if shape.rank is None else tuple(shape.as_list())


def lookup_limit(graph: Any) -> int | None:
    """Rows of the smallest table that a graph looks up, or None when it looks nothing up."""
    rows = []
    for operation in graph.get_operations():
        if operation.type not in _LOOKUPS:
            continue
        table = operation.inputs[0]
        shape = table.shape if operation.type != "ResourceGather" else _resource_shape(table)
        if shape is not None and shape.rank is not None and shape.rank >= 2 and shape[0]:
            rows.append(int(shape[0]))
    return min(rows, default=None)


def _resource_shape(handle: Any) -> Any:
    import tensorflow as tf

    data = getattr(handle, "_handle_data", None)
    if data is not None and data.is_set and data.shape_and_type:
        return tf.TensorShape(data.shape_and_type[0].shape)
    if handle.op.type == "VarHandleOp":  # in a graph that was imported, where handles carry no data
        return tf.TensorShape(handle.op.get_attr("shape"))
    return None


def _inputs_of(
    model: Any, framework: str, given: Sequence[InputSpec] | None, name: str
) -> tuple[Any, tuple[InputSpec, ...]]:
    """(structure to pack flat inputs into, or None for separate arguments; one spec per flat input)."""
    import tensorflow as tf

    if framework in {"keras", "tf_keras"} and getattr(model, "inputs", None):
        structure = getattr(model, "_inputs_struct", None)
        if structure is None:
            structure = getattr(model, "_nested_inputs", None)
        if structure is None:
            structure = model.inputs if len(model.inputs) > 1 else model.inputs[0]
        names = list(getattr(model, "input_names", None) or [tensor.name for tensor in model.inputs])
        specs = tuple(
            InputSpec(label, tuple(tensor.shape), tf.as_dtype(tensor.dtype).name)
            for label, tensor in zip(names, tf.nest.flatten(structure), strict=True)
        )
        return structure, specs
    if given is not None:
        return None, tuple(given)
    shapes = _known_shapes(model)
    if shapes is None:
        raise UsageError(
            "the model does not say what inputs it takes",
            key=name,
            hint="Give one batch of them with --inputs data.npz.",
        )
    return None, tuple(InputSpec(f"input {i}", tuple(shape), "float32") for i, shape in enumerate(shapes))


def _known_shapes(model: Any) -> Sequence[Sequence[int | None]] | None:
    """Shapes that a built Keras model remembers, else None."""
    found = getattr(model, "_build_shapes_dict", None) or {}
    shapes = [shape for shape in found.values() if isinstance(shape, tuple)]
    if shapes:
        return [(None, *shape[1:]) for shape in shapes]
    shape = getattr(model, "_build_input_shape", None)
    return [(None, *shape[1:])] if isinstance(shape, tuple) else None


def make_variables(model: Any, specs: Sequence[InputSpec] | None) -> None:
    """Call a module once that makes its variables on its first call, so that there is something to fill.

    Raises:
        ModelError: the call fails, or there are no variables afterwards and no inputs are known to call it on.
    """
    import tensorflow as tf

    framework = frameworks.framework_of(model)
    if framework is None or frameworks.weights(model, framework) or specs is None:
        return
    from ckptkit.verification.inputs import make_inputs

    try:
        frameworks.run(
            model, tuple(tf.constant(array) for array in make_inputs(specs, seed=0, batch=1)), training=False
        )
    except Exception as error:  # the user's model may raise anything
        raise ModelError(f"calling the model once failed: {describe(error)}", key=type(model).__name__) from error
