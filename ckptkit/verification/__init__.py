"""Whether two models compute the same: run both on the same inputs, compare, say where they part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.verification.inputs import fit_inputs, make_inputs, read_inputs
from ckptkit.verification.numbers import FACTOR, compare_output, noise_floor
from ckptkit.verification.result import Conditions, Divergence, OutputComparison, VerifyResult
from ckptkit.verification.runner import Runner
from ckptkit.verification.sharing import Sharing, share_inputs
from ckptkit.verification.towers import Pairing, pair_outputs

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Options", "VerifyResult", "verify_runners"]

# Half a unit in the last place of bfloat16, in units of float32: the two differ by 16 bits of mantissa.
_HALF_BFLOAT16 = 1 << 15
# Rows on which the noise floor is measured where all are alike; more would only cost forward passes.
_ENOUGH_ROWS = 8

Arrays = Sequence["np.ndarray"]
Run = Callable[[Arrays], list["np.ndarray"]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify.

    Attributes:
        seed: of made-up inputs and of the jitter.
        batch: rows per batch.
        batches: number of batches.
        inputs: `.npz` file with one batch, instead of made-up inputs.
        arrays: one batch, instead of made-up inputs.
        atol: absolute tolerance; None to calibrate.
        rtol: relative tolerance; None for none beside a calibrated absolute one.
        emulate_tpu: whether to compute as a TPU's default precision would.
        layers: whether to look for the layer at which the models part, should they.
        devices: titles of the devices of (source, destination).
    """

    seed: int = 0
    batch: int = 8
    batches: int = 2
    inputs: str | None = None
    arrays: Arrays | None = None
    atol: float | None = None
    rtol: float | None = None
    emulate_tpu: bool = False
    layers: bool = False
    devices: tuple[str, str] = ("CPU", "CPU")


def verify_runners(source: Runner, target: Runner, options: Options) -> VerifyResult:
    """Run both on the same inputs and compare; the source is the reference.

    Raises:
        CkptkitError: inputs or outputs do not fit each other, or a model cannot be run.
    """
    sharing = share_inputs(source.inputs, target.inputs)
    batches = _batches(sharing, options)
    ours = [[batch[i] for i in sharing.source] for batch in batches]
    theirs = [[batch[i] for i in sharing.target] for batch in batches]
    run_source, run_target = _run(source, ours[0], options), _run(target, theirs[0], options)
    given = [run_source(arrays) for arrays in ours]
    made = [run_target(arrays) for arrays in theirs]
    floors = _floors(source, ours[0], given[0], options)
    pairing = pair_outputs(given[0], made[0])
    outputs = _compare(source, target, pairing, _joined(given), _joined(made), floors, options)
    passed = all(output.passed for output in outputs)
    divergence, remark = (None, "") if passed or not options.layers else _locate(source, target, ours[0], theirs[0])
    return VerifyResult(
        source.name,
        target.name,
        Conditions(
            sum(len(batch[0]) if batch and batch[0].ndim else 1 for batch in batches),
            len(batches),
            options.seed if options.inputs is None and options.arrays is None else None,
            options.devices,
            options.emulate_tpu,
            None if options.atol is not None or options.rtol is not None else FACTOR,
        ),
        outputs,
        _tower_difference(pairing, _joined(given), _joined(made)),
        divergence,
        tuple(note for note in (sharing.note, pairing.note, remark) if note),
    )


def _batches(sharing: Sharing, options: Options) -> list[list[np.ndarray]]:
    if options.arrays is not None:
        return [fit_inputs("inputs", sharing.specs, {str(i): array for i, array in enumerate(options.arrays)})]
    if options.inputs is not None:
        return [read_inputs(options.inputs, sharing.specs)]
    return [
        make_inputs(sharing.specs, seed=options.seed + number, batch=options.batch) for number in range(options.batches)
    ]


