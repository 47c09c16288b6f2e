"""A plan from a file or another text."""

from __future__ import annotations

import os
from dataclasses import replace

from ckptkit.api.proposal import Proposal
from ckptkit.errors import UsageError
from ckptkit.plans import parse_plan

Path = str | os.PathLike[str]

# A plan is text that people edit; one of a million variables stays below this.
LARGEST_PLAN = 1 << 30


def read_plan(path: Path, source: Path | None = None, like: Path | None = None) -> Proposal:
    """A plan from a file, for the paths in it unless others are named.

    Raises:
        UsageError: it is no plan, or does not fit the files.
    """
    from ckptkit.storage.address import address
    from ckptkit.storage.bytes import read

    storage = address(path).open()
    try:
        check_plan_size(storage.size, path)
        text = bytes(read(storage, 0, storage.size))
    finally:
        storage.close()
    return parse_proposal(text, path, source, like)


def check_plan_size(size: int, path: Path) -> None:
    """Raise `UsageError` when `size` bytes at `path` are more than any plan has."""
    if size > LARGEST_PLAN:
        raise UsageError("too large for a plan", path=path, expected=f"at most {LARGEST_PLAN} bytes", found=size)


def parse_proposal(text: bytes, path: Path, source: Path | None = None, like: Path | None = None) -> Proposal:
    """The plan that `text` holds, which came from `path`; otherwise as `read_plan`.

    Raises:
        UsageError: it is no plan, or does not fit the files.
    """
    try:
        found = parse_plan(text)
    except UsageError as error:
        raise UsageError(
            error.problem, path=path, key=error.key, expected=error.expected, found=error.found, hint=error.hint
        ) from error
    return Proposal(
        replace(found, source=str(source or found.source), target=str(like or found.target)), from_file=True
    )
