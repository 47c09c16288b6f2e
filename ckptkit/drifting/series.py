"""The checkpoints of a run, in the order in which they were written."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import NotFoundError
from ckptkit.formats.names import base_name, is_folder, join, list_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGITS = re.compile(r"(\d+)")

# A bundle is named by its index; everything else by what its name ends in. Interrupted saves leave `X_temp_<hex>`.
_ENDINGS = (".index", ".h5", ".hdf5", ".keras", ".safetensors", ".npz", ".weights.json")
_LEFT_OVER = re.compile(r"_temp_[0-9a-f]{8,}")
_IN_FOLDER = ("saved_model.pb", "checkpoint")


@dataclass(frozen=True, slots=True)
class Series:
    """Checkpoints in order.

    Attributes:
        paths: as `formats.open_contents` takes them.
        labels: the number in which the names differ, or the names.
        notes: what was left out.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_series(paths: Sequence[str]) -> Series:
    """The checkpoints that `paths` name: themselves, or those in the one folder given.

    Names that differ in their numbers only are put in the order of these (`ckpt-2` before `ckpt-10`); other names keep
    the order in which they were given. In a folder the largest group of such names is the run, and the rest is said.

    Raises:
        NotFoundError: the folder holds no checkpoint.
    """
    if len(paths) != 1 or not is_folder(paths[0]):
        skeletons = {_skeleton(base_name(path)) for path in paths}
        ordered = sorted(paths, key=natural_key) if len(skeletons) == 1 else list(paths)
        return Series(tuple(ordered), _labels(ordered))
    folder = paths[0]
    names = _checkpoints_in(folder)
    if not names:
        raise NotFoundError("no checkpoints in this folder", path=paths[0], hint="Name the files, or their folder.")
    groups = Counter(_skeleton(name) for name in names)
    skeleton = max(groups, key=lambda group: (groups[group], group))
    chosen = sorted((name for name in names if _skeleton(name) == skeleton), key=natural_key)
    others = [name for name in names if _skeleton(name) != skeleton]
    notes = [f"left out, not of the numbered series: {', '.join(others)}"] if others else []
    return Series(tuple(join(folder, name) for name in chosen), _labels(chosen), tuple(notes))


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key by which `x-2` comes before `x-10`."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name) if part)


def _checkpoints_in(folder: str) -> list[str]:
    found = []
    for name in list_folder(folder):
        path = join(folder, name)
        if _LEFT_OVER.search(name):
            continue
        if name.endswith(_ENDINGS) and not is_folder(path):
            found.append(name.removesuffix(".index"))
        elif is_folder(path):
            inside = list_folder(path)
            if any(member in inside for member in _IN_FOLDER) or any(member.endswith(".index") for member in inside):
                found.append(name)
    return found


def _skeleton(name: str) -> str:
    return _DIGITS.sub("#", name)


def _labels(paths: Sequence[str]) -> tuple[str, ...]:
    """The first number in which the names differ, or the names where there is none."""
    names = [base_name(path) for path in paths]
    if len({_skeleton(name) for name in names}) == 1:
        numbers = [_DIGITS.findall(name) for name in names]
        for column in zip(*numbers, strict=True):
            if len(set(column)) == len(names):
                return tuple(str(int(number)) for number in column)
    return tuple(names)
