"""Runners for live objects: Keras 3 and tf_keras models and layers, Sonnet and `tf.Module` modules."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.errors import ModelError, UsageError
from ckptkit.inputs import SPLITS, VALUES, ragged_names
from ckptkit.references import describe
from ckptkit.verification.devices import Device
from ckptkit.verification.functions import FunctionRunner
from ckptkit.verification.graph_facts import lookup_limits
from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner

# Words of a vocabulary that texts are made of.
_MOST_WORDS = 10_000


class LiveRunner(FunctionRunner):
    """Runs a live model or module under a device's strategy."""

    def __init__(
        self,
        model: Any,
        name: str,
        device: Device,
        specs: Sequence[InputSpec] | None = None,
        *,
        loaded_by: str = "live",
        path: str | None = None,
        unused: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Bind a model.

        Args:
            model: what is run.
            name: for people.
            device: where; the model should have been made under its strategy.
            specs: its inputs, for objects that do not know their own.
            loaded_by: as `Runner.loaded_by`.
            path: as `Runner.path`.
            unused: weights of the file that the model has no place for, with their shapes.

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
        self.name, self.loaded_by, self.path = name, loaded_by, path
        self.unused = dict(unused or {})
        self._model = model
        self._framework = framework
        self._device = device
        self._structure, found = _inputs_of(model, framework, specs, name)
        self._flat_names = [spec.name for spec in found]
        self._function = self._make_function()
        self.inputs = self._with_limits(self._with_words(found))
        self.outputs = self._output_names()

    def _call(self, *flat: Any) -> Any:
        import tensorflow as tf

        flat = _assembled(self._flat_names, flat)
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
        """Find how large the values of each input may be, from the tables that the traced model looks up with them."""
        from ckptkit.verification.inputs import make_inputs

        if not self._may_look_up(specs):
            return specs
        graph = self.traced(make_inputs(specs, seed=0, batch=1)).graph
        limits = lookup_limits(graph, graph.inputs[: len(specs)])
        return tuple(replace(spec, limit=limit) for spec, limit in zip(specs, limits, strict=True))

    def _with_words(self, specs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
        """Inputs of text, with the words that the lookups of a Keras model know."""
        if not any(spec.dtype == "string" for spec in specs) or not frameworks.is_keras(self._framework):
            return specs
        words: dict[str, None] = {}
        for layer in self._model._flatten_layers():
            known = layer.get_vocabulary() if hasattr(layer, "get_vocabulary") else ()
            words.update(dict.fromkeys(word for word in known[:_MOST_WORDS] if isinstance(word, str) and word))
        return tuple(replace(spec, words=tuple(words)) if spec.dtype == "string" else spec for spec in specs)

    def _may_look_up(self, specs: tuple[InputSpec, ...]) -> bool:
        """Whether it is worth a trace to find tables; a Keras table may also be given floats, which it casts."""
        if any(spec.dtype.startswith(("int", "uint")) for spec in specs):
            return True
        if not frameworks.is_keras(self._framework):
            return False
        return any("Embedding" in type(layer).__name__ for layer in self._model._flatten_layers())

    def _output_names(self) -> tuple[str, ...]:
        from ckptkit.verification.inputs import make_inputs

        named = getattr(self._model, "output_names", None)
        if named:
            return tuple(named)
        count = len(self.traced(make_inputs(self.inputs, seed=0, batch=1)).outputs)
        return ("output",) if count == 1 else tuple(f"output {number}" for number in range(count))

    def _variables(self) -> list[Any]:
        return frameworks.distinct(frameworks.weights(self._model, self._framework))

    def live(self) -> Any:
        """The model."""
        return self._model

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """As `Runner.call`."""
        import tensorflow as tf

        with self.unchanged(arrays):
            return self._call(*(tf.constant(array) for array in arrays))


def _assembled(names: Sequence[str], flat: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of a call, with the two parts of each ragged one put together."""
    import tensorflow as tf

    ragged = set(ragged_names(names))
    if not ragged:
        return tuple(flat)
    parts = dict(zip(names, flat, strict=True))
    found = []
    for name, value in parts.items():
        base = name.removesuffix(VALUES)
        if name.endswith(VALUES) and base in ragged:
            found.append(tf.RaggedTensor.from_row_splits(value, parts[base + SPLITS]))
        elif name.removesuffix(SPLITS) not in ragged:
            found.append(value)
    return tuple(found)


def live_runner(
    model: Any,
    name: str,
    device: Device,
    specs: Sequence[InputSpec] | None = None,
    *,
    loaded_by: str = "live",
    path: str | None = None,
    unused: Mapping[str, tuple[int, ...]] | None = None,
) -> Runner:
    """A runner for a live model, by the backend that its framework runs on; see `LiveRunner`.

    Raises:
        UsageError: another device is asked for than the CPU where Keras does not run on TensorFlow.
        CkptkitError: see `LiveRunner`.
    """
    backend = frameworks.other_backend(model)
    if backend is None:
        return LiveRunner(model, name, device, specs, loaded_by=loaded_by, path=path, unused=unused)
    from ckptkit.verification.keras_backends import KerasRunner

    if device.title != "CPU":
        raise UsageError(f"Keras on {backend} is run where it is", key=name, found=device.title)
    return KerasRunner(model, name, specs, loaded_by=loaded_by, path=path, unused=unused)


def dimensions(shape: Any) -> tuple[int | None, ...]:
    """A `TensorShape` as plain sizes; one of unknown rank takes a batch of numbers."""
    return (None,) if shape.rank is None else tuple(shape.as_list())


def _inputs_of(
    model: Any, framework: str, given: Sequence[InputSpec] | None, name: str
) -> tuple[Any, tuple[InputSpec, ...]]:
    """(structure to pack flat inputs into, or None for separate arguments; one spec per flat input)."""
    import tensorflow as tf

    signature = _signature(model)
    if signature is not None and given is None:
        labelled = ((getattr(spec, "name", None) or f"input {i}", spec) for i, spec in enumerate(signature))
        return None, tuple(part for label, spec in labelled for part in _parts(label, spec, name))
    if framework in {"keras", "tf_keras"} and getattr(model, "inputs", None):
        structure = getattr(model, "_inputs_struct", None)
        if structure is None:
            structure = getattr(model, "_nested_inputs", None)
        if structure is None:
            structure = model.inputs if len(model.inputs) > 1 else model.inputs[0]
        names = list(getattr(model, "input_names", None) or [tensor.name for tensor in model.inputs])
        leaves = zip(names, tf.nest.flatten(structure), strict=True)
        return structure, tuple(
            spec for label, tensor in leaves for spec in _parts(label, getattr(tensor, "type_spec", tensor), name)
        )
    if given is not None:
        return None, tuple(given)
    shapes = _known_shapes(model)
    if shapes is None:
        raise UsageError(
            "the model does not say what inputs it takes",
            key=name,
            hint="Give one batch of them with --inputs data.npz, or --input-shape 4,28,28,1 for each.",
        )
    return None, tuple(InputSpec(f"input {i}", tuple(shape), "float32") for i, shape in enumerate(shapes))


def _parts(label: str, spec: Any, name: str) -> tuple[InputSpec, ...]:
    """The flat inputs that one of a model's is: itself, or the two parts of a ragged one.

    Args:
        label: as the framework calls it.
        spec: a `TensorSpec`, a `RaggedTensorSpec`, or a symbolic tensor.
        name: of the model, for people.

    Raises:
        UsageError: a ragged input with several ragged axes.
    """
    import tensorflow as tf

    dtype = tf.as_dtype(spec.dtype).name
    if not isinstance(spec, tf.RaggedTensorSpec):
        return (InputSpec(label, dimensions(tf.TensorShape(spec.shape)), dtype),)
    if spec.ragged_rank != 1:
        raise UsageError(
            "only inputs with one ragged axis can be given", key=f"{name}: {label}", found=spec.ragged_rank
        )
    inner = (None, *tuple(spec.shape)[2:])
    return InputSpec(label + VALUES, inner, dtype), InputSpec(label + SPLITS, (None,), spec.row_splits_dtype.name)


def knows_inputs(model: Any) -> bool:
    """Whether a live model says what inputs it takes."""
    if frameworks.other_backend(model) is not None:
        return bool(getattr(model, "inputs", None))
    if frameworks.is_keras(frameworks.framework_of(model) or "") and getattr(model, "inputs", None):
        return True
    return _signature(model) is not None or _known_shapes(model) is not None


def _signature(model: Any) -> Sequence[Any] | None:
    """The inputs that a call declares: of a `tf.function` with an input signature, or what tf_keras saw on a first call."""
    import tensorflow as tf

    if frameworks.framework_of(model) is None or not callable(model):
        return None
    declared = getattr(model.__call__, "input_signature", None)
    plain = (tf.TensorSpec, tf.RaggedTensorSpec)
    if declared and all(isinstance(spec, plain) for spec in declared):
        return tuple(declared)
    if (
        frameworks.framework_of(model) != "tf_keras"
        or getattr(model, "inputs", None)
        or not hasattr(model, "save_spec")
    ):
        return None
    saved = model.save_spec(dynamic_batch=True)
    arguments = saved[0] if isinstance(saved, tuple) and len(saved) == 2 else ()
    return arguments if arguments and all(isinstance(spec, plain) for spec in arguments) else None


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
    framework = frameworks.framework_of(model)
    if framework is None or frameworks.weights(model, framework) or specs is None:
        return
    from ckptkit.verification.inputs import make_inputs

    flat = tuple(map(_tensor_for(model), make_inputs(specs, seed=0, batch=1)))
    names = [spec.name for spec in specs]
    try:
        frameworks.run(model, _assembled(names, flat), training=False)
    except Exception as error:  # the user's model may raise anything
        raise ModelError(f"calling the model once failed: {describe(error)}", key=type(model).__name__) from error


def _tensor_for(model: Any) -> Any:
    """What makes a tensor of an array for a model."""
    if frameworks.other_backend(model) is not None:
        return sys.modules["keras"].ops.convert_to_tensor
    import tensorflow as tf

    return tf.constant
