"""Adapters are not left behind while what they adapt is moved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckptkit.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ckptkit.model import Variable

# What Keras calls the factors of an adapter (keras/src/layers/core/dense.py, enable_lora).
_FACTOR = re.compile(r"lora_\w+_[ab]")


def refuse_lost_adapters(left: Iterable[str], used: Collection[str], sources: Mapping[str, Variable]) -> None:
    """Raise `RefusedError` where a factor of an adapter would be left behind and the variable that it adapts moved.

    Whatever is allowed: without its adapter the layer computes something else.
    """
    moved = {sources[name].layer for name in used if name in sources}
    for name in left:
        if name in sources and sources[name].layer in moved and _FACTOR.fullmatch(name.rpartition("/")[2]):
            raise RefusedError(
                f"{name} belongs to an adapter, and {sources[name].layer} without it computes something else",
                hint="Merge the adapter in its own framework first.",
            )
