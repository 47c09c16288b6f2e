"""`audit` of a `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ckptkit.auditing.findings import Audit, Finding
from ckptkit.auditing.inputs import make_array
from ckptkit.auditing.pytorch.measure import Measured, measure
from ckptkit.auditing.pytorch.rules import diagnose
from ckptkit.auditing.pytorch.watch import Sites
from ckptkit.errors import UsageError
from ckptkit.inputs import parse_shape

_RANK = {"error": 0, "warning": 1, "info": 2}


def audit_module(
    made: object,
    make: Callable[[], object] | None,
    sites: Sites,
    inputs: object,
    input_shapes: Sequence[str | Sequence[int]] | None,
    stored: Callable[[Measured], list[Finding]] | None = None,
) -> Audit:
    """Find the weights that a PyTorch module makes, uses and then loses.

    Args:
        made: the module, or the module and its optimizer.
        make: makes a fresh one; None where there is only this one.
        sites: where its tensors were made, as far as that was seen.
        inputs: as for `audit`.
        input_shapes: as for `audit`.
        stored: gives what is to be said of a file beside the module.

    Raises:
        ModelError: the factory or the module fails.
        UsageError: the inputs are missing or do not parse.
    """
    measured = measure(made, make, sites, lambda module: _arguments(module, inputs, input_shapes))
    facts, findings = diagnose(measured)
    found = [*findings, *(stored(measured) if stored else ())]
    ordered = tuple(sorted(found, key=lambda finding: _RANK[finding.severity]))
    return Audit(type(measured.model).__name__, "torch", facts, ordered, measured.notes)


def _arguments(module: Any, inputs: object, input_shapes: Sequence[str | Sequence[int]] | None) -> tuple[Any, ...]:
    if inputs is not None and input_shapes:
        raise UsageError("inputs and input shapes are both given", hint="One of the two says what the model takes.")
    if inputs is not None:
        if isinstance(inputs, Mapping):  # a file of arrays: in its order
            return tuple(map(_tensor, inputs.values()))
        return tuple(map(_tensor, inputs)) if isinstance(inputs, tuple) else (_tensor(inputs),)
    if input_shapes:
        pairs = [parse_shape(s) if isinstance(s, str) else (tuple(s), "float32") for s in input_shapes]
        return tuple(_tensor(make_array(shape, dtype)) for shape, dtype in pairs)
    example = getattr(module, "example_input_array", None)
    if example is not None:
        return example if isinstance(example, tuple) else (example,)
    raise UsageError(
        f"{type(module).__name__} does not say what it takes",
        hint="Give its inputs: --input-shape 1,3,32,32 (repeatable, :int64 for integers) or --inputs FILE.npz.",
    )


def _tensor(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value
    tensor = torch.from_numpy(np.array(value))
    return tensor if tensor.is_floating_point() or tensor.dtype == torch.bool else tensor.long()
