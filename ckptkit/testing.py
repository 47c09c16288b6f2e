"""For test suites of those who write or convert checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from ckptkit.differences import Diff, PairDiff
    from ckptkit.model import By, Checkpoint

__all__ = ["assert_checkpoints_close", "assert_no_untracked_weights"]

# A failure message names this many of each kind; `ckptkit diff` shows all.
_SHOWN = 10


def assert_checkpoints_close(
    actual: str | os.PathLike[str] | Checkpoint,
    desired: str | os.PathLike[str] | Checkpoint,
    *,
    rtol: float = 1e-7,
    atol: float = 0.0,
    by: By = "auto",
    slots: bool = False,
) -> None:
    """Fail unless every weight of the two checkpoints is there on both sides and within tolerance.

    The defaults are those of `numpy.testing.assert_allclose`, and so is what they mean: NaN equals NaN.

    Args:
        actual: a path, or an open checkpoint.
        desired: the reference.
        rtol: relative tolerance, a factor of the reference's values.
        atol: absolute tolerance.
        by: how variables are paired, as for `ckptkit.diff`.
        slots: whether optimizer slots and state have to agree too.

    Raises:
        AssertionError: they differ; the message says which layers, by how much, and what has no partner.
        CkptkitError: a file cannot be read.

    Example:
        >>> assert_checkpoints_close("converted.weights.h5", "expected.weights.h5", rtol=1e-5)  # doctest: +SKIP
    """
    from ckptkit.api.diff import diff

    found = diff(actual, desired, by=by, atol=atol, rtol=rtol, slots=slots)
    if found.verdict == "different":
        raise AssertionError(_message(found, slots))


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
    from ckptkit.api.audit import audit

    errors = audit(model, inputs, input_shapes=input_shapes).errors
    if errors:
        lines = [f"{finding.message} {finding.advice}" for finding in errors]
        raise AssertionError("\n".join([f"the model loses weights ({len(errors)}):", *lines]))


def _message(found: Diff, slots: bool) -> str:
    different = [pair for pair in found.pairs if pair.verdict == "different" and (slots or pair.is_weight)]
    lines = [
        (
            f"checkpoints differ: {found.a} (actual) and {found.b} (desired), "
            f"rtol {found.tolerance.rtol:g}, atol {found.tolerance.atol:g}"
        ),
        *(f"  {swap}" for swap in found.swaps),
        *_cut([_pair_line(pair) for pair in different], "variable"),
        *_cut([f"  only in actual: {each.name}" for each in found.only_a], "variable only in actual"),
        *_cut([f"  only in desired: {each.name}" for each in found.only_b], "variable only in desired"),
        *_cut(
            [
                f"  ambiguous: {', '.join((*each.source, *each.target))} ({each.why})"
                for each in found.ambiguous
                if not each.equal
            ],
            "ambiguous group",
        ),
    ]
    return "\n".join(lines)


def _pair_line(pair: PairDiff) -> str:
    name = pair.b_name if pair.a_name == pair.b_name else f"{pair.a_name} → {pair.b_name}"
    statistics = pair.statistics
    if pair.status == "rearranged":
        return f"  {name}: {pair.note}"
    if statistics is None:
        shapes = (" + ".join(str(list(v.shape)) for v in side) for side in (pair.source, pair.target))
        return f"  {name}: shape {' against '.join(shapes)}"
    where = f" at {list(pair.max_index)}" if pair.max_index else ""
    nan = f", NaN {statistics.nan_a} against {statistics.nan_b}" if statistics.nan_a != statistics.nan_b else ""
    return (
        f"  {name}: {statistics.mismatched:,} of {statistics.count:,} elements out of tolerance, "
        f"largest difference {statistics.max_abs:.6g}{where}, relative {statistics.max_rel:.3g}{nan}"
    )


def _cut(lines: list[str], what: str) -> list[str]:
    rest = len(lines) - _SHOWN
    return lines if rest <= 0 else [*lines[:_SHOWN], f"  … and {rest} more ({what})"]
