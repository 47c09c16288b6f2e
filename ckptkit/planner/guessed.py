"""That nothing tells how a kernel lies: one side's layer is a transposed convolution, the other's is not known to be one.

Kernels of transposed convolutions lie in Keras's way or turned (`conventions.flax`), and where they have as many input as
output channels no shape tells which. Under Keras's words, which NNX has too, the plan takes Keras's way, and says so.
"""

from __future__ import annotations

from dataclasses import replace

from ckptkit.model import CheckpointSpec
from ckptkit.plans import Plan, Step, reads

_SAYS = "assumes that {} lies as Keras's: nothing tells that it is the kernel of a transposed convolution, or whose"
_LEAST_AXES = 3  # one of space, and two of channels


def with_guesses(plan: Plan, source: CheckpointSpec, target: CheckpointSpec) -> Plan:
    """`plan` with what its steps take for granted of such kernels."""
    known, open_ = _transposed(source, target), _undecided(source, target)
    layers = [{variable.name: variable.layer for variable in spec.variables} for spec in (source, target)]

    def said(step: Step) -> Step:
        shape = step.target.shape
        ours = next((name for name in reads(step.op) if name in layers[0]), None)
        if len(shape) < _LEAST_AXES or shape[-1] != shape[-2] or ours is None or step.target.name not in layers[1]:
            return step
        sides = layers[0][ours], layers[1][step.target.name]
        for one, other, name in ((0, 1, step.target.name), (1, 0, ours)):
            if sides[one] in known[one] and sides[other] in open_[other]:
                return replace(step, doubts=(*step.doubts, _SAYS.format(name)))
        return step

    return replace(plan, steps=tuple(map(said, plan.steps)))


def _transposed(*specs: CheckpointSpec) -> list[set[str]]:
    """Layers of each that are known to be such convolutions."""
    return [{layer.name for layer in spec.layers if (layer.kind or "").endswith("Transpose")} for spec in specs]


def _undecided(*specs: CheckpointSpec) -> list[set[str]]:
    """Layers of each of which nothing but Keras's words is known."""
    return [
        {
            layer.name
            for layer in spec.layers
            if layer.config is None and layer.dialect.startswith(("keras", "plain")) and layer.name not in known
        }
        for spec, known in zip(specs, _transposed(*specs), strict=True)
    ]
