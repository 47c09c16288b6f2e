"""Writing Orbax checkpoints: a new tree, or a copy of another checkpoint with other values."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import NotFoundError, UnsupportedError
from ckptkit.formats.layout import METADATA as LAYOUT
from ckptkit.formats.layout import encode_layout
from ckptkit.formats.orbax.arrays import StoredArray
from ckptkit.formats.orbax.layout import (
    COMMIT_FILE,
    CONFIG_ITEM,
    STEP_FILE,
    STRINGS_FILE,
    TREE_FILE,
    item_of,
    read_json,
)
from ckptkit.formats.orbax.ocdbt import MANIFEST
from ckptkit.formats.orbax.put import Folders, Indexed, Values, array_names, put_array
from ckptkit.formats.orbax.reader import open as open_orbax
from ckptkit.formats.orbax.reader import open_item
from ckptkit.formats.orbax.source import Elsewhere, Text
from ckptkit.formats.parts import FilePart, Outline
from ckptkit.model import WRITE_BYTES, Contents, Layout, TensorSource, TensorSpec, Tree
from ckptkit.storage.bytes import read
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from ckptkit.storage.address import Address

_ARRAYS_FOLDER = "array_metadatas/"
_HANDLER = "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler"

# What of an item is its store.
_STORE = ("d/", "ocdbt.process_")

# What Keras calls the item of a model's variables, and a step by itself.
_ITEM = "pytree"
_FIRST_STEP = "0"
_STEP_NAME = re.compile(r"(?:.*[_-])?[0-9]+")


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002, ARG001
    """A new checkpoint of the tensors of `contents`: one folder, which one worker writes.

    A tree that came with a Keras model's architecture becomes what Keras loads: a folder with a step in it, or a step
    where the output is called by a number. Any other becomes an item.
    """
    keys, nbytes = [tensor.key for tensor in contents.tensors], sum(tensor.nbytes for tensor in contents.tensors)
    return Outline([FilePart(final.base, keys, nbytes, partial(_write_new, contents=contents), open_orbax)])


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of the step or item `template` in which `tensors` hold other values: one folder, which one worker writes.

    Arrays are cut and packed anew, behind an index or in folders as they were; all other files stay. A step of Keras is put
    into a folder of steps, unless the output is called by a number.
    """
    keys = [spec.name for spec in tensors.values()]
    nbytes = sum(spec.nbytes for spec in tensors.values())
    make = partial(_write_like, template=template, tensors=tensors)
    return Outline([FilePart(final.base, keys, nbytes, make, open_orbax)])


def _write_new(path: str, source: TensorSource, contents: Contents) -> None:
    tree = contents.structure if isinstance(contents.structure, Tree) else None
    paths = {leaf.key: leaf.path for leaf in tree.leaves} if tree else {}
    config = tree.config if tree else None
    names: dict[str, tuple[str, ...]] = {}
    stored: dict[str, list[str]] = {}
    for tensor in contents.tensors:
        leaf = paths.get(tensor.key, tuple(part for part in tensor.key.split("/") if part)) or (tensor.key,)
        for each in (leaf, *(tuple(other.split("/")) for other in tensor.aliases)):
            if ".".join(each) in names:
                raise UnsupportedError("two variables would have one name in Orbax's store", path=path, key=tensor.key)
            names[".".join(each)] = each
            stored.setdefault(".".join(leaf), []).append(".".join(each))
    specs = {
        name: TensorSpec(tensor.key, tensor.shape, tensor.dtype)
        for name, tensor in zip(stored, contents.tensors, strict=True)
    }
    with writing(path):
        step = _step(path, is_step=config is not None)
        item = step / _ITEM if config is not None else step
        item.mkdir(parents=True)
        texts = {name: _text(source, spec) for name, spec in specs.items() if spec.dtype == "string"}
        values = Indexed(item)
        for name, spec in specs.items():
            if spec.dtype != "string":
                put_array(values, stored[name], spec, source, zarr3=True)
        values.finish()
        _write_json(item / TREE_FILE, _tree_json(names, texts, contents.layout))
        if texts:
            _write_json(item / STRINGS_FILE, texts)
        _commit(item)
        if config is not None:
            beside = step / CONFIG_ITEM
            beside.mkdir()
            _write_json(beside / STRINGS_FILE, {"config": json.dumps(config)})
            _write_json(beside / TREE_FILE, _tree_json({"config": ("config",)}, {"config": ""}, None))
            _commit(beside)
            _commit(step)
        items = (_ITEM, CONFIG_ITEM) if config is not None else ()
        now = time.time_ns()
        _write_json(
            step / STEP_FILE,
            {
                "item_handlers": dict.fromkeys(items, _HANDLER) if items else _HANDLER, "metrics": {},
                "performance_metrics": {}, "init_timestamp_nsecs": now, "commit_timestamp_nsecs": now, "custom_metadata": {},
            },
        )  # fmt: skip


