"""How a checkpoint is written for `git diff`: one fact a line, each line the same as long as its fact is.

Nothing is aligned: a longer name in one line must not change the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from ckptkit.errors import printable
from ckptkit.report import words

if TYPE_CHECKING:
    from ckptkit.api.listing import Listing, Unlisted
    from ckptkit.model import Layer

# Half of a SHA-256: 128 bits are beyond making two contents of one digest, and the line stays readable.
_SHOWN_DIGITS = 32
_GAP = "  "
_MOST_PRINTABLE = 1000  # `printable` shortens what is longer


def write_listing(listing: Listing, stream: IO[str]) -> None:
    """Write the lines of a checkpoint."""
    for line in _lines(listing):
        stream.write(_GAP.join(map(printable, line)) + "\n")


def write_unlisted(file: Unlisted, stream: IO[str]) -> None:
    """Write why a file has no listing, and what tells it from others: its text, or its size and digest."""
    if file.problem is not None:
        stream.write(f"unreadable: {printable(file.problem)}\n")
    if file.text is None:
        stream.write(f"{words.count(file.size, 'byte')}  sha256 {file.sha256[:_SHOWN_DIGITS]}\n")
        return
    for line in file.text.removesuffix("\n").split("\n"):
        stream.write("\t".join(map(_whole, line.split("\t"))) + "\n")


def _lines(listing: Listing) -> Iterator[tuple[str, ...]]:
    spec = listing.spec
    yield "format", spec.format
    if listing.producer:
        yield "producer", listing.producer
    if listing.architecture:
        yield "architecture", f"sha256 {listing.architecture[:_SHOWN_DIGITS]}"
    for layer in listing.layers:
        yield _layer(listing, layer)
    for name, kind in spec.weightless:
        yield tuple(filter(None, (f"layer {name}", kind, "no weights")))
    for damage in spec.damage:
        yield "damaged", damage
    for variable in listing.variables:
        method, _, value = listing.contents[variable.name].partition(" ")
        digest = value[:_SHOWN_DIGITS] if method == "sha256" else value
        yield variable.name, words.shape(variable.shape), variable.dtype, f"{method} {digest}"


def _layer(listing: Listing, layer: Layer) -> tuple[str, ...]:
    config = listing.configs.get(layer.name)
    facts = (
        f"layer {layer.name}",
        layer.kind,
        f"called {layer.calls} times" if layer.calls > 1 else None,
        f"config {config[:_SHOWN_DIGITS]}" if config else None,
    )
    return tuple(filter(None, facts))


def _whole(text: str) -> str:
    """`printable` of all of a text, however long."""
    return "".join(printable(text[at : at + _MOST_PRINTABLE]) for at in range(0, len(text), _MOST_PRINTABLE))
