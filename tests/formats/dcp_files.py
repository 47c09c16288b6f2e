"""Folders of `torch.distributed.checkpoint` laid out byte by byte, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tests.formats.torch_files import Call, Name, Storages, archive, dump

HERE = "torch.distributed.checkpoint.metadata"
FILES = "torch.distributed.checkpoint.filesystem"
SHARDED = "torch.distributed._shard.sharded_tensor.metadata"


def made(module: str, name: str, **attributes: Any) -> Call:
    """An object of a dataclass, as pickle rebuilds it."""
    return Call(Name(module, name), (), state=attributes or None)


def size(numbers: Iterable[int]) -> Call:
    return Call(Name("torch", "Size"), (tuple(numbers),))


def saved(value: np.ndarray) -> bytes:
    """What `torch.save` writes of a tensor."""
    storages = Storages()
    return archive(storages.tensor(value), storages)


def properties(dtype: str, *, old: bool = False, more: tuple[Any, ...] = ()) -> Call:
    """The properties of a tensor; before PyTorch 2.3 their classes lay elsewhere, and later ones have more items."""
    module, enum = (SHARDED, "MEM_FORMAT_ENCODING") if old else (HERE, "_MEM_FORMAT_ENCODING")
    layout = Call(Name("torch.serialization", "_get_layout"), ("torch.strided",))
    state = (Name("torch", dtype), layout, False, Call(Name(module, enum), (0,)), False, *more)
    return Call(Name(module, "TensorProperties"), (), state=state)


@dataclass
class Folder:
    """A folder as it is filled.

    Attributes:
        data: name of a file -> what is in it so far.
        listed: `state_dict_metadata`.
        planned: `planner_data`.
        places: `storage_data`, as pairs.
    """

    old: bool = False
    data: dict[str, bytes] = field(default_factory=dict)
    listed: dict[str, Any] = field(default_factory=dict)
    planned: dict[str, Any] = field(default_factory=dict)
    places: list[tuple[Any, Any]] = field(default_factory=list)

    def place(
        self, name: str, starts: Sequence[int] | None, item: bytes, file: str = "__0_0.distcp", **more: Any
    ) -> None:
        """Put an item at the end of a file."""
        offset = None if starts is None else size(starts)
        at = len(self.data.get(file, b""))
        info = {"relative_path": file, "offset": at, "length": len(item), **more}
        self.places.append(
            (made(HERE, "MetadataIndex", fqn=name, offset=offset, index=None), made(FILES, "_StorageInfo", **info))
        )
        self.data[file] = self.data.get(file, b"") + item

    def tensor(
        self, name: str, value: np.ndarray, boxes: Sequence[tuple[Sequence[int], Sequence[int]]] | None = None,
        path: tuple[Any, ...] | None = None, ranks: int = 2,
    ) -> None:  # fmt: skip
        """A tensor in boxes (starts, lengths), dealt to the files of the ranks."""
        boxes = [((0,) * value.ndim, value.shape)] if boxes is None else boxes
        for number, (starts, lengths) in enumerate(boxes):
            part = value[tuple(slice(at, at + n) for at, n in zip(starts, lengths, strict=True))]
            self.place(name, starts, saved(part), f"__{number % ranks}_0.distcp")
        chunks = [
            made(HERE, "ChunkStorageMetadata", offsets=size(starts), sizes=size(lengths)) for starts, lengths in boxes
        ]
        self.listed[name] = made(
            HERE, "TensorStorageMetadata", properties=properties(value.dtype.name, old=self.old), size=size(value.shape),
            chunks=chunks,
        )  # fmt: skip
        self.planned[name] = (name,) if path is None else path

    def object(self, name: str, item: bytes, path: tuple[Any, ...] | None = None) -> None:
        """Something that was pickled."""
        self.place(name, None, item)
        self.listed[name] = made(HERE, "BytesStorageMetadata")
        self.planned[name] = (name,) if path is None else path

    def metadata(self, **more: Any) -> Call:
        """What `.metadata` holds."""
        places = Call(Name("builtins", "dict"), (), pairs=self.places) if self.places else {}
        state = {"state_dict_metadata": self.listed, "planner_data": self.planned, "storage_data": places}
        return made(HERE, "Metadata", **{**state, "storage_meta": made(HERE, "StorageMeta", save_id="x"), **more})

    def write(self, folder: Path, metadata: Any = None, name: str = ".metadata") -> str:
        """Write it; returns the path to open."""
        folder.mkdir(exist_ok=True)
        for file, data in self.data.items():
            (folder / file).write_bytes(data)
        (folder / name).write_bytes(dump(self.metadata() if metadata is None else metadata))
        return str(folder)


def grid(shape: Sequence[int], steps: Mapping[int, int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes that tile `shape`, of so many indices along some axes; the last one of an axis may be shorter."""
    ranges = [range(0, length, steps.get(axis, length) or 1) if length else [0] for axis, length in enumerate(shape)]
    return [
        (starts, tuple(min(steps.get(axis, n), n - at) for axis, (at, n) in enumerate(zip(starts, shape, strict=True))))
        for starts in product(*ranges)
    ]
