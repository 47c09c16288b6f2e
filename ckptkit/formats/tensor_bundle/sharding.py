"""A bundle whose data files are written by several processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ckptkit.formats.names import base_name, shard_path
from ckptkit.formats.output import free_shard_count
from ckptkit.formats.readback import verify_bytes
from ckptkit.formats.sharding import divided
from ckptkit.formats.stores import absolute
from ckptkit.formats.tensor_bundle.checksum import crc32c
from ckptkit.formats.tensor_bundle.data_file import Copied, Item, New, Partitioned, write_items
from ckptkit.formats.tensor_bundle.source import Shards
from ckptkit.formats.tensor_bundle.writer import Outline, write_index
from ckptkit.model import TensorSource

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind
    from ckptkit.formats.tensor_bundle.data_file import Entries


@dataclass(frozen=True, slots=True)
class BundleShard:
    """One data file; see `Shard`."""

    name: str
    number: int
    items: tuple[Item, ...]
    template: tuple[str, int] | None

    @property
    def keys(self) -> Sequence[str]:
        """See `Shard.keys`."""
        return [item.spec.name for item in self.items if isinstance(item, New | Partitioned)]

    @property
    def nbytes(self) -> int:
        """See `Shard.nbytes`."""
        return sum(item.nbytes for item in self.items)

    def write(self, path: str, source: TensorSource) -> Entries:
        """See `Shard.write`; gives the entries for the index."""
        with (
            Path(path).open("wb") as file,
            closing(Shards(*self.template)) if self.template else nullcontext() as template,
        ):
            summed = _Summed(file)
            entries = write_items(summed, self.number, self.items, source, template)
        verify_bytes(path, (summed.length, summed.crc))
        return entries


class _Summed:
    """A file that is only written to, with the checksum of all that went in."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length = self.crc = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._file.write(data)
        self.length += len(data)
        self.crc = crc32c(data, self.crc)


class BundleSharding:
    """All data files of the bundle that becomes `final`; see `Sharding`."""

    kind: Kind = "bundle"

    def __init__(self, outline: Outline, final: str, count: int) -> None:
        self._outline = outline
        # A template's files are read by every worker that copies from them, wherever it works.
        template = outline.template and (absolute(outline.template[0]), outline.template[1])
        self._count = free_shard_count(final, at_least=min(count, max(len(outline.items), 1)))
        groups = divided(outline.items, self._count, lambda item: item.nbytes)
        self.shards = [
            BundleShard(
                base_name(shard_path(final, number, self._count)),
                number,
                tuple(items),
                template if any(isinstance(item, Copied) for item in items) else None,
            )
            for number, items in enumerate(groups)
        ]

    def finish(self, path: str, written: Sequence[Entries]) -> None:
        """See `Sharding.finish`."""
        entries = [entry for found in written for entry in found]
        write_index(path, self._count, [*entries, *self._outline.partitioned])
