"""Variables that a file holds twice: both copies get the same, and both of a source have to be equal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.model import TensorSpec
from ckptkit.plans import Plan, reads, replace_reads

if TYPE_CHECKING:
    from ckptkit.model import CheckpointSpec
    from ckptkit.plans import Step

_BOTH = "the file holds {} twice"


def with_second_copies(plan: Plan, source: CheckpointSpec, target: CheckpointSpec) -> Plan:
    """`plan` with a step for every second copy in the target of what it gives a value, held to those in the source.

    Args:
        plan: over what is stored.
        source: where values come from.
        target: the template.
    """
    again = {variable.copy_of: variable.name for variable in source.variables if variable.copy_of}
    copies = [variable for variable in target.variables if variable.copy_of]
    if not again and not copies:
        return plan
    steps = {step.target.name: _held_to(step, again) for step in plan.steps}
    made = set()
    for variable in copies:
        step = steps.get(variable.copy_of or "")
        if step is not None:
            spec = TensorSpec(variable.name, variable.shape, variable.dtype)
            doubts = (*step.doubts, _BOTH.format(step.target.name))
            steps[variable.name] = replace(step, target=spec, key=variable.key, doubts=doubts)
            made.add(variable.name)
    return replace(
        plan,
        steps=tuple(steps[variable.name] for variable in target.variables if variable.name in steps),
        kept=tuple(item for item in plan.kept if item.target not in made),
    )


def _held_to(step: Step, again: dict[str, str]) -> Step:
    """`step` with what its sources' second copies give, which has to be the same."""
    held = {name: again[name] for name in reads(step.op) if name in again}
    return replace(step, copies=(*step.copies, replace_reads(step.op, held))) if held else step
