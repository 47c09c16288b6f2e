"""Reading safetensors: one file, or several by their index.

Source of the index: what `transformers` and `huggingface_hub` write (`model-00001-of-00003.safetensors`, and
`model.safetensors.index.json` with `metadata.total_size` and `weight_map`).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, NotFoundError, UsageError
from ckptkit.formats.layout import METADATA as LAYOUT
from ckptkit.formats.layout import decode_layout
from ckptkit.formats.safetensors.header import read_header, stored
from ckptkit.formats.sharded import read_index, read_whole_index
from ckptkit.model import Contents, StoredTensor, TensorSource
from ckptkit.storage.bytes import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ckptkit.model.ranges import Sum
    from ckptkit.storage.address import Address

INDEX_SUFFIX = ".safetensors.index.json"


def files(path: Address) -> tuple[Address, ...]:
    """The file `path`, and the shards that it names where it is an index."""
    if not path.ends_with(INDEX_SUFFIX):
        return (path,)
    return (path, *map(path.beside, dict.fromkeys(read_index(path).values())))


def open(path: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """The tensors of the safetensors file `path`, or of the shards whose index it is.

    Raises:
        CkptkitError: as `open_safetensors` and `open_index`.
    """
    return open_index(path) if path.ends_with(INDEX_SUFFIX) else path.read_with(open_safetensors)


def open_safetensors(storage: Storage) -> tuple[Contents, TensorSource]:
    """The tensors of a safetensors file, in the header's order, and their bytes.

    Raises:
        FormatError: header or byte ranges are wrong in any way.
        UnsupportedError: a dtype that ckptkit has no name for.
        LimitError: a header beyond 32 MiB.
    """
    metadata, entries = read_header(storage)
    tensors = tuple(stored(key, entry) for key, entry in entries.items())
    framework = metadata.get("format")
    layout = decode_layout(metadata.pop(LAYOUT, ""))
    notes = (f"metadata: {', '.join(sorted(metadata))}",) if metadata else ()
    producer = f"safetensors, {framework}" if framework else None
    contents = Contents("safetensors", producer, tensors, layout=layout, notes=notes)
    return contents, Source({key: (storage, entry[2], entry[3]) for key, entry in entries.items()}, [storage])


def open_index(path: Address) -> tuple[Contents, TensorSource]:
    """The tensors of a file in shards, by its index (`model.safetensors.index.json`).

    Shards lie beside the index; a name that leads elsewhere is refused.

    Raises:
        FormatError: the index is wrong, or a shard does not hold what it says.
        NotFoundError: a shard is missing.
    """
    weight_map, metadata = read_whole_index(path)
    text = metadata.get(LAYOUT)
    layout = decode_layout(text) if isinstance(text, str) else None
    held: dict[str, tuple[str, StoredTensor]] = {}
    source = Source({}, [])
    with ExitStack() as opened:
        opened.callback(source.close)
        for shard in dict.fromkeys(weight_map.values()):
            storage = path.beside(shard).open()
            source.storages.append(storage)
            for key, entry in read_header(storage)[1].items():
                if weight_map.get(key) != shard:
                    raise FormatError("the index does not list a tensor of this shard", path=storage.name, key=key)
                held[key] = (shard, stored(key, entry))
                source.ranges[key] = (storage, entry[2], entry[3])
        missing = [key for key in weight_map if key not in held]
        if missing:
            raise FormatError(
                "the shard does not hold a tensor of the index", path=path, key=missing[0], found=weight_map[missing[0]]
            )
        opened.pop_all()
    tensors = tuple(held[key][1] for key in weight_map)
    notes = (f"{len(source.storages)} shards",)
    return Contents("safetensors-sharded", None, tensors, layout=layout, notes=notes), source


class Source:
    """Tensors that are plain ranges of one or several storages; the format has no checksums."""

    def __init__(self, ranges: dict[str, tuple[Storage, int, int]], storages: list[Storage]) -> None:
        self.ranges = ranges
        self.storages = storages

    def _range(self, key: str) -> tuple[Storage, int, int]:
        try:
            return self.ranges[key]
        except KeyError:
            raise NotFoundError("no such tensor in the file", key=key) from None

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        storage, start, end = self._range(key)
        if offset < 0 or offset + len(buffer) > end - start:
            raise UsageError("the range is not inside the tensor", path=storage.name, key=key, found=offset)
        storage.read_into(start + offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`."""
        _, start, end = self._range(key)
        return self.stream_range(key, 0, end - start, buffer, [])

    def can_cut(self, key: str) -> bool:
        """See `RangedSource.can_cut`."""
        return key in self.ranges

    def stream_range(
        self,
        key: str,
        start: int,
        stop: int,
        buffer: memoryview,
        sums: list[Sum],  # noqa: ARG002 - there are no checksums
    ) -> Iterator[memoryview]:
        """See `RangedSource.stream_range`."""
        storage, begin, _ = self._range(key)
        return storage.stream(begin + start, stop - start, buffer)

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        """See `RangedSource.verify_ranges`: there is nothing to verify."""

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        self._range(key)
        raise UsageError("not a string tensor", key=key)

    def close(self) -> None:
        """See `TensorSource.close`."""
        for storage in self.storages:
            storage.close()
