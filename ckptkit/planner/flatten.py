"""Features that are a flattened image lie in another order where images lie otherwise.

TensorFlow flattens `[height, width, channels]` and PyTorch `[channels, height, width]`, so that the rows of a matrix product
behind it are other ones, and nothing in its shape tells. Which places a feature has matters not, only how many of them each
channel has: `positions * channels` on one side is `channels * positions` on the other.

What a layer's features are is read from the graph where the other side has an architecture. Where it has none, a layer whose
features are a proper multiple of the channels beside it is refused until a person says what they are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.conventions.flattening import NONE, said_of
from ckptkit.conventions.torch import DIALECT as TORCH
from ckptkit.errors import RefusedError, UsageError
from ckptkit.planner.features import EACH, READS, Features, Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.conventions.rows import Row
    from ckptkit.matching.result import Pair
    from ckptkit.model import CheckpointSpec, Form, Variable

# Letters of no row, for the channels and the positions of what goes in and what comes out; and of which kinds each is asked.
_LETTERS = {"I": ("A", "B"), "O": ("E", "F"), "C": ("E", "F")}
_ASKED = {"I": READS, "O": frozenset({"Dense"}), "C": EACH}

_ONCE = 1


@dataclass(frozen=True, slots=True)
class Reordered:
    """The readings of a pair with their features taken apart.

    Attributes:
        rows: of source and target, in whose layouts an axis of features is a product.
        forms: with the sizes of the two factors.
        says: what is done, in words; empty where nothing is.
    """

    rows: tuple[Row, Row]
    forms: tuple[Form, Form]
    says: tuple[str, ...] = ()


class Flattening:
    """What the features of each layer are, of two checkpoints whose images may lie in different orders."""

    def __init__(self, source: CheckpointSpec, target: CheckpointSpec, assume: Mapping[str, str]) -> None:
        """Look at both sides.

        Raises:
            UsageError: an assumption about a layer that neither has.
        """
        self._sides = Features(source), Features(target)
        self._said = said_of(assume)
        self._general = assume.get("flatten")
        known = {name for spec in (source, target) for layer in spec.layers for name in (layer.name, *layer.aliases)}
        unknown = next((name for name in self._said if name not in known), None)
        if unknown is not None:
            raise UsageError("neither side has such a layer", key=f"flatten:{unknown}")

    def applied(
        self, pair: Pair, rows: tuple[Row, Row], forms: tuple[Form, Form], variables: tuple[Variable, Variable]
    ) -> Reordered:
        """The readings, with the features of flattened images in the order of each side.

        Args:
            pair: the pair.
            rows: of source and target.
            forms: likewise.
            variables: one of source and of target, which tell the layers.

        Raises:
            RefusedError: the features may be a flattened image and nothing tells whether they are.
        """
        same = Reordered(rows, forms)
        first = tuple(row.dialect == TORCH for row in rows)
        if first[0] == first[1] or self._general is not None:
            return same
        layers = variables[0].layer, variables[1].layer
        says: list[str] = []
        sizes: list[int] = []
        for letter in _LETTERS:
            size = forms[0].dims.get(letter)
            if (
                size is None
                or forms[0].kind not in _ASKED[letter]
                or forms[1].dims.get(letter) != size
                or not all(_has(row, letter) for row in rows)
            ):
                continue
            sizes.append(size)
            image = self._image(pair, letter, size, layers, first.index(False))
            if image is None or image.channels in (_ONCE, size):
                continue
            rows, forms = self._split(rows, forms, letter, size, image)
            what = "inputs" if letter == "I" else "outputs" if letter == "O" else "features"
            says.append(
                f"its {size} {what} are {size // image.channels} positions of {image.channels} channels ({image.why}): "
                f"the channels come first in {'the source' if first[0] else 'the target'} only"
            )
        self._need_to_fit(layers, sizes)
        return Reordered(rows, forms, tuple(says))

    def _need_to_fit(self, layers: tuple[str, str], sizes: Sequence[int]) -> None:
        """Raise where what is said of a layer is of the size of none of its ends."""
        for name in self._names(layers):
            said = self._said.get(name, NONE)
            if said != NONE and math.prod(said) not in sizes:
                found = ",".join(map(str, said))
                raise UsageError(
                    "the image is not of the size of the layer's inputs or outputs",
                    key=f"flatten:{name}",
                    expected=f"a product of {' or '.join(map(str, sizes))}",
                    found=found,
                )

    def _image(self, pair: Pair, letter: str, size: int, layers: tuple[str, str], last: int) -> Image | None:
        said = next((self._said[name] for name in self._names(layers) if name in self._said), None)
        if said == NONE:
            return None
        if said is not None:
            # What is said of a layer is said of that end of it that has as many features.
            return Image(said[-1], "as --assume flatten says") if math.prod(said) == size else None
        found = self._sides[last].image(layers[last], letter, size)
        if found is None and not self._sides[last].told(layers[last], letter):
            found = self._by_order(layers, letter, size, last)
        if found is None or found.sure:
            return found
        name = layers[1]
        what = {"I": "inputs", "O": "outputs", "C": "features"}[letter]
        if size % found.channels:
            raise RefusedError(
                f"its {size} {what} hold a flattened image of {found.channels} channels ({found.why}) and other features, "
                "and the two sides flatten images in different orders",
                key=", ".join(pair.target), found=", ".join(pair.source),
                hint=f"--assume flatten:{name}=none moves them in the order in which they are.",
            )  # fmt: skip
        raise RefusedError(
            f"its {size} {what} may be a flattened image: they are {size // found.channels} times the {found.channels} "
            f"channels of {found.why}, and the two sides flatten images in different orders",
            key=", ".join(pair.target),
            found=", ".join(pair.source),
            hint=f"--assume flatten:{name}=HEIGHT,WIDTH,{found.channels} says that they are one, "
            f"--assume flatten:{name}=none that they are not.",
        )

    def _by_order(self, layers: tuple[str, str], letter: str, size: int, last: int) -> Image | None:
        """Without a graph: by the layers beside it, in the order that can be relied upon most."""
        places = sorted((last, 1 - last), key=lambda place: not self._sides[place].ordered)
        if self._sides[places[0]].ordered:
            return self._sides[places[0]].beside(layers[places[0]], letter, size)
        return self._sides[last].anywhere(layers[last], letter, size) or self._sides[1 - last].anywhere(
            layers[1 - last], letter, size
        )

    def _names(self, layers: tuple[str, str]) -> list[str]:
        return [name for side, layer in zip(self._sides, layers, strict=True) for name in side.names(layer)]

    def _split(
        self, rows: tuple[Row, Row], forms: tuple[Form, Form], letter: str, size: int, image: Image
    ) -> tuple[tuple[Row, Row], tuple[Form, Form]]:
        channels, positions = _LETTERS[letter]
        sizes = {channels: image.channels, positions: size // image.channels}
        products = [f"{channels}.{positions}" if row.dialect == TORCH else f"{positions}.{channels}" for row in rows]
        made = [_with_product(row, letter, product) for row, product in zip(rows, products, strict=True)]
        sized = [replace(form, dims={**form.dims, **sizes}) for form in forms]
        return (made[0], made[1]), (sized[0], sized[1])


def _has(row: Row, letter: str) -> bool:
    """Whether the features that `letter` stands for are an axis of their own."""
    return not any(name == letter for name, _ in row.where) and any(
        re.search(rf"(?<![~.]){letter}(?![.'])", native.layout) for native in row.natives
    )


def _with_product(row: Row, letter: str, product: str) -> Row:
    natives = tuple(replace(native, layout=native.layout.replace(letter, product)) for native in row.natives)
    return replace(row, natives=natives)
