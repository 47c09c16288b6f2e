"""From whatever path a person types to the checkpoint that it is, is part of, or contains.

Files are told by content, never by extension. Names matter only where a checkpoint is more than one file: a bundle's
members, its prefix, an index, a folder.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, NotFoundError, UnsupportedError
from ckptkit.formats import registry
from ckptkit.formats.dcp import layout as dcp
from ckptkit.formats.location import Location, location_of
from ckptkit.formats.orbax.layout import OF_A_FOLDER as OF_AN_ORBAX_FOLDER
from ckptkit.formats.orbax.layout import find as find_orbax
from ckptkit.formats.registry import BUNDLE, JsonNamed
from ckptkit.formats.sniff import sniff_at
from ckptkit.formats.tensorflow.layout import GRAPH_FILE, is_saved_model, variables_prefix
from ckptkit.formats.tensorflow.names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    STATE_FILE,
    bundle_prefix,
    bundles_in,
    is_data_shard,
    split_v1_shard,
    v1_prefix,
    v1_shards,
)
from ckptkit.storage.address import Address, address

if TYPE_CHECKING:
    import os

V1, SAVED_MODEL, ORBAX, FLAX, DCP = "tf-v1", "saved-model", "orbax", "flax-msgpack", "torch-distributed"

# `flax.training.checkpoints.save_checkpoint` adds the step, which may be a fraction, to this word.
_FLAX_STEP = re.compile(r"checkpoint_([0-9]{1,18}(?:\.[0-9]{1,18})?)")

# What exporters of TensorFlow 0.x named their single checkpoint (`session_bundle`).
_EXPORT = "export"


def locate(typed: str | os.PathLike[str]) -> Location:
    """The checkpoint that `typed` is, is part of, or contains.

    Args:
        typed: a file of any format; a bundle's prefix or any of its files; an index of shards; a folder with a
            `checkpoint` file, with one checkpoint, a SavedModel, a distributed checkpoint of PyTorch, an Orbax checkpoint
            or a run of them; each of them local or a URL.

    Raises:
        CkptkitError: nothing is there, or nothing that is read here.
    """
    text = str(typed)
    if not text or "\0" in text:
        raise NotFoundError("not a path", path=text or "''")
    return replace(locate_at(address(text)), typed=text)


def locate_at(path: Address) -> Location:
    """As `locate`, for an address."""
    if path.is_folder():
        return _in_folder(path)
    prefix = bundle_prefix(path)
    if prefix is not None and path.ends_with(META_SUFFIX) and prefix.is_file():
        return _file(prefix)  # the graph of a V1 checkpoint
    if prefix is not None and prefix.add(INDEX_SUFFIX).is_file():
        return _member(path, prefix)
    if prefix is not None and path.ends_with(META_SUFFIX) and v1_shards(prefix):
        return _v1(prefix)
    if path.is_file():
        return _file(path)
    if path.add(INDEX_SUFFIX).is_file():
        return _bundle(path)
    if v1_shards(path):
        return _v1(path)
    raise _missing(path, prefix)


def _v1(path: Address) -> Location:
    """A V1 checkpoint, by what its files have in common where that is one checkpoint."""
    prefix, count = v1_prefix(path)
    if count is not None and not prefix.is_file() and len(v1_shards(prefix)) == len(v1_shards(path)):
        path = prefix
    return location_of(V1, path)


def _member(path: Address, prefix: Address) -> Location:
    """A file of the bundle `prefix`, which may also be something else under such a name."""
    if path.ends_with(INDEX_SUFFIX):
        found = sniff_at(path)
        if found not in (registry.named(V1), None):
            return _file(path)
    return _bundle(prefix)


def _file(path: Address) -> Location:
    """A single file, told by its content; those by which an Orbax checkpoint is known stand for their folder."""
    if path.base in OF_AN_ORBAX_FOLDER and (orbax := find_orbax(path.folder)) is not None:
        return replace(location_of(ORBAX, orbax.at), notes=orbax.notes)
    if dcp.is_of_one(path.base):
        return _in_folder(path.folder)
    if dcp.ranks_in([path.base]):
        return location_of(DCP, path)
    found = sniff_at(path)
    if found == "json":
        return _json(path)
    if found == "state":
        return _in_folder(path.folder)
    if found is not None:
        return _mention_bundle(_table(path) if found.name == V1 else Location(path, found, path.text))
    if path.add(INDEX_SUFFIX).is_file():
        return _bundle(path)
    if path.base in ("saved_model.pb", "saved_model.pbtxt", "keras_metadata.pb", "fingerprint.pb"):
        return _in_folder(path.folder)
    raise _unknown(path)


def _json(path: Address) -> Location:
    """An index of shards, by its name: `model.safetensors.index.json`, or Keras's `*.weights.json`."""
    for row in registry.FORMATS:
        if any(isinstance(mark, JsonNamed) and path.ends_with(mark.ending) for mark in row.marks):
            return Location(path, row, path.text)
    endings = [mark.ending for row in registry.FORMATS for mark in row.marks if isinstance(mark, JsonNamed)]
    raise UnsupportedError(
        "not a checkpoint that is read here", path=path, found="JSON",
        hint=f"The index of a checkpoint in shards ends in {' or '.join(endings)}.",
    )  # fmt: skip


