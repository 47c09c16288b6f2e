"""Outputs of two sides, paired and over all batches, against their tolerances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ckptkit.verification.numbers import FACTOR, compare_output

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.options import Options
    from ckptkit.verification.result import OutputComparison
    from ckptkit.verification.runner import Runner
    from ckptkit.verification.towers import OutputPairing

    Arrays = Sequence[np.ndarray]


def joined(batches: Sequence[Arrays]) -> list[np.ndarray]:
    """Outputs of several batches as one array each; scalars stacked."""
    import numpy as np

    return [
        np.concatenate(values) if values[0].ndim else np.stack(values)
        for values in ([batch[i] for batch in batches] for i in range(len(batches[0])))
    ]


def tolerance_of(floor: float, options: Options) -> float:
    """The absolute tolerance for an output of this noise floor; where only a relative one was given, a calibrated one."""
    return options.atol if options.atol is not None else FACTOR * floor


def compare(
    source: Runner,
    target: Runner,
    pairing: OutputPairing,
    given: Arrays,
    made: Arrays,
    floors: Sequence[float],
    options: Options,
    remark: str = "",
) -> tuple[OutputComparison, ...]:
    """Every pair of outputs, or of parts of them.

    Args:
        source: the reference, for names.
        target: what is verified, for names.
        pairing: what belongs together.
        given: outputs of the source, over all batches.
        made: outputs of the destination.
        floors: noise floor of each output of the source.
        options: tolerances, where they were given.
        remark: what to say behind the names.
    """
    outputs = []
    for ours, theirs in pairing.pairs:
        floor = floors[ours.output]
        name, reference = theirs.named(target.outputs), ours.named(source.outputs)
        outputs.append(
            compare_output(
                (name if name == reference else f"{name}  vs  {reference}") + remark,
                ours.of(given),
                theirs.of(made),
                floor=floor,
                atol=FACTOR * floor if options.calibrated else options.atol or 0.0,
                rtol=0.0 if options.calibrated else options.rtol or 0.0,
            )
        )
    return tuple(outputs)


def tower_difference(pairing: OutputPairing, given: Arrays, made: Arrays) -> float | None:
    """Largest difference of any tower from the first; None where there is one only."""
    import numpy as np

    if not pairing.towers:
        return None
    side = made if pairing.towers_of == "destination" else given
    first, *others = (part.of(side) for part in pairing.towers)
    return max(float(np.abs(first.astype(np.float64) - other).max()) if first.size else 0.0 for other in others)
