"""Which folder is what: a run of steps, a step, an item, or something that was never finished.

A step holds items side by side (`pytree`, `default`, `state`, `params` …); an item holds one tree, and may also stand
alone. A folder under a temporary name is one whose writing was interrupted.

Source: orbax/checkpoint/_src/path/ (atomicity.py, format_utils.py, step.py), orbax/checkpoint/_src/metadata/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.errors import CkptkitError, FormatError
from ckptkit.formats.json_text import parse_json
from ckptkit.formats.orbax.ocdbt import MANIFEST
from ckptkit.formats.orbax.zarr import V2_FILE, V3_FILE
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ckptkit.storage.address import Address

TREE_FILE = "_METADATA"
STEP_FILE = "_CHECKPOINT_METADATA"
COMMIT_FILE = "commit_success.txt"
STRINGS_FILE = "_strings.json"
AGGREGATE_FILE = "checkpoint"
"""Leaves that early versions put into one file, and the names of the others."""
CONFIG_ITEM = "model_config"
"""What Keras calls the item in which it keeps the architecture."""

OF_A_FOLDER = frozenset({TREE_FILE, STEP_FILE, COMMIT_FILE, STRINGS_FILE, MANIFEST, "_sharding"})
"""Files by which a folder may be named."""

_TEMPORARY = ".orbax-checkpoint-tmp"

# Items by the names that Keras and Orbax give them when nobody else does, the likeliest first.
_USUAL = ("pytree", "default", "state", "params")

# Steps are numbers, with a word of the user's in front and zeros (orbax/checkpoint/_src/path/step.py).
_STEP = re.compile(r"(?P<word>.*?)[0-9]{1,18}")

# So many steps are looked into from the newest on, before it is said that none is whole.
_MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """Where the tree of a checkpoint lies.

    Attributes:
        folder: of the item.
        config: of the item that holds a Keras model's architecture, or None.
        notes: which one it is, where there are several.
        damage: what says that writing it was not finished.
    """

    folder: Address
    config: Address | None
    notes: tuple[str, ...]
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint in a folder, and what to tell of how it was found."""

    at: Address
    notes: tuple[str, ...] = ()


def find(folder: Address) -> Found | None:
    """The checkpoint that `folder` is, is an item of, or holds as the newest of its steps; None where there is none.

    Raises:
        FormatError: all that is there is unfinished.
    """
    names = folder.names()
    if _TEMPORARY in folder.base and _looks_like_one(folder, names):
        raise FormatError(
            "an Orbax checkpoint whose writing was not finished", path=folder, found=folder.base,
            hint="Name a step without this ending.",
        )  # fmt: skip
    if is_item(folder, names):
        return Found(_step_of(folder) or folder)
    if items_in(folder, names):
        return Found(folder)
    return _newest(folder, names)


def _step_of(item: Address) -> Address | None:
    """The step whose tree `item` is; None for an item by itself, and for one of several that is not the usual one."""
    step = item.folder
    if not (step.join(STEP_FILE).is_file() or step.join(COMMIT_FILE).is_file()):
        return None
    try:
        return step if item_of(step).folder == item else None
    except CkptkitError:
        return None


def is_item(folder: Address, names: Iterable[str]) -> bool:
    """Whether a folder that holds `names` is an item: it has what describes a tree, or early versions' file for it."""
    found = set(names)
    if TREE_FILE in found or MANIFEST in found:
        return True
    return AGGREGATE_FILE in found and _is_aggregate(folder.join(AGGREGATE_FILE))


def items_in(folder: Address, names: Iterable[str]) -> list[str]:
    """Names of the items in `folder`; none where nothing says that it is a step."""
    found = list(names)
    known = [name for name in found if name in (*_USUAL, CONFIG_ITEM) or STEP_FILE in found or COMMIT_FILE in found]
    if STEP_FILE not in found and not any(name in _USUAL for name in known):
        known = found if len(found) <= len(_USUAL) else known
        known = [name for name in known if not _STEP.fullmatch(name)]
    return [
        name for name in known
        if _TEMPORARY not in name and "." not in name and (at := folder.join(name)).is_folder() and is_item(at, at.names())
    ]  # fmt: skip


