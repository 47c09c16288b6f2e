"""Runner for Keras 3 where it does not run on TensorFlow: on JAX or PyTorch, eagerly, through Keras's own variables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.errors import ModelError, UsageError
from ckptkit.references import describe
from ckptkit.verification.inputs import InputSpec, make_inputs

if TYPE_CHECKING:
    import numpy as np

# What generators of random numbers are set to; those of a free run to another.
_SEED, _OTHER = 20_000, 1


def keras_inputs(model: Any, given: Sequence[InputSpec] | None, name: str) -> tuple[Any, tuple[InputSpec, ...]]:
    """(structure to pack flat inputs into, or None for separate arguments; one spec per flat input).

    Raises:
        UsageError: the model does not say what it takes, and nobody else does.
    """
    keras = sys.modules["keras"]
    if getattr(model, "inputs", None):
        structure = getattr(model, "_inputs_struct", None)
        if structure is None:
            structure = model.inputs if len(model.inputs) > 1 else model.inputs[0]
        flat = keras.tree.flatten(structure)
        limits = _limits(model, flat)
        return structure, tuple(
            InputSpec(tensor.name, tuple(tensor.shape), tensor.dtype, limit)
            for tensor, limit in zip(flat, limits, strict=True)
        )
    if given is not None:
        return None, tuple(given)
    raise UsageError(
        "the model does not say what inputs it takes", key=name, hint="Give one batch of them with --inputs data.npz."
    )


def _limits(model: Any, inputs: Sequence[Any]) -> list[int | None]:
    """For each input the rows of the smallest table that looks it up directly; None for one that none does."""
    layers = [layer for layer in model._flatten_layers() if "Embedding" in type(layer).__name__]
    tables = [
        (layer.input_dim, node) for layer in layers for node in layer._inbound_nodes if hasattr(layer, "input_dim")
    ]
    found = []
    for tensor in inputs:
        rows = [rows for rows, node in tables if any(held is tensor for held in node.input_tensors)]
        found.append(min(rows) if rows else None)
    return found


class KerasRunner:
    """Runs a live Keras 3 model on whichever backend Keras has.

    Attributes:
        name: as `Runner.name`.
        inputs: as `Runner.inputs`.
        outputs: as `Runner.outputs`.
        loaded_by: as `Runner.loaded_by`.
        path: as `Runner.path`.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        specs: Sequence[InputSpec] | None = None,
        *,
        loaded_by: str = "live",
        path: str | None = None,
        unused: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Bind a model.

        Args:
            model: a Keras 3 model or layer.
            name: for people.
            specs: its inputs, for one that does not know its own.
            loaded_by: as `Runner.loaded_by`.
            path: as `Runner.path`.
            unused: weights of the file that the model has no place for, with their shapes.

        Raises:
            ModelError: it cannot be run.
            UsageError: its inputs cannot be told.
        """
        self._keras: Any = sys.modules["keras"]
        self._backend: str = self._keras.backend.backend()
        self.name, self.path, self.unused = name, path, dict(unused or {})
        self.loaded_by = f"{loaded_by} (on {self._backend})"
        self._model = model
        self._structure, self.inputs = keras_inputs(model, specs, name)
        named = getattr(model, "output_names", None)
        made = self._flat(make_inputs(self.inputs, seed=0, batch=2), free=False)
        plain = ("output",) if len(made) == 1 else tuple(f"output {number}" for number in range(len(made)))
        self.outputs = tuple(named) if named and len(named) == len(made) else plain

    def _call(self, arrays: Sequence[np.ndarray]) -> Any:
        tensors = [self._keras.ops.convert_to_tensor(array) for array in arrays]
        packed = (
            tuple(tensors)
            if self._structure is None
            else (self._keras.tree.pack_sequence_as(self._structure, tensors),)
        )
        return frameworks.run(self._model, packed, training=False)

    def _flat(self, arrays: Sequence[np.ndarray], *, free: bool) -> list[Any]:
        with self._unchanged(free=free), self._precise(), self._without_gradients():
            try:
                made = self._call(arrays)
            except Exception as error:  # the user's model may raise anything
                raise ModelError(f"running the model failed: {describe(error)}", key=self.name) from error
            return [leaf for leaf in self._keras.tree.flatten(made) if self._keras.ops.is_tensor(leaf)]

    def _precise(self) -> AbstractContextManager[Any]:
        if self._backend != "jax":
            return nullcontext()
        import jax

        context: AbstractContextManager[Any] = jax.default_matmul_precision("highest")
        return context

    def _without_gradients(self) -> AbstractContextManager[Any]:
        if self._backend != "torch":
            return nullcontext()
        context: AbstractContextManager[Any] = sys.modules["torch"].no_grad()
        return context

    def _every(self) -> list[Any]:
        return frameworks.distinct(frameworks.state(self._model, "keras"))

    @contextmanager
    def _unchanged(self, *, free: bool = False) -> Iterator[None]:
        """Put back what a run changes; generators of random numbers stand at fixed seeds meanwhile."""
        import numpy as np

        kept = [(variable, self._value(variable)) for variable in self._every()]
        for number, (variable, value) in enumerate(kept):
            if "seed_generator_state" in variable.path:
                seeds = np.array([(_OTHER if free else _SEED) + number, 0])
                variable.assign(seeds.astype(value.dtype).reshape(value.shape))
        try:
            yield
        finally:
            for variable, value in kept:
                if not np.array_equal(self._value(variable), value, equal_nan=value.dtype.kind in "fc"):
                    variable.assign(value)

    def _value(self, variable: Any) -> np.ndarray:
        import numpy as np

        value: np.ndarray = np.array(
            self._keras.ops.convert_to_numpy(variable)
        )  # on PyTorch it is the variable's memory
        return value

    def _variables(self) -> list[Any]:
        return frameworks.distinct(frameworks.weights(self._model, "keras"))

    def run(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> list[np.ndarray]:
        """As `Runner.run`."""
        return [self._keras.ops.convert_to_numpy(leaf) for leaf in self._flat(arrays, free=free)]

    def draws(self, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
        """As `Runner.draws`: the generators that a run moves on."""
        import numpy as np

        with self._unchanged(), self._without_gradients():
            seeds = [variable for variable in self._every() if "seed_generator_state" in variable.path]
            before = [self._value(variable) for variable in seeds]
            self._call(arrays)
            moved = [not np.array_equal(self._value(v), old) for v, old in zip(seeds, before, strict=True)]
        return ("generator of Keras",) * sum(moved)

    def half_precision(self, arrays: Sequence[np.ndarray]) -> str | None:
        """As `Runner.half_precision`: it is not known on these backends."""
        del arrays
        return None

    def names(self) -> list[str]:
        """As `Runner.names`."""
        return [str(variable.path) for variable in self._variables()]

    def weights(self) -> list[np.ndarray]:
        """As `Runner.weights`."""
        return [self._value(variable) for variable in self._variables()]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """As `Runner.assign`."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def gradients(
        self, arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None] | None:
        """As `Runner.gradients`."""
        variables = self._variables()
        take = self._gradients_of_torch if self._backend == "torch" else self._gradients_of_jax
        try:
            with self._unchanged(), self._precise():
                return take(variables, arrays, factors)
        except Exception:  # noqa: BLE001  # what has no gradient raises whatever it likes: values are compared then
            return None

    def _total(self, outputs: Any, factors: Sequence[np.ndarray | None]) -> Any:
        ops = self._keras.ops
        flat = [leaf for leaf in self._keras.tree.flatten(outputs) if ops.is_tensor(leaf)]
        terms = [
            ops.sum(ops.cast(leaf, "float32") * ops.convert_to_tensor(factor, "float32"))
            for leaf, factor in zip(flat, factors, strict=True)
            if factor is not None
        ]
        return sum(terms[1:], terms[0])

    def _gradients_of_torch(
        self, variables: Sequence[Any], arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None]:
        import numpy as np

        torch = sys.modules["torch"]
        tensors = [variable.value for variable in variables]
        watched = [tensor for tensor in tensors if tensor.is_floating_point()]
        before = [tensor.requires_grad for tensor in watched]
        try:
            for tensor in watched:
                tensor.requires_grad_(True)
            found = torch.autograd.grad(self._total(self._call(arrays), factors), watched, allow_unused=True)
        finally:
            for tensor, flag in zip(watched, before, strict=True):
                tensor.requires_grad_(flag)
        known = {id(t): np.abs(g.detach().numpy()) for t, g in zip(watched, found, strict=True) if g is not None}
        return [known.get(id(tensor)) for tensor in tensors]

    def _gradients_of_jax(
        self, variables: Sequence[Any], arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None]:
        import jax
        import numpy as np

        places = [place for place, variable in enumerate(variables) if "float" in str(variable.dtype)]

        def total(values: Sequence[Any]) -> Any:
            mapping = [(variables[place], value) for place, value in zip(places, values, strict=True)]
            with self._keras.StatelessScope(state_mapping=mapping):
                return self._total(self._call(arrays), factors)

        found = jax.grad(total)([variables[place].value for place in places])
        known = {place: np.abs(np.asarray(value)) for place, value in zip(places, found, strict=True)}
        return [known.get(place) for place in range(len(variables))]

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:
        """As `Runner.traced`, which these backends have not.

        Raises:
            ModelError: always.
        """
        del arrays
        raise ModelError("a TPU is emulated for TensorFlow's functions only", key=self.name, found=self._backend)

    def live(self) -> Any:
        """The model."""
        return self._model

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """As `Runner.call`."""
        with self._unchanged(), self._precise(), self._without_gradients():
            return self._call(arrays)
