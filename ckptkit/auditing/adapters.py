"""Low-rank adapters of Keras 3, which its own saver merges into what they adapt: nothing is lost, and nothing is apart.

Keras writes the sum, and a model that loads it has factors of zero (keras/src/layers/core/dense.py, `save_own_variables`,
`load_own_variables`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ckptkit.auditing.holders import Holder

_FACTOR = re.compile(r"(?P<layer>.*\.)lora_(?P<adapted>\w+)_(?P<which>[ab])")

# What a quantized variable is written anew with: the sum is rounded to integers again.
_BESIDE = ("scale", "zero")

# Of a sum in float32 against the sum of its parts, relative to the largest element.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Adapter:
    """Places of an adapter's variables among those of a model.

    Attributes:
        adapted: of the variable that the product is added to.
        factors: of the two factors.
        beside: of the scales of a quantized variable.
    """

    adapted: int
    factors: tuple[int, int]
    beside: tuple[int, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        """All of them."""
        return (self.adapted, *self.factors, *self.beside)


def find_adapters(holders: Sequence[Holder | None]) -> tuple[Adapter, ...]:
    """The adapters among variables, told by the attributes that hold them."""
    places = {holder.path: place for place, holder in enumerate(holders) if holder is not None}
    found = []
    for path, place in places.items():
        match = _FACTOR.fullmatch(path)
        if match is None or match["which"] != "a":
            continue
        layer, adapted = match["layer"], match["adapted"]
        other = places.get(f"{layer}lora_{adapted}_b")
        main = next((places[name] for name in (f"{layer}{adapted}", f"{layer}_{adapted}") if name in places), None)
        if other is not None and main is not None:
            beside = (places.get(f"{layer}{adapted}_{word}") for word in _BESIDE)
            found.append(Adapter(main, (place, other), tuple(each for each in beside if each is not None)))
    return tuple(found)


def is_merged(adapter: Adapter, saved: Sequence[np.ndarray], loaded: Sequence[np.ndarray]) -> bool:
    """Whether what was loaded is what was saved with its adapter merged: the factors are zero and the sum is right.

    Args:
        adapter: places in both lists.
        saved: values when the file was written.
        loaded: values of the model that loaded it.
    """
    if any(np.any(loaded[place]) for place in adapter.factors):
        return False
    before, after = saved[adapter.adapted], loaded[adapter.adapted]
    if not np.issubdtype(before.dtype, np.floating) or adapter.beside:
        return True  # rounded to integers with scales of their own: there is no equality to be measured
    left, right = (saved[place].astype(np.float64) for place in adapter.factors)
    product = np.tensordot(left, right, axes=1)
    if product.shape != before.shape:
        return False
    added = after.astype(np.float64) - before.astype(np.float64)
    scale = float((added * product).sum() / (product * product).sum())
    rounding = _ROUNDING * max(np.abs(after).max(), 1e-30)
    # Without the product the fit is perfect too, with a scale of zero.
    return bool(np.abs(added).max() > rounding and np.abs(added - scale * product).max() <= rounding)
