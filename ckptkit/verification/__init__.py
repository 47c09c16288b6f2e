"""Whether two models compute the same: run both on the same inputs, compare, say where they part and what is untested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.verification.options import Options, first_batches
from ckptkit.verification.result import VerifyResult
from ckptkit.verification.sharing import share_inputs

if TYPE_CHECKING:
    from ckptkit.verification.coverage import ValueCheck
    from ckptkit.verification.runner import Runner

__all__ = ["Options", "VerifyResult", "verify_runners"]


def verify_runners(
    source: Runner, target: Runner, options: Options, check_values: ValueCheck | None = None
) -> VerifyResult:
    """Run both on the same inputs and compare; the source is the reference.

    Args:
        source: the reference.
        target: what is verified.
        options: how.
        check_values: compares stored values, for weights that no output follows; None where there is no way to.

    Raises:
        CkptkitError: inputs or outputs do not fit each other, a model cannot be run or is not a function of its inputs,
            or the outputs that agree prove nothing.
    """
    from ckptkit.verification.session import Session

    sharing = share_inputs(source.inputs, target.inputs)
    return Session(source, target, options, sharing, check_values).verify(first_batches(sharing, options))
