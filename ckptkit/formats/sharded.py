"""Several files and an index that says which tensor is in which, as the Hugging Face libraries write them.

`model.safetensors.index.json` beside `model-00001-of-00003.safetensors`, `pytorch_model.bin.index.json` beside
`pytorch_model-00001-of-00003.bin`: a JSON object with `weight_map` (tensor -> file) and `metadata` (`total_size`).
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import FormatError, NotFoundError
from ckptkit.formats.json_text import LARGEST_JSON, parse_json
from ckptkit.formats.parts import Outline, divided, shard_count
from ckptkit.storage.bytes import read
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ckptkit.formats.parts import FilePart
    from ckptkit.formats.registry import Format
    from ckptkit.model import Contents, StoredTensor, TensorSpec
    from ckptkit.storage.address import Address


def read_index(path: Address) -> dict[str, str]:
    """Tensor -> name of the file beside the index that holds it; raises as `read_whole_index`."""
    return read_whole_index(path)[0]


def read_whole_index(path: Address) -> tuple[dict[str, str], Mapping[str, Any]]:
    """The same, and the metadata of the index.

    Raises:
        FormatError: not such an index, or it names a file that does not lie beside it.
    """
    with closing(path.open()) as storage:
        document = parse_json(read(storage, 0, storage.size), path=path.text) if storage.size <= LARGEST_JSON else None
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict):
        raise FormatError("the index has no weight_map", path=path, expected='{"weight_map": {tensor: file}}')
    for key, name in weight_map.items():
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise FormatError(
                "a shard's name is not that of a file beside the index", path=path, key=key, found=repr(name)
            )
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return weight_map, metadata if isinstance(metadata, dict) else {}


def outline_shards(
    row: Format,
    contents: Contents,
    final: Address,
    workers: int,
    part: Callable[[str, Sequence[StoredTensor]], FilePart],
    metadata: Mapping[str, str],
) -> Outline:
    """New files, about equal in size, and their index.

    Args:
        row: the format's.
        contents: what they are to hold.
        final: the index.
        workers: how many there are to write them.
        part: gives the file of a name with tensors.
        metadata: what goes into the index besides.
    """
    count = shard_count(sum(tensor.nbytes for tensor in contents.tensors), workers)
    groups = [group for group in divided(contents.tensors, count, lambda tensor: tensor.nbytes) if group]
    names = shard_names(row, final, max(len(groups), 1))
    groups += [[]] * (len(names) - len(groups))
    parts = [part(name, group) for name, group in zip(names, groups, strict=True)]
    holder = {tensor.key: name for name, group in zip(names, groups, strict=True) for tensor in group}
    weight_map = {tensor.key: holder[tensor.key] for tensor in contents.tensors}
    return indexed(parts, weight_map, {"total_size": sum(each.nbytes for each in parts), **metadata})


def outline_shards_like(
    row: Format,
    template: Address,
    tensors: Mapping[str, TensorSpec],
    final: Address,
    like: Callable[[str, Address, Mapping[str, TensorSpec]], FilePart],
    empty: Callable[[str], FilePart],
    total: int,
) -> Outline:
    """The shards of the index `template`, in which `tensors` hold other values.

    Args:
        row: the format's.
        template: the index.
        tensors: what takes the place of the template's tensor of that key.
        final: the new index.
        like: gives the file of a name that is like a file of the template.
        empty: gives a file of a name without tensors.
        total: bytes of all tensors.

    Raises:
        NotFoundError: the template has no tensor of a key.
    """
    weight_map = read_index(template)
    unknown = tensors.keys() - weight_map.keys()
    if unknown:
        raise NotFoundError("the template has no such tensor", path=template, key=min(unknown))
    old = list(dict.fromkeys(weight_map.values()))
    names = shard_names(row, final, len(old))
    parts = []
    for name, held in zip(names, old, strict=False):
        here = {key: spec for key, spec in tensors.items() if weight_map[key] == held}
        parts.append(like(name, template.beside(held), here))
    parts += [empty(name) for name in names[len(old) :]]
    renamed = dict(zip(old, names, strict=False))
    return indexed(parts, {key: renamed[held] for key, held in weight_map.items()}, {"total_size": total})


def indexed(parts: Sequence[FilePart], weight_map: Mapping[str, str], metadata: Mapping[str, int | str]) -> Outline:
    """These parts, and an index that is written when all are there."""
    return Outline(parts, partial(_finish, {"metadata": metadata, "weight_map": weight_map}))


def _finish(index: Mapping[str, Any], path: str, written: Sequence[None]) -> None:  # noqa: ARG001
    with writing(path):
        Path(path).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def shard_names(row: Format, final: Address, count: int) -> list[str]:
    """Names of `count` files or more, none of which is there: until the index is replaced the old one is whole."""
    count = row.made_of.free_count(final, at_least=count)
    stem = final.base.removesuffix(row.made_of.ending)
    ending = row.made_of.ending.removesuffix(".index.json")
    return [f"{stem}-{number:05}-of-{count:05}{ending}" for number in range(1, count + 1)]
