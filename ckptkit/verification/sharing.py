"""Which sample goes to which input of which model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ckptkit.errors import ModelError
from ckptkit.verification.inputs import InputSpec


@dataclass(frozen=True, slots=True)
class Sharing:
    """What to make, and who gets it.

    Attributes:
        specs: the arrays to make, one each.
        source: for each input of the source, the index of its array.
        target: the same for the destination.
        note: what a person should know; "" when both models simply take the same.
    """

    specs: tuple[InputSpec, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]
    note: str = ""


def share_inputs(source: Sequence[InputSpec], target: Sequence[InputSpec]) -> Sharing:
    """Pair the inputs of two models: by name, in order, or one sample for all of several inputs.

    Raises:
        ModelError: their shapes or numbers do not fit.
    """
    if len(source) == len(target):
        order = _in_order(source, target)
        specs = tuple(_common(spec, target[order[i]]) for i, spec in enumerate(source))
        back = tuple(order.index(i) for i in range(len(target)))
        return Sharing(specs, tuple(range(len(source))), back)
    if len(source) == 1 or len(target) == 1:
        single, several = (source[0], target) if len(source) == 1 else (target[0], source)
        spec = single
        for other in several:
            spec = _common(spec, other)
        return Sharing(
            (spec,), (0,) * len(source), (0,) * len(target), f"the same sample goes to each of {len(several)} inputs"
        )
    raise ModelError("the models take different numbers of inputs", expected=len(source), found=len(target))


def _in_order(source: Sequence[InputSpec], target: Sequence[InputSpec]) -> list[int]:
    """For each input of the source, its partner's index: by equal names, else by position where the shapes fit."""
    names = [spec.name for spec in target]
    by_name = [names.index(spec.name) if spec.name in names else -1 for spec in source]
    if len(set(by_name)) == len(source) and -1 not in by_name:
        return by_name
    if all(_fits(a, b) for a, b in zip(source, target, strict=True)):
        return list(range(len(source)))
    free = list(range(len(target)))
    order = []
    for spec in source:
        fitting = [i for i in free if _fits(spec, target[i])]
        if len(fitting) != 1:
            raise ModelError(
                "which input belongs to which is not clear", key=spec.name, expected=spec.shape,
                found=", ".join(f"{target[i].name} {target[i].shape}" for i in free),
            )  # fmt: skip
        order.append(fitting[0])
        free.remove(fitting[0])
    return order


def _fits(a: InputSpec, b: InputSpec) -> bool:
    return len(a.shape) == len(b.shape) and all(
        x is None or y is None or x == y for x, y in zip(a.shape, b.shape, strict=True)
    )


def _common(a: InputSpec, b: InputSpec) -> InputSpec:
    """What both inputs take: sizes that either fixes, the smaller limit."""
    if not _fits(a, b):
        raise ModelError("the shape of an input differs", key=f"{a.name} and {b.name}", expected=a.shape, found=b.shape)
    limits = [limit for limit in (a.limit, b.limit) if limit is not None]
    shape = tuple(x if x is not None else y for x, y in zip(a.shape, b.shape, strict=True))
    words = tuple(dict.fromkeys((*a.words, *b.words)))
    return replace(a, shape=shape, limit=min(limits, default=None), words=words)
