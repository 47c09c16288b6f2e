"""Moving averages in the places of the variables that they are averages of."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.errors import RefusedError
from ckptkit.plans import Cast, Op, Plan, Read, map_reads, reads

if TYPE_CHECKING:
    from ckptkit.model import CheckpointSpec, Variable

# The last part of an average's name: that of `tf.train.ExponentialMovingAverage`, by itself or as people call it, and what
# `use_ema` of either Keras is called in every container. An optimizer inside of another is stored twice, the second time
# with a number.
_AVERAGE = re.compile(
    r"(?:ExponentialMovingAverage|MovingAverage|EMA|ema(?:_weights)?|(?:moving_)?average)(?:_[0-9]+)?"
)


def find_averages(spec: CheckpointSpec) -> dict[str, Variable]:
    """Name of a variable -> its moving average; of several the first.

    Raises:
        RefusedError: the checkpoint holds none.
    """
    found: dict[str, Variable] = {}
    for variable in spec.variables:
        if variable.slot_of and _AVERAGE.fullmatch(variable.name.rpartition("/")[2]):
            found.setdefault(variable.slot_of, variable)
    if not found:
        unnamed = any(variable.slot_of and "/slot_" in variable.name for variable in spec.variables)
        raise RefusedError(
            "no moving averages are known in it", path=spec.path, key="--average",
            hint="Weights alone do not name the optimizer's slots: the `.keras` file or a checkpoint does."
            if unnamed
            else "`ckptkit inspect --slots` lists what it holds.",
        )  # fmt: skip
    return found


def averaged(plan: Plan, source: CheckpointSpec) -> Plan:
    """`plan` with every read of a variable that has a moving average replaced by a read of that.

    Args:
        plan: of `source`.
        source: its map.

    Raises:
        RefusedError: the source has no averages, or none of a variable that the plan reads.
    """
    averages = find_averages(source)

    def instead(read: Read) -> Op:
        found = averages.get(read.variable)
        if found is None or found.shape != read.shape:
            return read
        value = Read(found.name, found.shape, found.dtype)
        return value if found.dtype == read.dtype else Cast(value, read.dtype)

    steps = []
    taken = False
    for step in plan.steps:
        has = [name for name in reads(step.op) if name in averages]
        lacks = [name for name in reads(step.op) if name not in averages]
        taken = taken or bool(has)
        doubts = tuple(
            f"{name} has no moving average: its own value" for name in lacks if has or _is_trained(name, source)
        )
        copies = tuple(map_reads(copy, instead) for copy in step.copies)
        evidence = (*step.evidence, "average") if has else step.evidence
        op = map_reads(step.op, instead)
        steps.append(replace(step, op=op, copies=copies, evidence=evidence, doubts=(*step.doubts, *doubts)))
    if not taken and not plan.open:
        raise RefusedError("it has moving averages of other variables only", path=source.path, key="--average")
    return replace(plan, steps=tuple(steps))


def _is_trained(name: str, source: CheckpointSpec) -> bool:
    """Whether a variable is one that averages are kept of; statistics of a normalisation are averages themselves."""
    variable = next(variable for variable in source.variables if variable.name == name)
    return variable.kind == "weight" and not (variable.role or "").startswith("moving_")
