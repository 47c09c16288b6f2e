"""From whatever path a person types to the checkpoint that it is, is part of, or contains.

Files are told by content, never by extension. Names matter only where a checkpoint is more than one file: a bundle's
members, its prefix, a folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ckptkit.errors import CkptkitError, FormatError, NotFoundError, UnsupportedError
from ckptkit.formats.names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    STATE_FILE,
    add,
    base_name,
    bundle_prefix,
    bundles_in,
    ends_with,
    folder_of,
    is_data_shard,
    is_file,
    is_folder,
    join,
    list_folder,
    split_v1_shard,
    v1_shards,
)
from ckptkit.formats.sniff import infer_kind
from ckptkit.formats.storage import open_storage
from ckptkit.formats.stores import plain

Kind = Literal[
    "hdf5", "keras", "npz", "safetensors", "safetensors-index", "keras-sharded", "bundle", "saved-model", "v1"
]

# What exporters of TensorFlow 0.x named their single checkpoint (`session_bundle`).
_EXPORT = "export"

_WEIGHT_MAP_SUFFIX = ".weights.json"


@dataclass(frozen=True, slots=True)
class Located:
    """A checkpoint that was found and not opened.

    Attributes:
        kind: which reader opens it.
        path: what that reader wants: a file, a bundle's prefix, a SavedModel's folder.
        notes: what to tell of how it was found.
        state: the state file that led to it, or None.
    """

    kind: Kind
    path: str
    notes: tuple[str, ...] = ()
    state: str | None = None


def locate(path: str) -> Located:
    """The checkpoint that `path` is, is part of, or contains.

    Args:
        path: a file of any format; a bundle's prefix or any of its files; a folder with a `checkpoint` file, with one
            checkpoint, or a SavedModel; each of them local or a URL.

    Raises:
        CkptkitError: nothing is there, or nothing that is read here.
    """
    if not path or "\0" in path:
        raise NotFoundError("not a path", path=path or "''")
    path = plain(path)
    if is_folder(path):
        return _in_folder(path)
    prefix = bundle_prefix(path)
    graph_of_v1 = ends_with(path, META_SUFFIX) and prefix is not None and is_file(prefix)
    if prefix is not None and not graph_of_v1 and is_file(add(prefix, INDEX_SUFFIX)):
        return _member(path, prefix)
    if is_file(path):
        return _file(path)
    if is_file(add(path, INDEX_SUFFIX)):
        return _bundle(path)
    if v1_shards(path):
        return Located("v1", path)
    raise _missing(path, prefix)


def _member(path: str, prefix: str) -> Located:
    """A file of the bundle `prefix`, which may also be something else under such a name."""
    if ends_with(path, INDEX_SUFFIX):
        storage = open_storage(path)
        try:
            kind = infer_kind(storage)
        finally:
            storage.close()
        if kind not in ("table", "unknown"):
            return _file(path)
    return _bundle(prefix)


def _file(path: str) -> Located:
    """A single file, told by its content."""
    storage = open_storage(path)
    try:
        kind = infer_kind(storage)
    finally:
        storage.close()
    if kind in ("hdf5", "keras", "npz", "safetensors"):
        return _mention_bundle(Located(kind, path))
    if kind == "table":
        return _mention_bundle(_table(path))
    if kind == "json":
        return _json(path)
    if kind == "state":
        return _in_folder(folder_of(path))
    if is_file(add(path, INDEX_SUFFIX)):
        return _bundle(path)
    if base_name(path) in ("saved_model.pb", "saved_model.pbtxt", "keras_metadata.pb", "fingerprint.pb"):
        return _in_folder(folder_of(path))
    raise _unknown(path)


def _json(path: str) -> Located:
    """An index of sharded weights; `model.safetensors.index.json` or Keras's `*.weights.json`."""
    from ckptkit.formats.safetensors import is_index

    if is_index(path):
        return Located("safetensors-index", path)
    if ends_with(path, _WEIGHT_MAP_SUFFIX):
        return Located("keras-sharded", path)
    raise UnsupportedError(
        "not a checkpoint that is read here", path=path, found="JSON",
        hint=f"The index of sharded Keras weights ends in {_WEIGHT_MAP_SUFFIX}.",
    )  # fmt: skip


def _table(path: str) -> Located:
    """A V1 checkpoint, or the index of a bundle under a name that does not say so."""
    from ckptkit.formats.tensor_bundle.table import open_table
    from ckptkit.formats.tensor_slices_file import is_v1_list

    storage = open_storage(path)
    try:
        v1 = is_v1_list(open_table(storage))
    finally:
        storage.close()
    if v1:
        return Located("v1", path)
    raise FormatError(
        "the index of a bundle under another name", path=path, expected=f"a name that ends in {INDEX_SUFFIX}",
        hint="Give it and its data files their common name back, or name the prefix.",
    )  # fmt: skip


