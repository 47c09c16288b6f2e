"""What a checkpoint holds beside tensors that decides what they mean: vocabularies, lookup tables, settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

AssetKind = Literal["vocabulary", "table", "settings", "file"]
"""`vocabulary`: a token a line, the line its row · `table`: keys and values · `settings`: what a preprocessing layer was
told, as `name=value` · `file`: anything else."""


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """One asset as the file has it.

    Attributes:
        name: native and unique: a member of an archive, a file below a folder, the path of a table's object.
        nbytes: bytes of its content.
        keys: of a table that is stored as tensors, those of its keys and values; empty for every other.
        entries: its content, where the file has it as a list; None where it is read when it is asked for.
    """

    name: str
    nbytes: int
    keys: tuple[str, ...] = ()
    entries: tuple[tuple[bytes, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of the canonical map.

    Attributes:
        name: see `StoredAsset.name`.
        layer: canonical path of the layer that owns it; "" where nothing tells.
        kind: see `AssetKind`.
        nbytes: see `StoredAsset.nbytes`.
        keys: see `StoredAsset.keys`.
        entries: see `StoredAsset.entries`; (token,) of a vocabulary, (key, value) of a table and of settings.
        rows_of: layers that look rows up by it, where the architecture tells.
    """

    name: str
    layer: str
    kind: AssetKind
    nbytes: int
    keys: tuple[str, ...] = ()
    entries: tuple[tuple[bytes, ...], ...] | None = None
    rows_of: tuple[str, ...] = ()


@runtime_checkable
class AssetSource(Protocol):
    """A source that also gives the bytes of assets which are files of their own."""

    def stream_asset(self, name: str) -> Iterator[bytes]:
        """The bytes of asset `name` in order; its checksum, where there is one, is verified at the end."""
