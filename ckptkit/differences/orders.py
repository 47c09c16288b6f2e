"""Variables with the same elements in another order or in other pieces: which change makes one of the other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from ckptkit.compare import (
    Comparison,
    Tolerance,
    Transform,
    Workspace,
    compare_arrays,
    compare_streams,
    compare_tensors,
    establish,
)
from ckptkit.differences.arranged import Arranged, likely_transforms
from ckptkit.differences.reading import spec_of
from ckptkit.model import Checkpoint, LazyVariable, Variable

# Up to this many bytes both sides are in memory while transforms are tried, with a few copies of them.
_MOST_BYTES = 16 << 20
_one_at_a_time = threading.Lock()

_UNKNOWN = "the same elements, in an order that no known change of layout gives"
_TOO_LARGE = "the same elements in another order; too large to try more than one matrix against another"


@dataclass(frozen=True, slots=True)
class Rearranged:
    """How variables of two checkpoints hold the same elements, proven bit for bit.

    Attributes:
        transform: of the source's variables into the only one of the target, or the other way round when `backwards`.
        backwards: whether it makes the only variable of the source out of the target's.
        comparison: what comes of comparing the two sides after it.
    """

    transform: Transform
    backwards: bool
    comparison: Comparison


def explain(
    a: Checkpoint,
    b: Checkpoint,
    source: tuple[Variable, ...],
    target: tuple[Variable, ...],
    tolerance: Tolerance,
    work: Workspace,
) -> tuple[str, Comparison | None]:
    """What makes the variables of one side of those of the other, in words, and the comparison after it.

    The comparison is None where no transform is found.
    """
    found = find_rearrangement(a, b, source, target, tolerance, work)
    if isinstance(found, str):
        return found, None
    made_of = target if found.backwards else source
    words = found.transform.describe([variable.shape for variable in made_of])
    return f"{'a is b' if found.backwards else 'a'}: {words}", found.comparison


def find_rearrangement(
    a: Checkpoint,
    b: Checkpoint,
    source: tuple[Variable, ...],
    target: tuple[Variable, ...],
    tolerance: Tolerance,
    work: Workspace,
) -> Rearranged | str:
    """The transform between variables that hold the same elements, or why there is none to be given."""
    if any(variable.dtype == "string" for variable in (*source, *target)):
        return _UNKNOWN
    with _one_at_a_time:
        if sum(variable.nbytes for variable in source) > _MOST_BYTES:
            if len(source) == len(target) == 1:
                return _rearrangement_of_large(a, b, source[0], target[0], tolerance, work)
            return _TOO_LARGE
        parts_a = [LazyVariable(variable, a.source).read() for variable in source]
        parts_b = [LazyVariable(variable, b.source).read() for variable in target]
        if len(parts_b) == 1:
            transform = establish(parts_a, parts_b[0])
            if transform is not None:
                return Rearranged(transform, False, compare_arrays(transform.apply(parts_a), parts_b[0], tolerance))
        elif len(parts_a) == 1:
            transform = establish(parts_b, parts_a[0])
            if transform is not None:
                return Rearranged(transform, True, compare_arrays(parts_a[0], transform.apply(parts_b), tolerance))
    return _UNKNOWN


def _rearrangement_of_large(
    a: Checkpoint, b: Checkpoint, one: Variable, other: Variable, tolerance: Tolerance, work: Workspace
) -> Rearranged | str:
    spec_a, spec_b = spec_of(one), spec_of(other)
    found = compare_tensors(a.source, replace(spec_a, shape=spec_b.shape), b.source, spec_b, tolerance, work)
    if found.status == "identical":
        return Rearranged(Transform(spec_b.shape), False, found)
    if len(spec_a.shape) != 2 or len(spec_b.shape) != 2:
        return _TOO_LARGE
    for transform in likely_transforms(a.source, spec_a, b.source, spec_b):
        turned = Arranged(a.source, spec_a, transform).stream()
        found = compare_streams(turned, spec_b, b.source.stream(spec_b.name, work.raw_b), spec_b, tolerance, work)
        if found.status == "identical":
            return Rearranged(transform, False, found)
    return _UNKNOWN
