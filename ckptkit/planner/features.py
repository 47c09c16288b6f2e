"""What the features of a layer are: one after another, or the pixels of a flattened image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptkit.model import CheckpointSpec, Form, Layer

# Where an order comes from in which neighbours feed each other, or nearly so.
_ORDERS = ("stored", "config", "object-graph", "meta-graph", "file-layout", "registration")

# Kinds whose output is an image, or a sequence that PyTorch keeps with the channels first; those that do something to each
# feature for itself; those that read features along one axis.
_IMAGES = ("Conv", "DepthwiseConv", "SeparableConv")
EACH = frozenset({
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "LayerScale", "PReLU", "RMSNormalization",
})  # fmt: skip
READS = frozenset({"Dense", "GRU", "LSTM", "SimpleRNN"})

# Sizes of what comes out, by the letters of a kind's dimensions.
_OUT = {"Dense": "O", "Embedding": "D", "LSTM": "H", "GRU": "H", "SimpleRNN": "H", "EinsumDense": "O"}

# Layers in a row beyond this are not followed.
_FARTHEST = 64


@dataclass(frozen=True, slots=True)
class Image:
    """Features that are a flattened image.

    Attributes:
        channels: how many there are at each position.
        why: what says so, or the layer whose channels they seem to be.
        sure: whether it is known; else it only may be one.
    """

    channels: int
    why: str
    sure: bool = True


class Features:
    """Of one checkpoint, read by `read_forms`, with its graph where it has one."""

    def __init__(self, spec: CheckpointSpec) -> None:
        self.ordered = spec.order_source in _ORDERS
        self._inputs = spec.inputs
        self._layers = {layer.name: layer for layer in spec.layers}
        self._order = [layer for layer in spec.layers if layer.forms]
        self._places = {layer.name: place for place, layer in enumerate(self._order)}
        self._users: dict[str, list[str]] = {}
        for layer in spec.layers:
            for feed in layer.feeds or ():
                self._users.setdefault(feed, []).append(layer.name)

    def names(self, layer: str) -> tuple[str, ...]:
        """What the layer is called."""
        found = self._layers.get(layer)
        return (layer, *found.aliases) if found else (layer,)

    def told(self, layer: str, letter: str) -> bool:
        """Whether the graph tells what the features are."""
        found = self._layers.get(layer)
        if found is None:
            return False
        if letter != "I" and self._users.get(layer):
            return all(self._layers[user].passes is not None for user in self._users[layer])
        return found.passes is not None

    def image(self, layer: str, letter: str, size: int) -> Image | None:
        """What the graph says of the inputs (`I`), outputs (`O`) or features (`C`) of a layer; None for no image."""
        if layer not in self._layers:
            return None
        if letter == "I":
            return self._arriving(layer, size, 0)
        if letter == "C":
            return self._arriving(layer, size, 0) or self._leaving(layer, size, 0)
        return self._leaving(layer, size, 0)

    def _arriving(self, layer: str, size: int, depth: int) -> Image | None:
        found = self._layers[layer]
        if found.passes is None or depth > _FARTHEST:
            return None
        passed: dict[str, set[str]] = {}
        for feed, what in found.passes:
            passed.setdefault(feed, set()).add(what)
        if not passed:
            # Features that are an image stay one where something is done to each of them.
            for feed in found.feeds or ():
                own = self._layers.get(feed)
                if own is not None and _kind(own) in EACH and _out(own) == size:
                    image = self._arriving(feed, size, depth + 1)
                    if image is not None:
                        return image
            return None
        known = {feed: self._channels(feed, 0) for feed in passed if not feed.startswith("input:") or self._shape(feed)}
        images = list(known.values())
        channels = {image for image in images if image is not None and size % image == 0 and image < size}
        if not channels:
            # An image between other features: there are as many as nothing divides.
            joined = [(image, feed) for feed, image in known.items() if passed[feed] >= {"flatten", "join"}]
            inside = next(((image, feed) for image, feed in joined if image is not None and 1 < image < size), None)
            return inside and Image(*inside, sure=False)
        whole = all(words == {"flatten"} for words in passed.values()) and None not in images
        # What is added to a flattened image is in its order, or in that of whatever made it.
        whole = whole and passed.keys() >= set(found.feeds or ())
        # A product over the channels of an image leaves these last, where the framework does not turn it round.
        whole = whole and not any(self._is_product(feed) for feed in passed)
        # Keras turns such an image round when its Flatten is told so, and leaves it otherwise.
        whole = whole and not any(self._is_first(feed, 0) for feed in passed)
        name = ", ".join(passed)
        return Image(min(channels), f"of {name}, flattened" if whole else name, whole and len(channels) == 1)

    def _leaving(self, layer: str, size: int, depth: int) -> Image | None:
        if depth > _FARTHEST:
            return None
        images: list[Image | None] = []
        for user in self._users.get(layer, ()):
            other = self._layers[user]
            if other.passes is None:
                return None
            words = {what for feed, what in other.passes if feed == layer}
            wanted = _in(other)
            if not words:
                images.append(self._leaving(user, size, depth + 1) if _kind(other) in EACH and wanted == size else None)
            elif _is_image(other) and wanted and wanted < size and size % wanted == 0:
                whole = words == {"flatten"}
                images.append(Image(wanted, f"of {user}, reshaped" if whole else user, whole))
            else:
                images.append(None)
        found = {image.channels: image for image in images if image is not None}
        if not found:
            return None
        image = next(iter(found.values()))
        return image if len(found) == 1 and None not in images else Image(image.channels, image.why, sure=False)

    def _channels(self, name: str, depth: int) -> int | None:
        """Channels of the image that a layer or an input gives; None where it is a sequence or a vector."""
        if name.startswith("input:"):
            shape = self._shape(name)
            return shape[-1] if shape is not None and len(shape) > 2 else None
        layer = self._layers.get(name)
        if layer is None or depth > _FARTHEST:
            return None
        if _is_image(layer):
            return _out(layer)
        if _kind(layer) in EACH or self._is_product(name):
            feeds = [self._channels(feed, depth + 1) for feed in layer.feeds or ()]
            return _out(layer) if feeds and None not in feeds else None
        return None

    def _is_product(self, name: str) -> bool:
        """Whether a layer is a matrix product to which nothing comes flattened."""
        layer = self._layers.get(name)
        return layer is not None and _kind(layer) == "Dense" and layer.passes == ()

    def _is_first(self, name: str, depth: int) -> bool:
        """Whether an image has its channels first although the framework's usually come last."""
        layer = self._layers.get(name)
        if layer is None or depth > _FARTHEST:
            return False
        if _is_image(layer):
            return (layer.config or {}).get("data_format") == "channels_first"
        return _kind(layer) in EACH and any(self._is_first(feed, depth + 1) for feed in layer.feeds or ())

    def _shape(self, name: str) -> tuple[int | None, ...] | None:
        number = int(name.partition(":")[2])
        return self._inputs[number] if number < len(self._inputs) else None

    def beside(self, layer: str, letter: str, size: int) -> Image | None:
        """Without a graph: the nearest layer of images in order whose channels the features are a multiple of."""
        place = self._places.get(layer)
        if place is None:
            return None
        if letter in ("I", "C"):
            found = _nearest(self._order[:place][::-1], size, _out)
            if letter == "I" or found is not None:
                return found
        return _nearest(self._order[place + 1 :], size, _in)

    def anywhere(self, layer: str, letter: str, size: int) -> Image | None:
        """Without an order: any layer of images, unless something before it can explain the features."""
        place = self._places.get(layer)
        if place is None:
            return None
        others = [other for other in self._order if other.name != layer]
        sized, rest = (_out, self._order[:place]) if letter != "O" else (_in, self._order[place + 1 :])
        if any(sized(other) == size for other in others if _is_image(other) or _kind(other) in EACH or other in rest):
            return None
        return next((image for other in others if (image := _multiple(other, size, sized)) is not None), None)


