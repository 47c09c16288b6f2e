"""Which files of a folder are a distributed checkpoint's, and whether writing it was finished."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.storage.address import Address

METADATA = ".metadata"
_DATA = ".distcp"
_OF_A_RANK = re.compile(r"__([0-9]{1,9})\.metadata")
"""What each rank writes for itself where they do not talk to each other (`use_collectives=False`)."""


def is_of_one(name: str) -> bool:
    """Whether a file of this name is a part of a distributed checkpoint, which is the folder."""
    return name == METADATA or name.endswith(_DATA)


def metadata_of(at: Address) -> list[Address]:
    """The files of metadata that are read of the checkpoint `at`: a folder, or what one rank wrote.

    Raises:
        FormatError: there is none.
    """
    if at.base.endswith(METADATA):
        return [at]
    names = at.names()
    found = [METADATA] if METADATA in names else ranks_in(names)
    if not found:
        raise unfinished(at, names)
    return [at.join(name) for name in found]


def ranks_in(names: Iterable[str]) -> list[str]:
    """Files of metadata of single ranks, in order."""
    return sorted(filter(_OF_A_RANK.fullmatch, names), key=lambda name: int(name[2 : -len(METADATA)]))


def find(folder: Address, names: Iterable[str]) -> bool:
    """Whether a folder that holds `names` is a distributed checkpoint.

    Raises:
        FormatError: it is one without what says where is what.
    """
    found = list(names)
    if METADATA in found:
        return True
    if not any(name.endswith(_DATA) for name in found):
        return False
    if ranks_in(found):
        return True
    raise unfinished(folder, found)


def unfinished(folder: Address, names: Iterable[str]) -> FormatError:
    """The error for a folder without metadata."""
    left = [name for name in names if name.endswith((f"{METADATA}.tmp", _DATA))]
    return FormatError(
        "a distributed checkpoint whose writing was not finished", path=folder, expected=METADATA,
        found=", ".join(sorted(left, key=lambda name: name.endswith(_DATA))[:3]) or None,
        hint="It is written last; without it nobody knows what is where in the data.",
    )  # fmt: skip
