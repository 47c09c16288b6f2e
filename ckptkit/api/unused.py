"""Weights of a verified file that nothing took which ran: no run says anything of them, so the verdict names them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.api.open import open  # noqa: A004
from ckptkit.verification.coverage import Untested, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.verification import VerifyResult
    from ckptkit.verification.coverage import ValueCheck, ValuePair
    from ckptkit.verification.runner import Runner

Shapes = dict[str, tuple[int, ...]]


def with_unused(result: VerifyResult, source: Runner, target: Runner, check_values: ValueCheck) -> VerifyResult:
    """The result of a verification with the weights of the two files that neither side took, unless their values are equal.

    Args:
        result: what the runs say.
        source: the reference.
        target: what was verified.
        check_values: compares stored values.

    Raises:
        CkptkitError: a file cannot be read.
    """
    if result.coverage is None or not result.passed:
        return result
    found = [("source", source, _unused(source)), ("destination", target, _unused(target))]
    if not any(unused for _, _, unused in found):
        return result
    pairs = check_values(source, target)
    untested, equal = [], []
    for side, runner, unused in found:
        for name, shape, differs in _judged(runner, unused, pairs):
            if differs is False:
                equal.append(name)
            else:
                untested.append(Untested(side, name, shape, 0.0, differs))
    coverage = result.coverage.beside(untested, equal, (len(found[0][2]), len(found[1][2])))
    notes = list(result.notes)
    if untested:
        notes.append(f"no place in what ran, so that nothing is said of it: {len(untested):,} of the files' weights")
    return replace(result, coverage=coverage, notes=tuple(notes))


def _unused(runner: Runner) -> Shapes:
    """Weights of a side's file that it did not take, with their shapes."""
    told: Shapes | None = getattr(runner, "unused", None)
    if told is not None or runner.path is None:  # a live model's loader tells
        return told or {}
    with open(runner.path) as checkpoint:
        # A graph calls its variables as its checkpoint does; in a SavedModel several may have one name.
        called: dict[str, set[str]] = defaultdict(set)
        for variable in checkpoint.spec.variables:
            for word in (*variable.aliases, variable.key, variable.name):
                called[word].add(variable.name)
        used = {name for word in runner.names() if len(called[word]) == 1 for name in called[word]}
        held = {digest(value) for value in runner.weights()}
        return {
            variable.name: variable.shape
            for variable in checkpoint.spec.variables
            if variable.kind == "weight"
            and variable.name not in used
            and digest(checkpoint[variable.name].read()) not in held
        }


def _judged(
    runner: Runner, unused: Shapes, pairs: Sequence[ValuePair]
) -> list[tuple[str, tuple[int, ...], bool | None]]:
    """Name, shape, and whether the value differs from its counterpart's; None where it has none."""
    if not unused or runner.path is None:
        return []
    equal = {key: pair.equal for pair in pairs for key in (*pair.source, pair.target)}
    with open(runner.path) as checkpoint:
        found = [(name, shape, equal.get(digest(checkpoint[name].read()))) for name, shape in unused.items()]
    return [(name, shape, None if same is None else not same) for name, shape, same in found]
