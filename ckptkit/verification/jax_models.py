"""Runner for functions over trees: jitted on the CPU, with full precision of products, changing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ckptkit.errors import ModelError
from ckptkit.references import describe
from ckptkit.trees import FunctionalModel, flatten, to_numpy
from ckptkit.verification.inputs import InputSpec, make_inputs

if TYPE_CHECKING:
    import numpy as np

# What random ops are seeded with; those of a free run with another one.
_SEED, _OTHER = 20_000, 1

# Primitives of JAX that draw samples.
_DRAWS = frozenset({"random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"})


class JaxRunner:
    """Runs a model of JAX.

    Attributes:
        name: as `Runner.name`.
        inputs: as `Runner.inputs`, as the other side or a file has them.
        outputs: as `Runner.outputs`.
        loaded_by: as `Runner.loaded_by`.
        path: as `Runner.path`.
    """

    def __init__(
        self,
        model: FunctionalModel,
        name: str,
        specs: Sequence[InputSpec],
        *,
        loaded_by: str = "live",
        path: str | None = None,
    ) -> None:
        """Bind a model.

        Args:
            model: over its values.
            name: for people.
            specs: its inputs.
            loaded_by: as `Runner.loaded_by`.
            path: as `Runner.path`.

        Raises:
            ModelError: it cannot be run on such inputs.
        """
        import jax

        self.name, self.loaded_by, self.path = name, loaded_by, path
        self.unused: dict[str, tuple[int, ...]] = {}  # a tree takes every weight of its file, or the file is none of it
        self._model = model
        self._tree = flatten(model.tree)
        self._device = jax.devices("cpu")[0]
        self._values = [jax.device_put(leaf, self._device) for leaf in self._tree.leaves]
        self._function = jax.jit(self._flat)
        self.inputs = tuple(specs)
        made = self._call(make_inputs(self.inputs, seed=0, batch=2), free=False)
        self.outputs = ("output",) if len(made) == 1 else tuple(f"output {number}" for number in range(len(made)))

    def _flat(self, values: Sequence[Any], key: Any, inputs: tuple[Any, ...]) -> list[Any]:
        import jax

        made = self._model.apply(self._tree.put(values), key, inputs)
        return [leaf for leaf in jax.tree_util.tree_leaves(made) if hasattr(leaf, "dtype")]

    def _precise(self) -> Any:
        import jax

        return jax.default_matmul_precision("highest")

    def _arguments(self, arrays: Sequence[np.ndarray], *, free: bool) -> tuple[Any, ...]:
        import jax

        key = jax.random.PRNGKey(_OTHER if free else _SEED)
        return tuple(self._values), key, tuple(jax.device_put(array, self._device) for array in arrays)

    def _call(self, arrays: Sequence[np.ndarray], *, free: bool) -> list[Any]:
        try:
            with self._precise():
                return list(self._function(*self._arguments(arrays, free=free)))
        except Exception as error:  # the user's model may raise anything
            raise ModelError(f"running the model failed: {describe(error)}", key=self.name) from error

    def run(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> list[np.ndarray]:
        """As `Runner.run`."""
        return [to_numpy(value) for value in self._call(arrays, free=free)]

    def draws(self, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
        """As `Runner.draws`: the primitives that draw, wherever in the traced function they stand."""
        import jax

        with self._precise():
            return tuple(_drawn(jax.make_jaxpr(self._flat)(*self._arguments(arrays, free=False)).jaxpr))

    def half_precision(self, arrays: Sequence[np.ndarray]) -> str | None:
        """As `Runner.half_precision`: none is known, so that the models are compared as they are."""
        del arrays
        return None

    def names(self) -> list[str]:
        """As `Runner.names`: paths in the tree."""
        return list(self._tree.names)

    def weights(self) -> list[np.ndarray]:
        """As `Runner.weights`."""
        return [to_numpy(value) for value in self._values]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """As `Runner.assign`."""
        import jax

        self._values = [
            jax.device_put(value, self._device).astype(old.dtype)
            for value, old in zip(values, self._values, strict=True)
        ]

    def gradients(
        self, arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None] | None:
        """As `Runner.gradients`."""
        import jax
        import jax.numpy as jnp
        import numpy as np

        values, key, inputs = self._arguments(arrays, free=False)
        places = [place for place, value in enumerate(values) if jnp.issubdtype(value.dtype, jnp.floating)]

        def total(floating: Sequence[Any]) -> Any:
            every = list(values)
            for place, value in zip(places, floating, strict=True):
                every[place] = value
            terms = [
                jnp.sum(part.astype(jnp.float32) * factor)
                for output, factor in zip(self._flat(every, key, inputs), factors, strict=True)
                if factor is not None
                for part in ((output.real, output.imag) if jnp.iscomplexobj(output) else (output,))
                if jnp.issubdtype(part.dtype, jnp.floating)
            ]
            return sum(terms[1:], terms[0])

        try:
            with self._precise():
                found = jax.jit(jax.grad(total))([values[place] for place in places])
        except Exception:  # noqa: BLE001  # what has no gradient raises whatever it likes: values are compared then
            return None
        known = {place: np.abs(to_numpy(gradient)) for place, gradient in zip(places, found, strict=True)}
        return [known.get(place) for place in range(len(values))]

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:
        """As `Runner.traced`, which a function of JAX has not.

        Raises:
            ModelError: always.
        """
        del arrays
        raise ModelError("a TPU is emulated for TensorFlow's functions only", key=self.name)

    def live(self) -> Any:
        """The model over its present values."""
        return self._model.with_tree(self._tree.put(self._values))

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """As `Runner.call`."""
        return self._call(arrays, free=False)


def _drawn(jaxpr: Any) -> list[str]:
    """`primitive shape` of every draw in a traced function and in those that it calls."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in _DRAWS:
            found.append(f"{equation.primitive.name} {list(equation.outvars[0].aval.shape)}")
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                body = getattr(inner, "jaxpr", inner)
                if hasattr(body, "eqns"):
                    found += _drawn(body)
    return found