def item_of(at: Address) -> Item:
    """The item that is read of the checkpoint `at`: an item, a step, or a folder of steps that is one checkpoint.

    Raises:
        FormatError: it holds none, or several of which none is the usual one.
    """
    names = at.names()
    if is_item(at, names):
        beside = at.folder.join(CONFIG_ITEM)
        known = at.base != CONFIG_ITEM and beside.join(STRINGS_FILE).is_file()
        return Item(at, beside if known else None, (), _unfinished(at, names, ()))
    items = items_in(at, names)
    trees = [name for name in items if name != CONFIG_ITEM] or items
    usual = [name for name in _USUAL if name in trees]
    newest = None if trees else _newest(at, names)
    if newest is not None:
        return item_of(newest.at)
    if not trees:
        raise FormatError("the step holds no tree of arrays", path=at, found=", ".join(names[:5]) or "nothing")
    if len(trees) > 1 and not usual:
        raise FormatError(
            "the step holds several items", path=at, found=", ".join(trees[:5]), hint="Name the one that is meant."
        )
    chosen = (usual or trees)[0]
    notes = (f"item {chosen} of {len(trees)}: {', '.join(trees)}",) if len(trees) > 1 else ()
    config = at.join(CONFIG_ITEM) if CONFIG_ITEM in items and chosen != CONFIG_ITEM else None
    return Item(at.join(chosen), config, notes, _unfinished(at, names, (chosen,)))


def _newest(folder: Address, names: Sequence[str]) -> Found | None:
    """The step with the highest number among those that were finished."""
    groups: dict[str, list[str]] = {}
    for name in names:
        match = _STEP.fullmatch(name)
        if match:
            groups.setdefault(match["word"], []).append(name)
    left_out = [name for name in names if _TEMPORARY in name and folder.join(name).is_folder()]
    skipped: list[str] = []
    for word in sorted(groups, key=lambda word: (-len(groups[word]), word)):
        steps = sorted(groups[word], key=lambda name: (int(name[len(word) :]), name), reverse=True)
        for name in steps[:_MOST_STEPS]:
            at = folder.join(name)
            if not at.is_folder():
                continue
            inside = at.names()
            if not (is_item(at, inside) or items_in(at, inside)):
                if STEP_FILE in inside or any(_TEMPORARY in each for each in inside):
                    skipped.append(name)
                continue
            reasons = _unfinished(at, inside, items_in(at, inside))
            if reasons:
                skipped.append(name)
                continue
            several = f" of {len(steps)} steps" if len(steps) > 1 else ""
            notes = [f"newest{several}: {name}"]
            left = [*skipped, *left_out]
            if left:
                notes.append(f"left out, not finished: {', '.join(left[:5])}{' …' if len(left) > 5 else ''}")
            return Found(at, tuple(notes))
    if skipped or (left_out and not groups):
        raise FormatError(
            "no Orbax checkpoint in the folder was finished", path=folder, found=", ".join([*skipped, *left_out][:5])
        )
    return None


def _looks_like_one(folder: Address, names: Sequence[str]) -> bool:
    return STEP_FILE in names or is_item(folder, names) or bool(items_in(folder, names)) or not names


def _unfinished(at: Address, names: Sequence[str], items: Sequence[str]) -> tuple[str, ...]:
    """What says that writing the step or item `at` was not finished; nothing where nothing does."""
    reasons = [f"{name}: an item whose writing was not finished" for name in names if _TEMPORARY in name]
    if STEP_FILE in names:
        told = read_json(at, STEP_FILE)
        if isinstance(told, dict) and told.get("init_timestamp_nsecs") and not told.get("commit_timestamp_nsecs", True):
            reasons.append(f"{STEP_FILE} has no time at which it was committed")
    # Early versions write no such file, others write one into the step and each item.
    committed = [COMMIT_FILE in names, *(at.join(item).join(COMMIT_FILE).is_file() for item in items)]
    if any(committed) and not all(committed):
        missing = [part for part, there in zip((at.base, *items), committed, strict=True) if not there]
        reasons.append(f"{COMMIT_FILE} is missing in {', '.join(missing)}: it was not committed")
    return tuple(reasons)


def _is_aggregate(at: Address) -> bool:
    from ckptkit.formats.msgpack.reader import is_msgpack

    try:
        storage = at.open()
    except CkptkitError:
        return False
    try:
        return is_msgpack(storage)
    finally:
        storage.close()


def has_arrays(names: Iterable[str]) -> bool:
    """Whether a list of paths has an array of zarr among them."""
    return any(name.endswith((f"/{V2_FILE}", f"/{V3_FILE}")) for name in names)


def read_json(folder: Address, name: str) -> Any:
    """The value of the JSON file `name` in `folder`, or None where it is not there.

    Raises:
        FormatError: it is not JSON, or leads out of the folder.
        LimitError: it is too long.
    """
    at = folder.join(name)
    if not at.is_file():
        return None
    check_within(at, folder)
    storage = at.open()
    try:
        return parse_json(read(storage, 0, storage.size), path=at.text)
    finally:
        storage.close()


def check_within(at: Address, folder: Address) -> None:
    """Raise `FormatError` where a link makes `at`, a name below `folder`, a file elsewhere."""
    if not at.lies_in(folder):
        raise FormatError(
            "a link leads out of the checkpoint", path=at, hint="If it is meant, copy the folder with links followed."
        )
