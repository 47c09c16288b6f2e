"""Whether the layers inside one group of a legacy Keras file stand in their order.

Keras writes the trainable weights of a group before its frozen ones (tf_keras/src/saving/legacy/hdf5_format.py and
keras/src/legacy/saving/legacy_h5_format.py, `_legacy_weights`). So where a nested model was partly frozen, its frozen layers
come last, whatever their place, and a file of weights says nothing of it. What can tell is a moving average that comes before
a layer's first weight, numbers that fall, and shapes that do not follow on each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ckptkit.canonical.wrapped import PROJECTIONS
from ckptkit.conventions.layout import Shape

# What no layer trains, so that it stands behind everything that is trained.
_NEVER_TRAINED = frozenset({"moving_mean", "moving_variance", "running_mean", "running_std"})

# Made by Keras itself inside of one layer, side by side.
_PARTS = (*PROJECTIONS.values(), "forward_", "backward_")

_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A weight of the group: path of its layer, its word below it, its shape."""

    layer: str
    word: str
    shape: Shape


def ordered_layers(weights: Sequence[Stored]) -> dict[str, bool]:
    """For each layer of a group whether its place among the others can be believed.

    Args:
        weights: of the group, in stored order.
    """
    layers: dict[str, dict[str, Shape]] = {}
    for weight in weights:
        layers.setdefault(weight.layer, {}).setdefault(weight.word, weight.shape)
    free = [layer for layer in layers if not layer.rpartition("/")[2].startswith(_PARTS)]
    if len(free) < 2:
        return dict.fromkeys(layers, True)
    numbers = _numbers(free)
    if _behind_averages(weights) or any(one > other for found in numbers.values() for one, other in _pairs(found)):
        return dict.fromkeys(layers, False)
    counted = {layer for found in numbers.values() if len(found) > 1 for _, layer in found}
    ends = [_ends(layers[layer]) for layer in free]
    believed = dict.fromkeys(layers, True)
    for place, layer in enumerate(free):
        # A layer that nothing numbers is where it stands only if its shapes say so, too.
        near = max(place, 1)
        if layer not in counted and not _follows(ends[near - 1], ends[near]):
            believed[layer] = False
    return believed


def _numbers(layers: Sequence[str]) -> dict[str, list[tuple[tuple[int, ...], str]]]:
    """Names that differ in nothing but their numbers, with these; an automatic name without one counts from zero."""
    found: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for layer in layers:
        word = _NUMBER.sub("#", layer)
        numbers = tuple(map(int, _NUMBER.findall(layer)))
        if not word.endswith("_#"):
            word, numbers = f"{word}_#", (*numbers, 0)
        found.setdefault(word, []).append((numbers, layer))
    return found


def _pairs(found: Sequence[tuple[tuple[int, ...], str]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(one, other) for (one, _), (other, _) in pairwise(found)]


def _behind_averages(weights: Sequence[Stored]) -> bool:
    """Whether a layer begins behind another's moving averages, and the averages do not simply follow their own layer."""
    first = next((place for place, weight in enumerate(weights) if weight.word in _NEVER_TRAINED), len(weights))
    seen = {weight.layer for weight in weights[: first + 1]}
    if all(weight.layer in seen for weight in weights[first:]):
        # A normalisation without scale and centre has nothing but averages.
        return bool(weights[first:]) and weights[first].layer not in {weight.layer for weight in weights[:first]}
    # All of it frozen, or none of it written in two parts: each layer is in one piece.
    pieces = [
        weight.layer for place, weight in enumerate(weights) if not place or weights[place - 1].layer != weight.layer
    ]
    return len(pieces) != len(set(pieces))


def _ends(words: Mapping[str, Shape]) -> tuple[int | None, int | None, bool]:
    """Features that a layer takes and gives, where its words and shapes tell, and whether it can only come first."""
    kernel = words.get("kernel") or words.get("W")
    recurrent = words.get("recurrent_kernel")
    depthwise = words.get("depthwise_kernel")
    pointwise = words.get("pointwise_kernel")
    vector = words.get("gamma") or words.get("beta") or words.get("moving_mean")
    if "embeddings" in words and len(words["embeddings"]) == 2:
        return None, words["embeddings"][1], True
    if depthwise is not None and len(depthwise) > 1:
        return depthwise[-2], pointwise[-1] if pointwise else math.prod(depthwise[-2:]), False
    if kernel is not None and len(kernel) > 1:
        return kernel[-2], recurrent[-2] if recurrent is not None and len(recurrent) > 1 else kernel[-1], False
    if vector is not None and len(vector) == 1:
        return vector[0], vector[0], False
    return None, None, False


def _follows(before: tuple[int | None, int | None, bool], after: tuple[int | None, int | None, bool]) -> bool:
    """Whether `after` can take what `before` gives, as it is or flattened."""
    if after[2]:
        return False
    given, taken = before[1], after[0]
    return given is None or taken is None or (given > 0 and taken % given == 0)
