"""The content of an asset, read when it is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.model import AssetSource, read_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.model import Asset, Checkpoint

Entry = tuple[bytes, ...]

# Larger ones are hashed and not taken apart: ten million tokens take less.
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class AssetContent:
    """An asset with its content.

    Attributes:
        asset: what the map says of it.
        sha256: of its content in hexadecimal; None where it cannot be read. Entries of tables and settings have no order of
            their own: they are hashed in that of `entries`, each part behind its length in eight bytes.
        entries: (token,) of each line of a vocabulary; (key, value) of a table or of settings, in the order of the bytes of
            values and keys. None for a file of another kind, one of more than 256 MiB, and what cannot be read.
        problem: why it cannot be read, or None.
    """

    asset: Asset
    sha256: str | None
    entries: tuple[Entry, ...] | None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `assets`."""
        found: dict[str, Any] = {
            "name": self.asset.name,
            "layer": self.asset.layer,
            "kind": self.asset.kind,
            "bytes": self.asset.nbytes,
            "sha256": self.sha256,
            "entries": None if self.entries is None else len(self.entries),
            "rows_of": list(self.asset.rows_of),
        }
        return {**found, "problem": self.problem} if self.problem else found


def read_assets(checkpoint: Checkpoint) -> tuple[AssetContent, ...]:
    """The assets of an open checkpoint with their contents; what cannot be read has a problem."""
    found = []
    for asset in checkpoint.spec.assets:
        try:
            found.append(read_content(checkpoint, asset))
        except CkptkitError as error:
            found.append(AssetContent(asset, None, None, str(error)))
    return tuple(found)


def read_content(checkpoint: Checkpoint, asset: Asset) -> AssetContent:
    """The content of one asset.

    Raises:
        CkptkitError: it cannot be read, or does not match its checksum.
    """
    if asset.kind in ("table", "settings"):
        entries = tuple(sorted(_rows(checkpoint, asset), key=_by_value))
        return AssetContent(asset, _hash(entries), entries)
    if asset.entries is not None:
        return AssetContent(
            asset, hashlib.sha256(b"\n".join(row[0] for row in asset.entries)).hexdigest(), asset.entries
        )
    digest, kept = hashlib.sha256(), bytearray()
    for piece in _stream(checkpoint, asset):
        digest.update(piece)
        if asset.kind == "vocabulary" and asset.nbytes <= _LARGEST:
            kept += piece
    listed = asset.kind == "vocabulary" and asset.nbytes <= _LARGEST
    return AssetContent(asset, digest.hexdigest(), _lines(bytes(kept)) if listed else None)


def _stream(checkpoint: Checkpoint, asset: Asset) -> Iterator[bytes]:
    if not isinstance(checkpoint.source, AssetSource):
        raise NotFoundError("no such asset", path=checkpoint.path, key=asset.name)
    return checkpoint.source.stream_asset(asset.name)


def _lines(data: bytes) -> tuple[Entry, ...]:
    """A token a line: Keras joins them by newlines, other writers end each with one."""
    text = data.replace(b"\r\n", b"\n")
    lines = text.split(b"\n") if text else []
    return tuple((line,) for line in (lines[:-1] if lines[-1:] == [b""] and len(lines) > 1 else lines))


def _rows(checkpoint: Checkpoint, asset: Asset) -> Iterator[Entry]:
    """The (key, value) rows of a table or of settings."""
    if asset.entries is not None:
        yield from asset.entries
        return
    keys, values = (_items(checkpoint, key) for key in asset.keys)
    if len(keys) != len(values):
        raise FormatError(
            "a table with another number of values than of keys", path=checkpoint.path, key=asset.name,
            expected=len(keys), found=len(values),
        )  # fmt: skip
    yield from zip(keys, values, strict=True)


def _items(checkpoint: Checkpoint, key: str) -> list[bytes]:
    """The rows of a tensor as text."""
    variable = checkpoint.find(key)
    value = read_tensor(checkpoint.source, variable)
    if variable.dtype == "string":
        return [bytes(item) for item in value.reshape(-1)]
    return [str(item).encode() for item in value.tolist()]


def _by_value(row: Entry) -> tuple[int, Entry]:
    """Tables of rows by number, and all else by its bytes."""
    value = row[-1]
    return (int(value), row) if value.isdigit() and len(value) < 19 else (-1, row)


def _hash(entries: tuple[Entry, ...]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        for part in entry:
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
