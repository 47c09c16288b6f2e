"""A model that can be run, whatever framework it is of: arrays in, arrays out, weights readable and writable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import numpy as np


class Runner(Protocol):
    """One of the two sides of a verification.

    Attributes:
        name: for people: the path or the reference.
        inputs: what it takes, in order.
        outputs: names of what it gives, in order.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for one batch, as at inference.

        Raises:
            ModelError: the framework refused; its exception is the `__cause__`.
        """

    def weights(self) -> list[np.ndarray]:
        """Values of all variables, in a fixed order."""

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """Set all variables, in the order of `weights`."""

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:
        """A `ConcreteFunction` that computes the same for inputs of these shapes, to be rewritten for emulation."""

    def live(self) -> Any:
        """The live model whose layers can be watched, or None."""

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """Run the live model eagerly, layer by layer."""
