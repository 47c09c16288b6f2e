"""Variables with the same elements in another order or in other pieces: which change makes one of the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.compare import (
    Comparison,
    Tensor,
    Tolerance,
    Transform,
    Workspace,
    compare_arrays,
    compare_streams,
    compare_tensors,
    establish,
)
from ckptkit.differences.arranged import Arranged, likely_transforms
from ckptkit.model import StoredTensor, read_tensor

if TYPE_CHECKING:
    import numpy as np

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
    source: Sequence[Tensor], target: Sequence[Tensor], tolerance: Tolerance, work: Workspace
) -> tuple[str, Comparison | None]:
    """What makes the tensors of one side of those of the other, in words, and the comparison after it.

    The comparison is None where no transform is found.
    """
    found = find_rearrangement(source, target, tolerance, work)
    if isinstance(found, str):
        return found, None
    made_of = target if found.backwards else source
    words = found.transform.describe([tensor.spec.shape for tensor in made_of])
    return f"{'a is b' if found.backwards else 'a'}: {words}", found.comparison


def find_rearrangement(
    source: Sequence[Tensor], target: Sequence[Tensor], tolerance: Tolerance, work: Workspace
) -> Rearranged | str:
    """The transform between tensors that hold the same elements, or why there is none to be given."""
    if any(tensor.spec.dtype == "string" for tensor in (*source, *target)):
        return _UNKNOWN
    with _one_at_a_time:
        if sum(tensor.spec.nbytes for tensor in source) > _MOST_BYTES:
            if len(source) == len(target) == 1:
                return _rearrangement_of_large(source[0], target[0], tolerance, work)
            return _TOO_LARGE
        parts_a, parts_b = list(map(_read, source)), list(map(_read, target))
        if len(parts_b) == 1:
            transform = establish(parts_a, parts_b[0])
            if transform is not None:
                return Rearranged(transform, False, compare_arrays(transform.apply(parts_a), parts_b[0], tolerance))
        elif len(parts_a) == 1:
            transform = establish(parts_b, parts_a[0])
            if transform is not None:
                return Rearranged(transform, True, compare_arrays(parts_a[0], transform.apply(parts_b), tolerance))
    return _UNKNOWN


def _read(tensor: Tensor) -> np.ndarray:
    spec = tensor.spec
    return read_tensor(tensor.source, StoredTensor(spec.name, spec.shape, spec.dtype, spec.nbytes))


def _rearrangement_of_large(one: Tensor, other: Tensor, tolerance: Tolerance, work: Workspace) -> Rearranged | str:
    spec_a, spec_b = one.spec, other.spec
    found = compare_tensors(one.source, replace(spec_a, shape=spec_b.shape), *other, tolerance, work)
    if found.status == "identical":
        return Rearranged(Transform(spec_b.shape), False, found)
    if len(spec_a.shape) != 2 or len(spec_b.shape) != 2:
        return _TOO_LARGE
    for transform in likely_transforms(one.source, spec_a, other.source, spec_b):
        turned = Arranged(one.source, spec_a, transform).stream()
        found = compare_streams(turned, spec_b, other.source.stream(spec_b.name, work.raw_b), spec_b, tolerance, work)
        if found.status == "identical":
            return Rearranged(transform, False, found)
    return _UNKNOWN
