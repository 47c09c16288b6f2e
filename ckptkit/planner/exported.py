"""What a SavedModel that Keras 3 exported computes with beside its variables: constants that its graph holds."""

from __future__ import annotations

import re
from dataclasses import replace

from ckptkit.model import CheckpointSpec
from ckptkit.plans import Plan

# keras/src/export/saved_model.py keeps a model's variables in lists of these names, in place of the layers.
_EXPORTED = re.compile(r"(?:trainable_|non_trainable_)?variables/[0-9]+/")

# keras/src/layers/preprocessing/normalization.py makes tensors of both when they are settled: constants, for a trace.
_KIND = "Normalization"

_WHY = "the graph of an exported SavedModel holds it as a constant, which stays as it was: export the model again"


def warn_of_constants(plan: Plan, target: CheckpointSpec) -> Plan:
    """`plan` with a note on every step that moves a value of which the target's graph has a copy of its own."""
    if target.format != "saved-model":
        return plan
    settled = {name for layer in target.layers if layer.kind == _KIND for name in layer.variables}
    steps = tuple(
        replace(step, doubts=(*step.doubts, _WHY))
        if step.target.name in settled and _EXPORTED.match(step.key)
        else step
        for step in plan.steps
    )
    return replace(plan, steps=steps) if steps != plan.steps else plan
