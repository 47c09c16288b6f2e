"""How a verification is done, and the batches that it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.verification.inputs import fit_inputs, make_inputs, read_inputs, shaped

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner
    from ckptkit.verification.sharing import Sharing

# Rows on which noise, repetition and coverage are measured where all are alike; more would only cost passes.
_ENOUGH_ROWS = 8

Arrays = Sequence["np.ndarray"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify.

    Attributes:
        seed: of made-up inputs and of the jitter.
        batch: rows per batch.
        batches: number of batches to begin with; more are drawn while they test more weights.
        inputs: `.npz` file with one batch, instead of made-up inputs.
        arrays: one batch, instead of made-up inputs.
        shapes: (shape with the batch, dtype) of each made-up input; empty for what the models say themselves.
        atol: absolute tolerance; None to calibrate.
        rtol: relative tolerance; None for none beside a calibrated absolute one.
        emulate_tpu: whether to compute as a TPU's default precision would.
        layers: whether to look for the layer at which the models part, should they.
        devices: titles of the devices of (source, destination).
        matched: whether ckptkit's own matching filled (source, destination).
        notes: what was concluded about the two sides before, in words.
    """

    seed: int = 0
    batch: int = 8
    batches: int = 2
    inputs: str | None = None
    arrays: Arrays | None = None
    shapes: Sequence[tuple[tuple[int, ...], str]] = ()
    atol: float | None = None
    rtol: float | None = None
    emulate_tpu: bool = False
    layers: bool = False
    devices: tuple[str, str] = ("CPU", "CPU")
    matched: tuple[bool, bool] = (False, False)
    notes: tuple[str, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether tolerances are measured."""
        return self.atol is None and self.rtol is None

    @property
    def made_up(self) -> bool:
        """Whether inputs are."""
        return self.inputs is None and self.arrays is None


def first_batches(sharing: Sharing, options: Options) -> list[list[np.ndarray]]:
    """The batches that are compared in any case."""
    if options.arrays is not None:
        return [fit_inputs("inputs", sharing.specs, {str(i): array for i, array in enumerate(options.arrays)})]
    if options.inputs is not None:
        return [read_inputs(options.inputs, sharing.specs)]
    return [made_batch(sharing, options, number) for number in range(options.batches)]


def made_batch(sharing: Sharing, options: Options, number: int) -> list[np.ndarray]:
    """A made-up batch, the same for the same number."""
    specs = shaped(sharing.specs, options.shapes) if options.shapes else sharing.specs
    return make_inputs(specs, seed=options.seed + number, batch=options.batch)


def few_rows(runner: Runner, arrays: Arrays, outputs: Arrays, options: Options) -> list[np.ndarray] | None:
    """A few rows of a batch that show what the whole would: made-up rows are drawn alike, given ones are not.

    Returns:
        None where the whole batch is needed: it is small, its size is fixed, the model gives something else than a row
        for each, or (on a TPU) every size of batch would be compiled anew.
    """
    if (
        not options.made_up
        or options.shapes
        or options.batch <= _ENOUGH_ROWS
        or any(t.startswith("TPU") for t in options.devices)
    ):
        return None
    alike = all(spec.shape[:1] == (None,) for spec in runner.inputs) and all(
        values.shape[:1] == (options.batch,) for values in (*arrays, *outputs)
    )
    return [array[:_ENOUGH_ROWS] for array in arrays] if alike else None
