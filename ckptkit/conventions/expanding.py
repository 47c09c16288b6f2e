"""Layers of one side that are several on the other, as several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.conventions.fused import Expanded, expand_fused
from ckptkit.conventions.separable import expand_separable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.model import CheckpointSpec


def expand(spec: CheckpointSpec, other: CheckpointSpec, assume: Mapping[str, str] | None = None) -> Expanded:
    """`spec` as `expand_fused` and `expand_separable` make it of `other`."""
    one = expand_fused(spec, other, assume)
    two = expand_separable(one.spec, other, assume)
    return Expanded(two.spec, {**one.parts, **two.parts})