def _run(runner: Runner, arrays: Arrays, options: Options) -> Run:
    """How `runner` is run: as it is, or rewritten as a TPU would compute."""
    if not options.emulate_tpu:
        return runner.run
    import tensorflow as tf

    from ckptkit.verification.emulate import emulate_tpu

    emulated = emulate_tpu(runner.traced(arrays))

    def run(values: Arrays) -> list[np.ndarray]:
        return [value.numpy() for value in emulated(*(tf.constant(value) for value in values))]

    return run


def _floors(source: Runner, arrays: Arrays, outputs: Arrays, options: Options) -> list[float]:
    """What rounding alone changes in the source's outputs, at the precision that is worked in."""
    if options.emulate_tpu:
        # What bfloat16 operands change against float32 ones is the very noise that such a device adds.
        plain = source.run(arrays)
        return noise_floor(lambda _weights, _inputs: plain, (), (), outputs, seed=options.seed)
    ulps = _HALF_BFLOAT16 if any(title.startswith("TPU") for title in options.devices) else 1
    if ulps == 1 and _are_alike(source, arrays, outputs, options):
        arrays = [array[:_ENOUGH_ROWS] for array in arrays]
        outputs = source.run(arrays)
    weights = source.weights()

    def run(moved: Arrays, inputs: Arrays) -> list[np.ndarray]:
        source.assign(moved)
        return source.run(inputs)

    try:
        return noise_floor(run, weights, arrays, outputs, seed=options.seed, ulps=ulps)
    finally:
        source.assign(weights)


def _are_alike(source: Runner, arrays: Arrays, outputs: Arrays, options: Options) -> bool:
    """Whether a few rows of a batch show what rounding changes in all: made-up rows are drawn alike, given ones are not.

    Not for a model that fixes its batch or gives something else than a row for each, nor on a TPU, where every size of
    batch is compiled anew.
    """
    if options.inputs is not None or options.arrays is not None or options.batch <= _ENOUGH_ROWS:
        return False
    return all(spec.shape[:1] == (None,) for spec in source.inputs) and all(
        values.shape[:1] == (options.batch,) for values in (*arrays, *outputs)
    )


def _joined(batches: Sequence[Arrays]) -> list[np.ndarray]:
    """Outputs of several batches as one array each; scalars stacked."""
    import numpy as np

    return [
        np.concatenate(values) if values[0].ndim else np.stack(values)
        for values in ([batch[i] for batch in batches] for i in range(len(batches[0])))
    ]


def _compare(
    source: Runner, target: Runner, pairing: Pairing, given: Arrays, made: Arrays, floors: list[float], options: Options
) -> tuple[OutputComparison, ...]:
    outputs = []
    for ours, theirs in pairing.pairs:
        floor = floors[ours.output]
        calibrated = options.atol is None and options.rtol is None
        name = theirs.named(target.outputs)
        reference = ours.named(source.outputs)
        outputs.append(
            compare_output(
                name if name == reference else f"{name}  vs  {reference}",
                ours.of(given),
                theirs.of(made),
                floor=floor,
                atol=FACTOR * floor if calibrated else options.atol or 0.0,
                rtol=0.0 if calibrated else options.rtol or 0.0,
            )
        )
    return tuple(outputs)


def _tower_difference(pairing: Pairing, given: Arrays, made: Arrays) -> float | None:
    """Largest difference of any tower from the first."""
    import numpy as np

    if not pairing.towers:
        return None
    side = made if pairing.towers_of == "destination" else given
    first, *others = (part.of(side) for part in pairing.towers)
    return max(float(np.abs(first.astype(np.float64) - other).max()) if first.size else 0.0 for other in others)


def _locate(source: Runner, target: Runner, ours: Arrays, theirs: Arrays) -> tuple[Divergence | None, str]:
    if source.live() is None or target.live() is None:
        return None, "layers are compared between live models only; name both with --src-model and --dst-model"
    from ckptkit.verification.localise import first_divergence

    found = first_divergence(source, target, ours, theirs)
    return (
        found,
        "" if found else "no single layer parts: the models differ between their layers (order, merge, activation)",
    )
