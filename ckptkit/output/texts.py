"""Texts that are written beside what a command prints: reports, plans."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.formats.locate import locate
from ckptkit.formats.registry import FILE
from ckptkit.output.check import check_output
from ckptkit.output.placing import staged
from ckptkit.output.writing import files_of
from ckptkit.storage.address import address

if TYPE_CHECKING:
    from ckptkit.storage.address import Address


def staged_output(path: str, *, force: bool, inputs: Sequence[str]) -> AbstractContextManager[str]:
    """A place to write a text output to, which becomes `path` when the block ends well; see `output.placing`."""
    return staged(address(path), force=force, inputs=[file for typed in inputs for file in _files(typed)])


def _files(typed: str) -> list[Address]:
    found = [address(typed)]
    with suppress(CkptkitError):  # a plan, or what another step will complain of
        found += files_of(locate(typed))
    return found


def check_text_output(path: str) -> None:
    """Raise unless a text could be written to `path`, in the place of a file if there is one."""
    output = address(path)
    if output.store.distant:
        from ckptkit.output.in_store import check_in_store

        check_in_store(output, force=True, inputs=(), made_of=FILE)
    else:
        check_output(output, force=True, inputs=(), made_of=FILE)
