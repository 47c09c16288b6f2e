"""Writing safetensors: one file, or several and an index of which tensor is in which; their numbers begin at 1."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import dtypes
from ckptkit.errors import NotFoundError, UnsupportedError, WriteError
from ckptkit.formats.layout import METADATA as LAYOUT
from ckptkit.formats.layout import encode_layout
from ckptkit.formats.parts import FilePart, Outline
from ckptkit.formats.registry import named
from ckptkit.formats.safetensors.header import LENGTH, METADATA, read_header
from ckptkit.formats.safetensors.reader import INDEX_SUFFIX, Source
from ckptkit.formats.safetensors.reader import open as open_file
from ckptkit.formats.sharded import outline_shards, outline_shards_like, read_index
from ckptkit.model import WRITE_BYTES, Contents, StoredTensor, TensorSource, TensorSpec
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.storage.address import Address

SHARDED = "safetensors-sharded"


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002
    """A new file; or shards, about equal in size, and their index.

    Args:
        format: `safetensors` or `safetensors-sharded`.
        contents: what it is to hold.
        final: the file that it gets to be, or the index.
        workers: how many there are to write shards.
    """
    metadata = {} if contents.layout is None else {LAYOUT: encode_layout(contents.layout)}
    if format != SHARDED:
        return Outline([_new_part(final.base, contents.tensors, metadata)])
    return outline_shards(named(SHARDED), contents, final, workers, _new_part, metadata)


def _new_part(name: str, tensors: Sequence[StoredTensor], metadata: Mapping[str, str] | None = None) -> FilePart:
    keys, nbytes = [tensor.key for tensor in tensors], sum(tensor.nbytes for tensor in tensors)
    make = partial(write_safetensors, tensors=tuple(tensors), metadata=metadata or {})
    return FilePart(name, keys, nbytes, make, open_file)


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of `template`, in which `tensors` hold other values: a file, or shards, which are then the template's.

    Raises:
        NotFoundError: the template has no tensor of a key.
    """
    if not template.ends_with(INDEX_SUFFIX):
        return Outline([_like_part(final.base, template, tensors)])
    total = 0
    for held in dict.fromkeys(read_index(template).values()):
        with closing(template.beside(held).open()) as storage:
            total += sum(end - begin for _, _, begin, end in read_header(storage)[1].values())
    return outline_shards_like(
        named(SHARDED), template, tensors, final, _like_part, partial(_new_part, tensors=()), total
    )


def _like_part(name: str, template: Address, tensors: Mapping[str, TensorSpec]) -> FilePart:
    keys = [spec.name for spec in tensors.values()]
    there = template.absolute()  # read by whoever writes it, wherever that is
    return FilePart(
        name, keys, template.size(), partial(rewrite_safetensors, template=there, tensors=tensors), open_file
    )


def write_safetensors(
    path: str, tensors: Sequence[StoredTensor], source: TensorSource, metadata: Mapping[str, str]
) -> None:
    """Write `tensors` to a new file `path`, in their order, streaming, and `metadata`.

    Raises:
        UnsupportedError: a dtype that the format does not have, with its tensor.
        WriteError: the file cannot be written.
    """
    _write(path, metadata, [(TensorSpec(tensor.key, tensor.shape, tensor.dtype), source) for tensor in tensors])


def rewrite_safetensors(path: str, template: Address, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Write a copy of `template` to `path` in which `tensors` come from `source`; metadata and order stay.

    Args:
        path: the new file.
        template: an existing safetensors file.
        tensors: what takes the place of the template's tensor of that key.
        source: answers for the keys of `tensors`.

    Raises:
        NotFoundError: the template has no tensor of a key.
    """
    with closing(template.open()) as storage:
        metadata, entries = read_header(storage)
        unknown = tensors.keys() - entries.keys()
        if unknown:
            raise NotFoundError("the template has no such tensor", path=template, key=min(unknown))
        kept = Source({key: (storage, entry[2], entry[3]) for key, entry in entries.items()}, [])
        parts: list[_Part] = []
        for key, (shape, dtype, _, _) in entries.items():
            new = tensors.get(key)
            parts.append(
                (TensorSpec(key, new.shape, new.dtype), source) if new else (TensorSpec(key, shape, dtype), kept)
            )
        _write(path, metadata, parts)


_Part = tuple[TensorSpec, TensorSource]


def _write(path: str, metadata: Mapping[str, str], parts: Sequence[_Part]) -> None:
    """Header in the order of `parts`; data by falling item size, which keeps every tensor aligned to its items."""
    placed = sorted(parts, key=lambda part: -dtypes.itemsize(part[0].dtype))
    starts: dict[str, int] = {}
    at = 0
    for spec, _ in placed:
        starts[spec.name] = at
        at += spec.nbytes
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for spec, _ in parts:
        header[spec.name] = _entry(path, spec, starts[spec.name])
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise UnsupportedError("a name is not Unicode text", path=path, found=repr(error.object)) from error
    text += b" " * (-len(text) % LENGTH.size)
    with writing(path), Path(path).open("wb") as file:
        file.write(LENGTH.pack(len(text)) + text)
        for piece in _pieces(path, placed):
            file.write(piece)


def _entry(path: str, spec: TensorSpec, start: int) -> dict[str, Any]:
    row = dtypes.BY_NAME[spec.dtype]
    if row.safetensors is None or spec.name == METADATA:
        raise UnsupportedError(
            "safetensors cannot hold this tensor",
            path=path,
            key=spec.name,
            found=spec.dtype,
            hint="npz and TensorFlow bundles have more dtypes",
        )
    return {"dtype": row.safetensors, "shape": list(spec.shape), "data_offsets": [start, start + spec.nbytes]}


def _pieces(path: str, parts: Sequence[_Part]) -> Iterator[memoryview]:
    """Every tensor's bytes, each found to be as many as its spec says."""
    buffer = memoryview(bytearray(WRITE_BYTES))
    for spec, source in parts:
        done = 0
        for piece in source.stream(spec.name, buffer):
            done += len(piece)
            yield piece
        if done != spec.nbytes:
            raise WriteError(
                "a tensor has another size than it should", path=path, key=spec.name, expected=spec.nbytes, found=done
            )
