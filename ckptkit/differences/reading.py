"""Reading the variables of two checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.compare import Comparison, Tolerance, Workspace, compare_tensors
from ckptkit.errors import FormatError
from ckptkit.model import CHUNK_BYTES, Checkpoint, Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Bytes that are looked at in each of three places of a tensor: one page, which a read costs anyhow.
_PIECE_BYTES = 4096

SKETCH_BYTES = 3 * _PIECE_BYTES


def readable(checkpoint: Checkpoint, names: Iterable[str]) -> list[Variable]:
    """The named variables.

    Raises:
        FormatError: the data of one of them cannot be read.
    """
    variables = [checkpoint.find(name) for name in names]
    for variable in variables:
        if variable.problem:
            raise FormatError(variable.problem, path=checkpoint.path, key=variable.key)
    return variables


def compare_variables(
    a: Checkpoint,
    one: Variable,
    b: Checkpoint,
    other: Variable,
    tolerance: Tolerance,
    work: Workspace,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare variable `one` of a with its reference `other` of b (see `compare_tensors`)."""
    return compare_tensors(a.source, one.stored, b.source, other.stored, tolerance, work, progress)


def sketch(checkpoint: Checkpoint, variable: Variable) -> bytes:
    """Bytes from three places of a tensor of numbers, or all of a small one; equal for equal tensors.

    They are not checked against a checksum: what a sketch suggests has still to be proven.
    """
    if variable.nbytes <= SKETCH_BYTES:
        places = [(0, variable.nbytes)]
    else:
        last = variable.nbytes - _PIECE_BYTES
        places = [(0, _PIECE_BYTES), (last // 2, _PIECE_BYTES), (last, _PIECE_BYTES)]
    seen = bytearray(sum(length for _, length in places))
    at = 0
    for offset, length in places:
        if length:
            checkpoint.source.read_into(variable.key, offset, memoryview(seen)[at : at + length])
        at += length
    return bytes(seen)


def check_readable(checkpoint: Checkpoint, names: Iterable[str]) -> None:
    """Read what is on one side only and does not count in the verdict: text, counters and other state.

    A file whose data is broken there is broken, and not the same as one that is whole. An unpaired weight is a
    difference as it is, and slots are as large as weights.

    Raises:
        CkptkitError: one cannot be read, or does not match its checksum.
    """
    buffer = memoryview(bytearray(CHUNK_BYTES))
    for variable in map(checkpoint.find, names):
        if variable.kind not in {"state", "metadata"}:
            continue
        if variable.problem:
            raise FormatError(variable.problem, path=checkpoint.path, key=variable.key)
        if variable.dtype == "string":
            checkpoint.source.read_strings(variable.key)
        else:
            for _ in checkpoint.source.stream(variable.key, buffer):
                pass
