"""From whatever path a person types to the reader of what is there.

Files are told by content, never by extension. Names matter only where a checkpoint is more than one file: a bundle's
members, its prefix, a folder. Every reader is imported when it is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, NotFoundError, UnsupportedError
from ckptkit.formats.names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    STATE_FILE,
    base_name,
    bundle_prefix,
    bundles_in,
    folder_of,
    is_data_shard,
    is_file,
    join,
    split_v1_shard,
    v1_shards,
)
from ckptkit.formats.sniff import FileKind, infer_kind
from ckptkit.formats.storage import Storage, is_folder, list_folder, open_storage
from ckptkit.model import Contents, TensorSource

if TYPE_CHECKING:
    from collections.abc import Callable

Opened = tuple[Contents, TensorSource]

# What exporters of TensorFlow 0.x named their single checkpoint (`session_bundle`).
_EXPORT = "export"

_WEIGHT_MAP_SUFFIX = ".weights.json"


def open_contents(path: str) -> Opened:
    """Open the checkpoint that `path` is, is part of, or contains.

    Args:
        path: a file of any format; a bundle's prefix or any of its files; a folder with a `checkpoint` file, with one
            checkpoint, or a SavedModel.

    Returns:
        What is there, and the source to read it from, which the caller closes.

    Raises:
        CkptkitError: nothing is there, or nothing that is read here.
    """
    if not path or "\0" in path:
        raise NotFoundError("not a path", path=path or "''")
    if is_folder(path):
        return _open_folder(path)
    prefix = bundle_prefix(path)
    if prefix is not None and is_file(prefix + INDEX_SUFFIX) and not (path.endswith(META_SUFFIX) and is_file(prefix)):
        return _open_member(path, prefix)
    if is_file(path):
        return _open_file(path)
    if is_file(path + INDEX_SUFFIX):
        return _open_bundle(path)
    if v1_shards(path):
        return _open_v1(path)
    return _explain_missing(path, prefix)


def _open_member(path: str, prefix: str) -> Opened:
    """A file of the bundle `prefix`, which may also be something else under such a name."""
    if path.endswith(INDEX_SUFFIX):
        storage = open_storage(path)
        try:
            kind = infer_kind(storage)
        finally:
            storage.close()
        if kind not in ("table", "unknown"):
            return _open_file(path)
    return _open_bundle(prefix)


def _open_file(path: str) -> Opened:
    """A single file, told by its content."""
    storage = open_storage(path)
    try:
        kind = infer_kind(storage)
        reader = _readers().get(kind)
        if reader is not None:
            opened = reader(storage)
            return _mention_bundle(path, opened)
    except BaseException:
        storage.close()
        raise
    storage.close()
    if kind == "table":
        return _mention_bundle(path, _open_table(path))
    if kind == "json":
        return _open_json(path)
    if kind == "state":
        return _open_folder(folder_of(path))
    if is_file(path + INDEX_SUFFIX):
        return _open_bundle(path)
    if base_name(path) in ("saved_model.pb", "saved_model.pbtxt", "keras_metadata.pb", "fingerprint.pb"):
        return _open_folder(folder_of(path))
    raise _unknown(path)


def _readers() -> dict[FileKind, Callable[[Storage], Opened]]:
    """Readers of what lies in one file; each imports its format when it is called."""

    def hdf5(storage: Storage) -> Opened:
        from ckptkit.formats.hdf5 import open_hdf5

        return open_hdf5(storage)

    def keras(storage: Storage) -> Opened:
        from ckptkit.formats.keras_archive import open_keras_archive

        return open_keras_archive(storage)

    def npz(storage: Storage) -> Opened:
        from ckptkit.formats.npz import open_npz

        return open_npz(storage)

    def safetensors(storage: Storage) -> Opened:
        from ckptkit.formats.safetensors import open_safetensors

        return open_safetensors(storage)

    return {"hdf5": hdf5, "keras": keras, "npz": npz, "safetensors": safetensors}


def _open_json(path: str) -> Opened:
    """An index of sharded weights; `model.safetensors.index.json` or Keras's `*.weights.json`."""
    from ckptkit.formats.safetensors import is_index, open_safetensors_index

    if is_index(path):
        return open_safetensors_index(path)
    if path.endswith(_WEIGHT_MAP_SUFFIX):
        from ckptkit.formats.keras_v3 import open_sharded

        return open_sharded(path)
    raise UnsupportedError(
        "not a checkpoint that is read here", path=path, found="JSON",
        hint=f"The index of sharded Keras weights ends in {_WEIGHT_MAP_SUFFIX}.",
    )  # fmt: skip


def _open_table(path: str) -> Opened:
    """A V1 checkpoint, or the index of a bundle under a name that does not say so."""
    from ckptkit.formats.tensor_bundle.table import open_table
    from ckptkit.formats.tensor_slices_file import is_v1_list

    storage = open_storage(path)
    try:
        v1 = is_v1_list(open_table(storage))
    finally:
        storage.close()
    if v1:
        return _open_v1(path)
    raise FormatError(
        "the index of a bundle under another name", path=path, expected=f"a name that ends in {INDEX_SUFFIX}",
        hint="Give it and its data files their common name back, or name the prefix.",
    )  # fmt: skip


