"""The index of Keras 3's sharded weights, `*.weights.json`: it maps the path of each `vars` to the shards with its datasets.

Source: `keras.src.saving.saving_lib` (Keras 3.15), `ShardedH5IOStore`.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.keras.config import MAX_BYTES, parse_config
from ckptkit.storage.bytes import read
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.storage.address import Address

INDEX_SUFFIX = ".weights.json"


def read_weight_map(path: Address) -> dict[str, tuple[str, ...]]:
    """Path of a `vars` group -> names of its shards, in the index's order, every name checked to be a plain one."""
    with closing(path.open()) as storage:
        if storage.size > MAX_BYTES:
            raise LimitError(
                "too large for an index", path=path, expected=f"at most {MAX_BYTES} bytes", found=storage.size
            )
        index, problem = parse_config(bytes(read(storage, 0, storage.size)), "the index")
    weight_map = None if index is None else index.get("weight_map")
    if not isinstance(weight_map, dict):
        raise FormatError(problem or "not an index of sharded weights: it has no weight_map", path=path)
    shards = {}
    for group, names in weight_map.items():
        listed = names if isinstance(names, list) else [names]
        for name in listed:
            if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\:\0"):
                raise FormatError(
                    "a shard's name that is no plain file name", path=path, key=group, found=str(name)[:200]
                )
        shards[group.strip("/")] = tuple(listed)
    return shards


def write_index(path: str, index: Mapping[str, Any]) -> None:
    """Write the index of sharded weights as Keras does: a name for a group in one shard, a list for one in several."""
    weight_map = {group: names[0] if len(names) == 1 else list(names) for group, names in index["weight_map"].items()}
    with writing(path):
        Path(path).write_text(json.dumps({**index, "weight_map": weight_map}, indent=4), encoding="utf-8")


def shard_name(path: str, number: int) -> str:
    """File name of shard `number` of the index `path` (`ShardedH5IOStore._create_new_shard_file`)."""
    return f"{Path(path).stem.replace('.weights', '')}_{number:05}.weights.h5"
