"""What a verification found: plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.display import Displayed

if TYPE_CHECKING:
    from ckptkit.verification.coverage import Coverage

SCHEMA = "ckptkit.verify/1"


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output of the destination against what the source says it should be; the source is the reference.

    Attributes:
        name: what is compared (`concatenate [:, 0:5] vs y`).
        shape: of the values compared.
        max_abs: largest absolute difference; NaN where one side is NaN and the other not.
        index: where it is.
        max_rel: largest difference relative to the source's value.
        rms: root of the mean squared difference.
        cosine: cosine of the angle between the two, over all elements; None when one is all zero.
        top1: share of rows whose largest element is at the same place, where the output looks like scores of classes.
        floor: what rounding alone changes in the source's output, measured.
        atol: absolute tolerance used.
        rtol: relative tolerance used.
        passed: whether every element is within `atol + rtol * |source|`.
    """

    name: str
    shape: tuple[int, ...]
    max_abs: float
    index: tuple[int, ...]
    max_rel: float
    rms: float
    cosine: float | None
    top1: float | None
    floor: float
    atol: float
    rtol: float
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Fields of `outputs` in `verify --json`; a number that is not finite is a string."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "max_abs": finite(self.max_abs),
            "index": list(self.index),
            "max_rel": finite(self.max_rel),
            "rms": finite(self.rms),
            "cosine": finite(self.cosine),
            "top1": self.top1,
            "floor": finite(self.floor),
            "atol": finite(self.atol),
            "rtol": finite(self.rtol),
            "passed": self.passed,
        }


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first layer whose output differs although its input agrees.

    Attributes:
        source: the layer's name in the source model.
        target: its name in the destination model.
        kind: class of the layer.
        input_difference: largest absolute difference of its inputs.
        output_difference: largest absolute difference of its outputs.
        reason: what probably causes it, in words; "" when nothing could be established.
    """

    source: str
    target: str
    kind: str
    input_difference: float
    output_difference: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Fields of `first_divergence` in `verify --json`."""
        return {
            "source": self.source,
            "target": self.target,
            "kind": self.kind,
            "input_max_abs": finite(self.input_difference),
            "output_max_abs": finite(self.output_difference),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what the two models were run.

    Attributes:
        samples: rows in all, over every batch.
        batches: number of batches.
        seed: of the inputs; None when they came from a file.
        devices: where (source, destination) ran, in words.
        emulated: whether a TPU's default precision was emulated.
        factor: what the measured floor is multiplied by; None where tolerances were given.
    """

    samples: int
    batches: int
    seed: int | None
    devices: tuple[str, str]
    emulated: bool
    factor: float | None


@dataclass(frozen=True, slots=True)
class VerifyResult(Displayed):
    """Whether two models compute the same.

    Attributes:
        source: what was verified against.
        destination: what was verified.
        conditions: how.
        outputs: every comparison made.
        towers: largest difference among the destination's (or source's) towers; None when there is one tower only.
        first_divergence: where they part, if that was asked for and found.
        notes: what a person should know (inputs shared, outputs reordered, weights untested, …).
        loaded_by: what put the values into the model of (source, destination), in words.
        pairing_proven: whether no side was filled by ckptkit's own matching, which the verdict would then rest on.
        coverage: which weights the outputs could have shown to be wrong; None for a FAIL, which needs no more.
    """

    source: str
    destination: str
    conditions: Conditions
    outputs: tuple[OutputComparison, ...]
    towers: float | None = None
    first_divergence: Divergence | None = None
    notes: tuple[str, ...] = ()
    loaded_by: tuple[str, str] = ("live", "live")
    pairing_proven: bool = True
    coverage: Coverage | None = None

    @property
    def untested(self) -> tuple[str, ...]:
        """Names of the weights that a PASS says nothing about."""
        return tuple(variable.name for variable in self.coverage.untested) if self.coverage else ()

    @property
    def complete(self) -> bool:
        """Whether both compute the same and no weight is untested: what `--strict` asks for."""
        return self.passed and not self.untested

    @property
    def passed(self) -> bool:
        """Whether every output is within its tolerance."""
        return bool(self.outputs) and all(output.passed for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """The plain data of `verify --json`."""
        conditions = self.conditions
        return {
            "schema": SCHEMA,
            "source": self.source,
            "destination": self.destination,
            "verdict": "pass" if self.passed else "fail",
            "device": list(conditions.devices),
            "emulated_tpu": conditions.emulated,
            "inputs": {"samples": conditions.samples, "batches": conditions.batches, "seed": conditions.seed},
            "factor": conditions.factor,
            "outputs": [output.to_json() for output in self.outputs],
            "towers": finite(self.towers),
            "first_divergence": self.first_divergence.to_json() if self.first_divergence else None,
            "loaded_by": {"source": self.loaded_by[0], "destination": self.loaded_by[1]},
            "pairing_proven": self.pairing_proven,
            "coverage": self.coverage.to_json() if self.coverage else None,
            "notes": list(self.notes),
        }


def finite(value: float | None) -> float | str | None:
    """`value` as strict JSON has it: NaN and infinities become the strings `nan`, `inf`, `-inf`."""
    return value if value is None or math.isfinite(value) else str(value)