def _write_like(path: str, source: TensorSource, template: Address, tensors: Mapping[str, TensorSpec]) -> None:
    item = item_of(template)
    opened = open_item(template)
    kept, leaves = opened.source, opened.leaves
    with closing(kept), writing(path):
        unknown = tensors.keys() - leaves.keys()
        if unknown:
            raise NotFoundError("the template has no such leaf", path=template, key=min(unknown))
        told = next((key for key in tensors if isinstance(leaves[key], Elsewhere)), None)
        if told is not None:
            raise UnsupportedError(
                "a leaf in the one file of an early version is not replaced", path=template, key=told,
                hint="Save the template again with a later Orbax.",
            )  # fmt: skip
        root = _step(path, is_step=item.folder != template)
        inside = item.folder.base if item.folder != template else ""
        folder = root / inside
        folder.mkdir(parents=True)
        arrays = {
            key: tensors.get(key) or TensorSpec(key, leaf.zarr.shape, leaf.zarr.dtype)
            for key, leaf in leaves.items()
            if not isinstance(leaf, Text | Elsewhere)
        }
        names = opened.names
        stored = {name for each in names.values() for name in each}
        zarr3 = any(isinstance(leaf, StoredArray) and leaf.zarr.version == 3 for leaf in leaves.values())
        indexed = item.folder.join(MANIFEST).is_file()
        others = [name for name in template.files_below() if not _is_store(name, inside, stored, indexed)]
        for name in others:
            _copy(template.join(name), root / name)
        values: Values = Indexed(folder) if indexed else Folders(folder)
        for key, spec in arrays.items():
            put_array(values, names[key], spec, source if key in tensors else kept, zarr3=zarr3)
        values.finish()
        written = {name: spec for key, spec in arrays.items() for name in names[key]}
        _update(item.folder, folder, written, indexed=indexed)
        texts = {names[key][0]: _text(source, spec) for key, spec in tensors.items() if isinstance(leaves[key], Text)}
        if texts:
            _write_json(folder / STRINGS_FILE, {**read_json(item.folder, STRINGS_FILE), **texts})


def _step(path: str, *, is_step: bool) -> Path:
    """Where a step goes: `path` where that is called by a number, else a folder in it; other things are `path`."""
    whole = Path(path)
    return whole / _FIRST_STEP if is_step and not _STEP_NAME.fullmatch(whole.name) else whole


def _is_store(name: str, inside: str, arrays: set[str], indexed: bool) -> bool:
    """Whether the file `name` of a template is part of the store that is written anew."""
    path = Path(name).as_posix()
    if inside:
        if not path.startswith(f"{inside}/"):
            return False
        path = path[len(inside) + 1 :]
    if indexed:
        return path == MANIFEST or path.startswith(_STORE)
    return any(path.startswith(f"{array}/") for array in _heads(path, arrays))


def _heads(path: str, arrays: set[str]) -> list[str]:
    parts = path.split("/")
    return [head for end in range(1, len(parts)) if (head := "/".join(parts[:end])) in arrays]


def _copy(file: Address, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(file.open()) as storage, target.open("wb") as copy:
        for at in range(0, storage.size, WRITE_BYTES):
            copy.write(read(storage, at, min(WRITE_BYTES, storage.size - at)))


def _update(template: Address, folder: Path, written: Mapping[str, TensorSpec], *, indexed: bool) -> None:
    """Bring what describes the arrays up to how they are cut now."""
    shapes = array_names(written)
    metadata = read_json(template, TREE_FILE)
    if metadata is not None:
        for entry in metadata["tree_metadata"].values():
            name = ".".join(str(key["key"]) for key in entry["key_metadata"])
            if (
                name in shapes
                and isinstance(entry.get("value_metadata"), dict)
                and "write_shape" in entry["value_metadata"]
            ):
                entry["value_metadata"]["write_shape"] = shapes[name][0]
        metadata |= {"use_ocdbt": indexed, "store_array_data_equal_to_fill_value": True}
        _write_json(folder / TREE_FILE, metadata)
    for name in template.files_below():
        path = Path(name).as_posix()
        if not path.startswith(_ARRAYS_FOLDER):
            continue
        told = read_json(template, name)
        for entry in told.get("array_metadatas", []) if isinstance(told, dict) else []:
            array = entry.get("array_metadata", {}) if isinstance(entry, dict) else {}
            if array.get("param_name") in shapes:
                array["write_shape"], array["chunk_shape"] = shapes[array["param_name"]]
        _write_json(folder / name, told)


def _tree_json(names: Mapping[str, tuple[str, ...]], texts: Mapping[str, str], layout: Layout | None) -> dict[str, Any]:
    tree = {
        str(path): {
            "key_metadata": [{"key": key, "key_type": 2} for key in path],
            "value_metadata": {"value_type": "string" if name in texts else "np.ndarray", "skip_deserialize": False},
        }
        for name, path in names.items()
    }
    return {
        "tree_metadata": tree, "use_ocdbt": True, "use_zarr3": True, "store_array_data_equal_to_fill_value": True,
        "custom_metadata": None if layout is None else {LAYOUT: encode_layout(layout)},
    }  # fmt: skip


def _text(source: TensorSource, spec: TensorSpec) -> str:
    items = source.read_strings(spec.name)
    if len(items) != 1 or spec.shape:
        raise UnsupportedError(
            "Orbax stores single texts, no arrays of them", key=spec.name, found=str(list(spec.shape))
        )
    try:
        return items[0].decode()
    except UnicodeDecodeError as error:
        raise UnsupportedError("a text that is not Unicode", key=spec.name) from error


def _commit(folder: Path) -> None:
    (folder / COMMIT_FILE).write_text(f"Checkpoint commit was successful to {folder.name}")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