def _is_json_index(name: str) -> bool:
    return any(
        isinstance(mark, JsonNamed) and name.endswith(mark.ending) for row in registry.FORMATS for mark in row.marks
    )


def _table(path: Address) -> Location:
    """A V1 checkpoint, or the index of a bundle under a name that does not say so."""
    from ckptkit.formats.tensorflow.bundle.table import open_table
    from ckptkit.formats.tensorflow.v1.file import is_v1_list

    with closing(path.open()) as storage:
        v1 = is_v1_list(open_table(storage))
    if v1:
        return _v1(path)
    raise FormatError(
        "the index of a bundle under another name", path=path, expected=f"a name that ends in {INDEX_SUFFIX}",
        hint="Give it and its data files their common name back, or name the prefix.",
    )  # fmt: skip


def _bundle(prefix: Address) -> Location:
    """The bundle `prefix`, or the SavedModel whose it is."""
    model = prefix.folder.folder
    if variables_prefix(model) == prefix and model.join(GRAPH_FILE).is_file():
        return location_of(SAVED_MODEL, model)
    return location_of(BUNDLE, prefix)


def _mention_bundle(found: Location) -> Location:
    """`found`, with a note where a bundle of the same name lies beside the file."""
    if not found.at.add(INDEX_SUFFIX).is_file():
        return found
    note = f"a tensor bundle of the same name lies beside it ({found.at.base}{INDEX_SUFFIX})"
    return replace(found, notes=(note, *found.notes))


def _in_folder(folder: Address) -> Location:
    """The one checkpoint that a folder is or holds; the same whether a slash follows its name or not."""
    folder = folder.fronted(folder.front.rstrip("/") or folder.front)
    if is_saved_model(folder):
        return location_of(SAVED_MODEL, folder)
    names = folder.names()
    if dcp.find(folder, names):
        return location_of(DCP, folder)
    orbax = find_orbax(folder)
    if orbax is not None:
        return replace(location_of(ORBAX, orbax.at), notes=orbax.notes)
    if folder.join(STATE_FILE).is_file():
        return _latest(folder)
    candidates = [_bundle(folder.join(name)) for name in bundles_in(folder)]
    if not candidates:
        v1 = {split[0] if (split := split_v1_shard(name)) else name for name in names if _is_export(name)}
        candidates = [location_of(V1, folder.join(name)) for name in sorted(v1)]
    if not candidates:
        candidates = [_json(folder.join(name)) for name in names if _is_json_index(name)]
    if not candidates:
        candidates = _newest_of_flax(folder, names)
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join(each.at.base or INDEX_SUFFIX for each in candidates[:5]) or ", ".join(names[:5])
    raise FormatError(
        "the folder holds several checkpoints" if candidates else "the folder holds no checkpoint", path=folder,
        found=shown or "nothing", hint="Name the one that is meant." if shown else None,
    )  # fmt: skip


