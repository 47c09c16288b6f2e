"""The order and the groups of weights as text that travels in containers which know neither.

Keras loads by order and by class number. A safetensors file, an npz archive or a bundle has room for a text: with it what is
converted there and back loads as it did.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ckptkit.model import Layout, Placed

METADATA = "ckptkit.layout"
"""Entry of a safetensors file's metadata."""

BUNDLE_KEY = "_CKPTKIT_LAYOUT"
"""Key of the string in a TensorFlow bundle."""

_KINDS = {"legacy": "legacy", "v3": "v3", "order": "order"}


def encode_layout(layout: Layout) -> str:
    """The text."""
    places = [[place.key, place.group, place.word] for place in layout.places]
    return json.dumps([layout.kind, places], separators=(",", ":"))  # ASCII: a name need not be Unicode text


def decode_layout(text: str | bytes) -> Layout | None:
    """The layout that a text holds, or None for what is none: it is a help, and nothing depends on it being there."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], list):
        return None
    return layout_of(value[0], value[1])


def layout_of(kind: object, places: Iterable[object]) -> Layout | None:
    """A layout of parsed JSON; None for what is none, and where a key stands twice."""
    if not isinstance(kind, str) or kind not in _KINDS:
        return None
    found = []
    for place in places:
        if not isinstance(place, list) or len(place) != 3 or not all(isinstance(part, str) for part in place):
            return None
        found.append(Placed(*place))
    if len({place.key for place in found}) < len(found):
        return None
    return Layout(kind, tuple(found))  # type: ignore[arg-type]  # it is one of the three
