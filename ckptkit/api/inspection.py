"""What `ckptkit inspect` does."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.api.opening import Progress, open, select, silent  # noqa: A004
from ckptkit.doubts import doubts
from ckptkit.errors import CkptkitError
from ckptkit.model import Checkpoint, CheckpointSpec, TensorSpec, Variable

if TYPE_CHECKING:
    import os

    from ckptkit.compare import Examination, TensorStatistics


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        spec: the whole canonical map.
        variables: those that the filter lets through, in order.
        statistics: canonical name -> statistics, where asked for and readable.
        flags: canonical name -> what looks wrong with the values.
        hashes: canonical name -> SHA-256 in hexadecimal, where asked for and readable.
        problems: canonical name -> why the variable cannot be read.
    """

    spec: CheckpointSpec
    variables: tuple[Variable, ...]
    statistics: Mapping[str, TensorStatistics] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def inspect(
    path: str | os.PathLike[str],
    *,
    stats: bool = False,
    hashes: bool = False,
    filter: str | None = None,  # noqa: A002
    progress: Progress = silent,
) -> Inspection:
    """List what a checkpoint holds; with `stats` or `hashes`, read every tensor once in bounded memory.

    Args:
        path: as for `open`.
        stats: whether to measure each tensor's values.
        hashes: whether to take the SHA-256 of each tensor's little-endian bytes in C order.
        filter: a glob that a variable's name, key or layer has to match.
        progress: called while tensors are read.

    Raises:
        CkptkitError: the path cannot be read, or nothing matches `filter`.
    """
    with open(path) as checkpoint:
        variables = select(checkpoint.spec, filter)
        problems = {variable.name: variable.problem for variable in variables if variable.problem}
        statistics: dict[str, TensorStatistics] = {}
        flags: dict[str, tuple[str, ...]] = {}
        digests: dict[str, str] = {}
        if stats or hashes:
            readable = tuple(variable for variable in variables if not variable.problem)
            measured = _measure(checkpoint, readable, stats=stats, hashes=hashes, progress=progress)
            for variable, found in zip(readable, measured, strict=True):
                if isinstance(found, CkptkitError):
                    problems[variable.name] = str(found)
                    continue
                if found.statistics is not None:
                    statistics[variable.name] = found.statistics
                    flags[variable.name] = doubts(variable, found.statistics)
                if found.sha256 is not None:
                    digests[variable.name] = found.sha256
        return Inspection(checkpoint.spec, variables, statistics, flags, digests, problems)


def _measure(
    checkpoint: Checkpoint, variables: tuple[Variable, ...], *, stats: bool, hashes: bool, progress: Progress
) -> list[Examination | CkptkitError]:
    """One pass over each variable, on two threads; an error in the place of what cannot be read."""
    from ckptkit import compare

    total = sum(variable.nbytes for variable in variables)
    done = [0]
    lock = threading.Lock()

    def examine(variable: Variable, work: compare.Workspace) -> Examination | CkptkitError:
        spec = TensorSpec(variable.key, variable.shape, variable.dtype)
        found: Examination | CkptkitError
        try:
            found = compare.examine(checkpoint.source, spec, statistics=stats, sha256=hashes, work=work)
        except CkptkitError as error:
            found = error
        with lock:
            done[0] += variable.nbytes
            progress(done[0], total)
        return found

    return compare.run_tasks(variables, examine, cost=lambda variable: variable.nbytes)