def _newest_of_flax(folder: Address, names: list[str]) -> list[Location]:
    """The file with the highest step of those that Flax's `save_checkpoint` wrote into a folder."""
    steps = sorted(((float(found[1]), name) for name in names if (found := _FLAX_STEP.fullmatch(name))), reverse=True)
    if not steps:
        return []
    at = folder.join(steps[0][1])
    if not at.is_file() or sniff_at(at) != registry.named(FLAX):
        return []
    several = f" of {len(steps)} steps" if len(steps) > 1 else ""
    return [replace(location_of(FLAX, at), notes=(f"newest{several}: {at.base}",))]


def _is_export(name: str) -> bool:
    split = split_v1_shard(name)
    return (split[0] if split else name) == _EXPORT


def _latest(folder: Address) -> Location:
    """The latest checkpoint of a folder with a state file; nothing outside the folder is looked at."""
    from ckptkit.formats.tensorflow.state_file import read_state

    path = folder.join(STATE_FILE)
    entries = read_state(path)
    if _leads_up(entries[0]):
        raise FormatError(
            "the state file names a checkpoint outside its folder", path=path, found=entries[0],
            hint="Name the checkpoint itself.",
        )  # fmt: skip
    for place, entry in enumerate(entries):
        name = None if _leads_up(entry) else _here(folder, entry)
        if name is None:
            continue
        several = f" of {len(entries)} that the state file names" if len(entries) > 1 else ""
        said = f"{'latest' if place == 0 else 'latest that is there'}{several}: {name.base or INDEX_SUFFIX}"
        moved = "" if entry == name.text or folder.join(entry) == name else f" (named there as {entry})"
        found = _bundle(name) if name.add(INDEX_SUFFIX).is_file() else _v1(name)
        return replace(found, notes=(said + moved,), state=path)
    raise NotFoundError(
        "none of the checkpoints that the state file names is in the folder", path=path, found=entries[0]
    )


def _leads_up(entry: str) -> bool:
    return ".." in entry.replace("\\", "/").split("/")


def _here(folder: Address, entry: str) -> Address | None:
    """The path in `folder` of the checkpoint that the state file calls `entry`; None when it is not there.

    Folders are moved and copied, so of a path that leads elsewhere the last part counts.
    """
    relative = not entry.startswith("/") and ":" not in entry[:3] and "://" not in entry
    last = entry.rpartition("/")[2]
    for name in (entry, last) if relative else (last,):
        path = folder.join(name)
        if path.add(INDEX_SUFFIX).is_file() or (name and (path.is_file() or v1_shards(path))):
            return path
    return None


def _missing(path: Address, prefix: Address | None) -> CkptkitError:
    """What is best said of a path at which nothing is."""
    if prefix is not None and is_data_shard(path.front) and path.is_file():
        return _unknown(path)
    try:
        path.open().close()
    except NotFoundError as error:
        from ckptkit.formats.nearest import nearest

        near = nearest(path)
        error.hint = f"Did you mean {' or '.join(near)}?" if near else error.hint
        return error
    except CkptkitError as error:
        return error
    return _unknown(path)


def _unknown(path: Address) -> CkptkitError:
    """The error for a file that is of no kind that is known."""
    if is_data_shard(path.front):
        prefix = bundle_prefix(path) or path
        return FormatError(
            "the data of a bundle whose index is missing", path=path,
            expected=f"{prefix.base}{INDEX_SUFFIX} beside it",
            hint="Without the index nobody knows what is where in the data.",
        )  # fmt: skip
    if path.ends_with(META_SUFFIX):
        return UnsupportedError(
            "a graph without weights", path=path, expected="a checkpoint of the same name beside it",
        )  # fmt: skip
    known = {".pb": "a frozen graph or another protocol buffer", ".pbtxt": "a graph in text form", ".onnx": "ONNX"}
    found = next((words for suffix, words in known.items() if path.ends_with(suffix)), None)
    return FormatError(
        "not a checkpoint of a kind that is known", path=path, found=found,
        hint="Known are HDF5, .keras, TensorFlow's checkpoints, SavedModels, safetensors, npz, PyTorch's, Orbax's and Flax's.",
    )  # fmt: skip
