"""The checkpoints of a run, in the order in which they were written."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.formats import registry
from ckptkit.formats.locate import locate, locate_at
from ckptkit.formats.tensorflow.names import INDEX_SUFFIX
from ckptkit.storage.address import address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.formats.location import Location
    from ckptkit.storage.address import Address

_DIGITS = re.compile(r"(\d+)")

# Interrupted saves leave `X_temp_<hex>`.
_LEFT_OVER = re.compile(r"_temp_[0-9a-f]{8,}")

# A shard whose index is not there is no checkpoint either. Keras's shards (`X_00000.weights.h5`) only their index tells.
_PART = re.compile(r"-\d{5}-of-\d{5}\.(?:safetensors|bin)")


@dataclass(frozen=True, slots=True)
class Series:
    """Checkpoints in order.

    Attributes:
        found: where each is.
        labels: the number in which the names differ, or the names.
        notes: what was left out.
    """

    found: tuple[Location, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_series(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Series:
    """The checkpoints that `paths` name: themselves, or those in the one folder given. A sharded one is its index.

    Each counts once, however many of its files are named; what is typed twice counts twice. Names that differ in their
    numbers only are put in the order of these (`ckpt-2` before `ckpt-10`); other names keep the order in which they were
    given. In a folder the largest group of such names is the run, and the rest is said.

    Raises:
        NotFoundError: the folder holds no checkpoint.
        CkptkitError: nothing is at a path, or nothing that is read here.
    """
    typed = [os.fspath(paths)] if isinstance(paths, str | os.PathLike) else [os.fspath(path) for path in paths]
    if len(typed) != 1 or not (folder := address(typed[0])).is_folder():
        located: list[Location] = []
        for path in typed:
            found = locate(path)
            if all(found.at != other.at or found.typed == other.typed for other in located):
                located.append(found)
        parts = {file for found in located for file in found.files() if file != found.at}
        located = [found for found in located if found.at not in parts]
        skeletons = {_skeleton(found.at.base) for found in located}
        ordered = sorted(located, key=lambda found: natural_key(found.at.text)) if len(skeletons) == 1 else located
        return Series(tuple(ordered), _labels([found.at.base for found in ordered]))
    here = _checkpoints_in(folder)
    if not here:
        raise NotFoundError("no checkpoints in this folder", path=typed[0], hint="Name the files, or their folder.")
    groups = Counter(map(_skeleton, here))
    skeleton = max(groups, key=lambda group: (groups[group], group))
    chosen = sorted((name for name in here if _skeleton(name) == skeleton), key=natural_key)
    others = [name for name in here if _skeleton(name) != skeleton]
    notes = [f"left out, not of the numbered series: {', '.join(others)}"] if others else []
    lost = _lost(folder, here)
    if lost:
        notes.append(f"left out, shards whose index is not there: {', '.join(lost)}")
    return Series(tuple(_sound(here[name]) for name in chosen), _labels(chosen), tuple(notes))


def _lost(folder: Address, here: Mapping[str, Location | CkptkitError]) -> list[str]:
    """Shards in a folder that no checkpoint in it is made of, those of one checkpoint by the first."""
    parts = {file for found in here.values() if not isinstance(found, CkptkitError) for file in found.files()}
    if any(isinstance(found, CkptkitError) for found in here.values()):
        return []  # what is told of those comes first
    names = [name for name in folder.names() if _PART.search(name) and folder.join(name) not in parts]
    return sorted({_PART.sub("-…", name): name for name in sorted(names, reverse=True)}.values(), key=natural_key)


def _sound(found: Location | CkptkitError) -> Location:
    if isinstance(found, CkptkitError):
        raise found
    return found


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key by which `x-2` comes before `x-10`."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name) if part)


def _checkpoints_in(folder: Address) -> dict[str, Location | CkptkitError]:
    """The checkpoints in a folder and the one in each of its folders, each once, by name, or why one cannot be read."""
    found = _files_in(folder)
    for name in folder.names():
        path = folder.join(name)
        if _LEFT_OVER.search(name) or not path.is_folder():
            continue
        try:
            here = locate_at(path)
        except CkptkitError:  # a folder need not be a checkpoint
            inside = list(_files_in(path).values())
            if len(inside) == 1:
                found[name] = inside[0]
            continue
        if here.at.folder == folder:
            found[here.at.base] = here
        elif here.at.folder == path:
            found[name] = here
    return found


def _files_in(folder: Address) -> dict[str, Location | CkptkitError]:
    """The checkpoints in a folder that are files, without those that are parts of others."""
    found: dict[str, Location | CkptkitError] = {}
    parts: set[Address] = set()
    for name in folder.names():
        path = folder.join(name)
        if _LEFT_OVER.search(name) or not name.lower().endswith(_endings()) or path.is_folder():
            continue
        try:
            here = locate_at(path)
            parts.update(file for file in here.files() if file != here.at)
        except CkptkitError as error:  # what is called like a checkpoint is one
            found[name.removesuffix(INDEX_SUFFIX)] = error
            continue
        if here.at.folder == folder:
            found[here.at.base] = here
    return {name: here for name, here in found.items() if folder.join(name) not in parts and not _PART.search(name)}


def _endings() -> tuple[str, ...]:
    """What names of files end in that are worth a look."""
    rows = registry.FORMATS
    return tuple(ending for row in rows for ending in (*row.endings, row.made_of.index) if ending)


def _skeleton(name: str) -> str:
    return _DIGITS.sub("#", name)


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """The first number in which the names differ, or the names where there is none."""
    if len({_skeleton(name) for name in names}) == 1:
        numbers = [_DIGITS.findall(name) for name in names]
        for column in zip(*numbers, strict=True):
            if len(set(column)) == len(names):
                return tuple(str(int(number)) for number in column)
    return tuple(names)
