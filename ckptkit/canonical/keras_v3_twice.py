"""Keras 3's layout: variables that a layer and the layer inside of it both hold, and that are written twice.

`SpectralNormalization` takes the kernel of the layer that it wraps for its own (keras/src/layers/normalization/
spectral_normalization.py, build). Its group then begins with that kernel, and the group inside of it holds it again. When
Keras loads, the inner one is read last and stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptkit.canonical.keras_v3_places import GroupPlace, Places
from ckptkit.canonical.naming import without_auto_suffix
from ckptkit.conventions.candidates import snake_case
from ckptkit.model import StoredTensor, VarsGroup

_CLASS = "SpectralNormalization"


@dataclass(frozen=True, slots=True)
class Twice:
    """The group of a layer that holds a variable of the layer inside of it.

    Attributes:
        path: of the group.
        copy: key of what it holds of the other.
        of: key of what that is a copy of.
        own: key of the variable of its own.
        word: what that is called.
        kind: class of the layer.
    """

    path: str
    copy: str
    of: str
    own: str
    word: str = "vector_u"
    kind: str = _CLASS


def held_twice(groups: Sequence[VarsGroup], places: Places, tensors: Mapping[str, StoredTensor]) -> Iterator[Twice]:
    """Every such group; what its class or name says is taken only where the shapes say it, too."""
    by_path = {group.path: group for group in groups}
    for group in groups:
        inner = by_path.get(f"{group.path}/layer")
        if inner is None or len(group.keys) != 2 or not _is_called_so(group, places[group.path]):
            continue
        copy, own, of = (tensors.get(key) for key in (*group.keys, *inner.keys[:1]))
        if copy is None or own is None or of is None or not of.shape:
            continue
        if (copy.shape, copy.dtype) == (of.shape, of.dtype) and own.shape == (1, of.shape[-1]):
            yield Twice(group.path, copy.key, of.key, own.key)


def _is_called_so(group: VarsGroup, place: GroupPlace) -> bool:
    if place.node is not None and place.is_node:
        return place.node.class_name == _CLASS
    words = (group.name or "", group.path.rpartition("/")[2])
    return snake_case(_CLASS) in map(without_auto_suffix, words)
