"""Vocabularies that name the rows of a layer's weights, and how rows are followed from one to another."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.assets.contents import AssetContent, read_content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.model import Asset, Checkpoint, CheckpointSpec, Variable

# Weights whose first axis is the number that a lookup gives.
_BY_ROW = ("embeddings", "kernel")

# No table of weights has more rows; a table of keys may name any number.
_MOST_ROWS = 1 << 31


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names of the rows of one variable.

    Attributes:
        variable: canonical name of the variable.
        name: of the asset.
        layer: of the layer that owns it.
        tokens: row -> token; a table has none for its first rows, which are those of the mask and of unknown tokens.
        first: the first row that is no mask and not that of unknown tokens.
        listed: whether those before it have a token of their own here: a table has none for them.
    """

    variable: str
    name: str
    layer: str
    tokens: tuple[bytes | None, ...]
    first: int = 0
    listed: bool = True

    def followed(self, target: Vocabulary, rows: int, wanted: int) -> tuple[int | None, ...]:
        """The row of this vocabulary for every row of `target`; None where it has no such token.

        A token that stands several times is told apart by its place among its like. Rows that a table has before its first
        token stand for the same of the other side where that has as many.

        Args:
            target: the vocabulary of the rows that are wanted.
            rows: how many rows there are to take from.
            wanted: how many rows are wanted; those beyond the vocabulary have no token.
        """
        places = {token: row for row, token in _numbered(self.tokens) if row < rows}
        found: list[int | None] = [None] * wanted
        for row, token in _numbered(target.tokens):
            if row < wanted:
                found[row] = places.get(token)
        if self.listed != target.listed and self.first == target.first:
            for row in range(min(self.first, rows, wanted)):
                found[row] = row
        return tuple(found)


def _numbered(tokens: Sequence[bytes | None]) -> list[tuple[int, tuple[bytes, int]]]:
    """(row, (token, how often it stood before)): several unknown ones are rows of their own."""
    seen: Counter[bytes] = Counter()
    numbered = []
    for row, token in enumerate(tokens):
        if token is not None:
            numbered.append((row, (token, seen[token])))
            seen[token] += 1
    return numbered


def vocabularies(checkpoint: Checkpoint) -> dict[str, Vocabulary]:
    """Canonical variable name -> the vocabulary of its rows.

    Where the architecture tells which layers look up by a vocabulary, those; else the only weight with as many rows as the
    only vocabulary has tokens.

    Raises:
        CkptkitError: a vocabulary cannot be read.
    """
    weights = [
        variable
        for variable in checkpoint.spec.variables
        if variable.kind == "weight" and variable.role in _BY_ROW and len(variable.shape) > 1
    ]
    chosen: dict[str, Asset] = {}
    for asset in checkpoint.spec.assets:
        # A TextVectorization writes its own vocabulary and that of the lookup inside of it, which is the same.
        if asset.kind not in ("vocabulary", "table") or "token_counts" in asset.name:
            continue
        if asset.layer not in chosen or "_lookup_layer" in chosen[asset.layer].name:
            chosen[asset.layer] = asset
    found: dict[str, Vocabulary] = {}
    for asset in chosen.values() if weights else ():
        tokens = _tokens(read_content(checkpoint, asset))
        if tokens is None:
            continue
        listed = asset.kind == "vocabulary"
        special = _special(checkpoint.spec, asset.layer) if listed else {None}
        first = next((row for row, token in enumerate(tokens) if token not in special), len(tokens))
        for variable in _named_by(asset, len(tokens), weights, alone=len(chosen) == 1):
            found.setdefault(variable.name, Vocabulary(variable.name, asset.name, asset.layer, tokens, first, listed))
    return found


def _special(spec: CheckpointSpec, layer: str) -> set[bytes | None]:
    """The tokens of the mask and of the unknown: as the layer was told, or as Keras has them by itself."""
    found: set[bytes | None] = {b"", b"[UNK]"}
    for asset in spec.assets:
        if asset.layer == layer and asset.kind == "settings":
            told = {row[0]: row[-1] for row in asset.entries or ()}
            for name in (b"mask_token", b"oov_token"):
                value = json.loads(told.get(name, b"null"))
                if value is not None:
                    found.add(str(value).encode())
    return found


def _named_by(asset: Asset, count: int, weights: Sequence[Variable], *, alone: bool) -> list[Variable]:
    if asset.rows_of:
        own = [variable for variable in weights if variable.layer in asset.rows_of]
        # An embedding may have rows to spare; the kernel of a layer over counts of tokens has one for each.
        return [each for each in own if each.shape[0] == count or (each.role == "embeddings" and each.shape[0] > count)]
    fitting = [variable for variable in weights if variable.shape[0] == count]
    tables = [variable for variable in fitting if variable.role == "embeddings"]
    fitting = tables or fitting
    return fitting if alone and len(fitting) == 1 else []


def _tokens(content: AssetContent) -> tuple[bytes | None, ...] | None:
    """Row -> token; None for an asset that names no rows."""
    if content.entries is None:
        return None
    if content.asset.kind == "vocabulary":
        return tuple(row[0] for row in content.entries)
    rows = {int(value): key for key, value in content.entries if value.isdigit() and len(value) < 11}
    count = max(rows, default=-1) + 1
    if len(rows) != len(content.entries) or not rows or count > min(_MOST_ROWS, 2 * len(rows) + 1024):
        return None
    return tuple(rows.get(row) for row in range(count))