def _open_bundle(prefix: str) -> Opened:
    """The bundle `prefix`; that of a SavedModel with what the SavedModel tells of it."""
    from ckptkit.formats.saved_model import GRAPH_FILE, open_saved_model, variables_prefix

    model = folder_of(folder_of(prefix))
    if variables_prefix(model) == prefix and is_file(join(model, GRAPH_FILE)):
        return open_saved_model(model)
    from ckptkit.formats.tensor_bundle import open_bundle

    return open_bundle(prefix)


def _open_v1(path: str) -> Opened:
    from ckptkit.formats.tensor_slices import open_v1

    return open_v1(path)


def _mention_bundle(path: str, opened: Opened) -> Opened:
    """`opened`, with a note where a bundle of the same name lies beside the file."""
    if not is_file(path + INDEX_SUFFIX):
        return opened
    return _noted(opened, f"a tensor bundle of the same name lies beside it ({base_name(path)}{INDEX_SUFFIX})")


def _noted(opened: Opened, note: str) -> Opened:
    contents, source = opened
    return replace(contents, notes=(note, *contents.notes)), source


def _open_folder(folder: str) -> Opened:
    """The one checkpoint that a folder is or holds."""
    from ckptkit.formats.saved_model import is_saved_model, open_saved_model

    if is_saved_model(folder):
        return open_saved_model(folder)
    if is_file(join(folder, STATE_FILE)):
        return _open_latest(folder)
    names = list_folder(folder)
    candidates: list[tuple[str, Callable[[str], Opened]]] = [(name, _open_bundle) for name in bundles_in(folder)]
    if not candidates:
        v1 = {split[0] if (split := split_v1_shard(name)) else name for name in names if _is_export(name)}
        candidates = [(name, _open_v1) for name in sorted(v1)]
    if not candidates:
        candidates = [(name, _open_json) for name in names if name.endswith(_WEIGHT_MAP_SUFFIX)]
    if len(candidates) == 1:
        name, reader = candidates[0]
        return reader(join(folder, name))
    shown = ", ".join(name or INDEX_SUFFIX for name, _ in candidates[:5]) or ", ".join(names[:5])
    raise FormatError(
        "the folder holds several checkpoints" if candidates else "the folder holds no checkpoint", path=folder,
        found=shown or "nothing", hint="Name the one that is meant." if shown else None,
    )  # fmt: skip


def _is_export(name: str) -> bool:
    split = split_v1_shard(name)
    return (split[0] if split else name) == _EXPORT


def _open_latest(folder: str) -> Opened:
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
        opened = _open_bundle(name) if is_file(name + INDEX_SUFFIX) else _open_v1(name)
        return _noted(opened, said + moved)
    raise NotFoundError(
        "none of the checkpoints that the state file names is in the folder", path=path, found=entries[0]
    )


def _leads_up(entry: str) -> bool:
    return ".." in entry.replace("\\", "/").split("/")


def _here(folder: str, entry: str) -> str | None:
    """The path in `folder` of the checkpoint that the state file calls `entry`; None when it is not there.

    Folders are moved and copied, so of a path that leads elsewhere the last part counts.
    """
    relative = not entry.startswith("/") and ":" not in entry[:3]
    for name in (entry, base_name(entry)) if relative else (base_name(entry),):
        path = join(folder, name)
        if is_file(path + INDEX_SUFFIX) or (name and (is_file(path) or v1_shards(path))):
            return path
    return None


def _explain_missing(path: str, prefix: str | None) -> Opened:
    """Raise what is best said of a path at which nothing is."""
    if prefix is not None and is_data_shard(path) and is_file(path):
        raise _unknown(path)
    try:
        open_storage(path).close()
    except NotFoundError as error:
        import difflib

        try:
            names = [name for name in list_folder(folder_of(path)) if name != base_name(path)]
            near = difflib.get_close_matches(base_name(path), names, n=3)
        except CkptkitError:
            near = []
        error.hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise
    raise _unknown(path)


def _unknown(path: str) -> CkptkitError:
    """The error for a file that is of no kind that is known."""
    if is_data_shard(path):
        prefix = bundle_prefix(path) or path
        return FormatError(
            "the data of a bundle whose index is missing", path=path,
            expected=f"{base_name(prefix)}{INDEX_SUFFIX} beside it",
            hint="Without the index nobody knows what is where in the data.",
        )  # fmt: skip
    if path.endswith(META_SUFFIX):
        return UnsupportedError(
            "a graph without weights", path=path, expected="a checkpoint of the same name beside it",
        )  # fmt: skip
    known = {".pb": "a frozen graph or another protocol buffer", ".pbtxt": "a graph in text form", ".onnx": "ONNX"}
    found = next((words for suffix, words in known.items() if path.endswith(suffix)), None)
    return FormatError(
        "not a checkpoint of a kind that is known", path=path, found=found,
        hint="Known are HDF5, .keras, TensorFlow's checkpoints and SavedModels, safetensors and npz.",
    )  # fmt: skip