def _nearest(layers: Sequence[Layer], size: int, sized: object) -> Image | None:
    for layer in layers:
        if sized(layer) == size:  # type: ignore[operator]
            return None
        image = _multiple(layer, size, sized)
        if image is not None:
            return image
    return None


def _multiple(layer: Layer, size: int, sized: object) -> Image | None:
    channels = sized(layer) if _is_image(layer) else None  # type: ignore[operator]
    if not channels or channels == 1 or channels >= size or size % channels:
        return None
    return Image(channels, layer.name, sure=False)


def _form(layer: Layer) -> Form | None:
    return layer.forms[0] if layer.forms else None


def _kind(layer: Layer) -> str:
    form = _form(layer)
    return (form.of or form.kind) if form else layer.kind or ""


def _is_image(layer: Layer) -> bool:
    return _kind(layer).startswith(_IMAGES)


def _out(layer: Layer) -> int | None:
    """Features, or channels, that come out; None where the tables do not say."""
    form = _form(layer)
    if form is None:
        return None
    kind, dims = _kind(layer), form.dims
    if kind.startswith("DepthwiseConv"):
        return dims["C"] * dims["M"] if {"C", "M"} <= dims.keys() else None
    return dims.get(_OUT.get(kind, "C" if kind in EACH else "O"))


def _in(layer: Layer) -> int | None:
    """Features, or channels, that go in."""
    form = _form(layer)
    if form is None:
        return None
    kind = _kind(layer)
    return form.dims.get("C" if kind in EACH or kind.startswith(("Depthwise", "Separable")) else "I")
