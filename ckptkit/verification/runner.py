"""A model that can be run, whatever framework it is of: arrays in, arrays out, weights readable and writable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import numpy as np


class Runner(Protocol):
    """One of the two sides of a verification.

    Attributes:
        name: for people: the path or the reference.
        inputs: what it takes, in order.
        outputs: names of what it gives, in order.
        loaded_by: what put the values into the model, in words.
        path: the checkpoint that holds its values under its own names; None where none does.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    loaded_by: str
    path: str | None

    def run(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> list[np.ndarray]:
        """Outputs for one batch, as at inference. Variables and generators are afterwards what they were.

        Args:
            arrays: one for each input.
            free: whether random ops draw other samples than the fixed ones that they draw otherwise.

        Raises:
            ModelError: the framework refused; its exception is the `__cause__`.
        """

    def draws(self, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
        """The random draws that a run makes, in words that compare; empty for a model that draws none."""

    def half_precision(self, arrays: Sequence[np.ndarray]) -> str | None:
        """`float16` or `bfloat16` where products are computed in it, else None."""

    def names(self) -> list[str]:
        """Names of all variables, in the order of `weights`."""

    def weights(self) -> list[np.ndarray]:
        """Values of all variables, in a fixed order; not to be written to, and what they were whatever is assigned later."""

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """Set all variables, in the order of `weights`."""

    def gradients(
        self, arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None] | None:
        """Gradients of the sum of all outputs times their factors, one for each variable; nobody looks at their signs.

        Args:
            arrays: one for each input.
            factors: of each output, of its shape; None for an output that cannot be differentiated.

        Returns:
            In the order of `weights`, None for a variable that no gradient reaches; None where it cannot be taken at all.
        """

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:
        """A `ConcreteFunction` that computes the same for inputs of these shapes, to be rewritten for emulation."""

    def live(self) -> Any:
        """The live model whose layers can be watched, or None."""

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """Run the live model eagerly, layer by layer."""


@runtime_checkable
class DirectRunner(Runner, Protocol):
    """A runner whose weights are moved without copies, and whose graph tells whether it is a function."""

    def is_function(self, arrays: Sequence[np.ndarray]) -> bool:
        """Whether its graph alone shows that it answers one batch always alike: no op of it has state, but weights."""

    def give(self, values: Sequence[np.ndarray]) -> None:
        """As `assign`, of arrays that nobody writes to before others are given: variables may hold them as they lie."""

    def kept(self) -> AbstractContextManager[None]:
        """Give all variables the values that they have now, whatever happens in between."""


@contextmanager
def keeping(runner: Runner, weights: Sequence[np.ndarray]) -> Iterator[None]:
    """Give a runner the weights that it has now, whatever happens in between."""
    if isinstance(runner, DirectRunner):
        with runner.kept():
            yield
        return
    try:
        yield
    finally:
        runner.assign(weights)
