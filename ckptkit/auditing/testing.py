"""The audit as an assertion for test suites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptkit.auditing.doctor import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def assert_no_untracked_weights(
    model: Any | Callable[[], object],
    inputs: object = None,
    *,
    input_shapes: Sequence[str | Sequence[int]] | None = None,
) -> None:
    """Fail unless every weight of `model` is tracked, saved, restored and trained.

    Args:
        model: a model, layer or module, or a function that makes one (which also checks loading into a fresh one).
        inputs: what it is called with; see `ckptkit.audit`.
        input_shapes: shapes instead of inputs.

    Raises:
        AssertionError: the audit has errors; the text lists each with its advice.
        CkptkitError: the model cannot be made or run.

    Example:
        >>> def test_weights():
        ...     assert_no_untracked_weights(build_model, np.ones((2, 8), "float32"))
    """
    errors = audit(model, inputs, input_shapes=input_shapes).errors
    if errors:
        lines = [f"{finding.message} {finding.advice}" for finding in errors]
        raise AssertionError("\n".join([f"the model loses weights ({len(errors)}):", *lines]))