def _bundle(prefix: str) -> Located:
    """The bundle `prefix`, or the SavedModel whose it is."""
    from ckptkit.formats.saved_model import GRAPH_FILE, variables_prefix

    model = folder_of(folder_of(prefix))
    if variables_prefix(model) == prefix and is_file(join(model, GRAPH_FILE)):
        return Located("saved-model", model)
    return Located("bundle", prefix)


def _mention_bundle(found: Located) -> Located:
    """`found`, with a note where a bundle of the same name lies beside the file."""
    if not is_file(add(found.path, INDEX_SUFFIX)):
        return found
    note = f"a tensor bundle of the same name lies beside it ({base_name(found.path)}{INDEX_SUFFIX})"
    return replace(found, notes=(note, *found.notes))


def _in_folder(folder: str) -> Located:
    """The one checkpoint that a folder is or holds."""
    from ckptkit.formats.saved_model import is_saved_model

    if is_saved_model(folder):
        return Located("saved-model", folder)
    if is_file(join(folder, STATE_FILE)):
        return _latest(folder)
    names = list_folder(folder)
    candidates: list[Located] = [_bundle(join(folder, name)) for name in bundles_in(folder)]
    if not candidates:
        v1 = {split[0] if (split := split_v1_shard(name)) else name for name in names if _is_export(name)}
        candidates = [Located("v1", join(folder, name)) for name in sorted(v1)]
    if not candidates:
        candidates = [_json(join(folder, name)) for name in names if name.endswith(_WEIGHT_MAP_SUFFIX)]
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join(base_name(each.path) or INDEX_SUFFIX for each in candidates[:5]) or ", ".join(names[:5])
    raise FormatError(
        "the folder holds several checkpoints" if candidates else "the folder holds no checkpoint", path=folder,
        found=shown or "nothing", hint="Name the one that is meant." if shown else None,
    )  # fmt: skip


def _is_export(name: str) -> bool:
    split = split_v1_shard(name)
    return (split[0] if split else name) == _EXPORT


def _latest(folder: str) -> Located:
    """The latest checkpoint of a folder with a state file; nothing outside the folder is looked at."""
    from ckptkit.formats.state_file import read_state

    path = join(folder, STATE_FILE)
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
        said = f"{'latest' if place == 0 else 'latest that is there'}{several}: {base_name(name) or INDEX_SUFFIX}"
        moved = "" if entry == name or join(folder, entry) == name else f" (named there as {entry})"
        found = _bundle(name) if is_file(add(name, INDEX_SUFFIX)) else Located("v1", name)
        return replace(found, notes=(said + moved,), state=path)
    raise NotFoundError(
        "none of the checkpoints that the state file names is in the folder", path=path, found=entries[0]
    )


def _leads_up(entry: str) -> bool:
    return ".." in entry.replace("\\", "/").split("/")


def _here(folder: str, entry: str) -> str | None:
    """The path in `folder` of the checkpoint that the state file calls `entry`; None when it is not there.

    Folders are moved and copied, so of a path that leads elsewhere the last part counts.
    """
    relative = not entry.startswith("/") and ":" not in entry[:3] and "://" not in entry
    for name in (entry, base_name(entry)) if relative else (base_name(entry),):
        path = join(folder, name)
        if is_file(add(path, INDEX_SUFFIX)) or (name and (is_file(path) or v1_shards(path))):
            return path
    return None


def _missing(path: str, prefix: str | None) -> CkptkitError:
    """What is best said of a path at which nothing is."""
    if prefix is not None and is_data_shard(path) and is_file(path):
        return _unknown(path)
    try:
        open_storage(path).close()
    except NotFoundError as error:
        from ckptkit.formats.nearest import nearest

        near = nearest(path)
        error.hint = f"Did you mean {' or '.join(near)}?" if near else error.hint
        return error
    except CkptkitError as error:
        return error
    return _unknown(path)


def _unknown(path: str) -> CkptkitError:
    """The error for a file that is of no kind that is known."""
    if is_data_shard(path):
        prefix = bundle_prefix(path) or path
        return FormatError(
            "the data of a bundle whose index is missing", path=path,
            expected=f"{base_name(prefix)}{INDEX_SUFFIX} beside it",
            hint="Without the index nobody knows what is where in the data.",
        )  # fmt: skip
    if ends_with(path, META_SUFFIX):
        return UnsupportedError(
            "a graph without weights", path=path, expected="a checkpoint of the same name beside it",
        )  # fmt: skip
    known = {".pb": "a frozen graph or another protocol buffer", ".pbtxt": "a graph in text form", ".onnx": "ONNX"}
    found = next((words for suffix, words in known.items() if ends_with(path, suffix)), None)
    return FormatError(
        "not a checkpoint of a kind that is known", path=path, found=found,
        hint="Known are HDF5, .keras, TensorFlow's checkpoints and SavedModels, safetensors and npz.",
    )  # fmt: skip
