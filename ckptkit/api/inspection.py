"""What `ckptkit inspect` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.api.opening import Counter, Progress, select, silent
from ckptkit.api.reopening import open_for
from ckptkit.display import Displayed
from ckptkit.doubts import doubts
from ckptkit.engines import THREADS, Engine, open_engine
from ckptkit.errors import CkptkitError
from ckptkit.model import Checkpoint, CheckpointSpec, Variable

if TYPE_CHECKING:
    import os

    from ckptkit.compare import Examination, TensorStatistics


@dataclass(frozen=True, slots=True)
class Inspection(Displayed):
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
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Inspection:
    """List what a checkpoint holds; with `stats` or `hashes`, read every tensor once in bounded memory.

    Args:
        path: as for `open`.
        stats: whether to measure each tensor's values.
        hashes: whether to take the SHA-256 of each tensor's little-endian bytes in C order.
        filter: a glob that a variable's name, key or layer has to match.
        engine: who reads tensors (see `ckptkit.engines.open_engine`); threads of this process for None.
        progress: called while tensors are read.

    Raises:
        CkptkitError: the path cannot be read, or nothing matches `filter`.
    """
    with open_engine(engine) as workers, open_for(workers, path) as checkpoint:
        variables = select(checkpoint.spec, filter)
        problems = {variable.name: variable.problem for variable in variables if variable.problem}
        statistics: dict[str, TensorStatistics] = {}
        flags: dict[str, tuple[str, ...]] = {}
        digests: dict[str, str] = {}
        if stats or hashes:
            readable = tuple(variable for variable in variables if not variable.problem)
            measured = measure(checkpoint, readable, stats=stats, hashes=hashes, engine=workers, progress=progress)
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


def measure(
    checkpoint: Checkpoint,
    variables: Sequence[Variable],
    *,
    stats: bool,
    hashes: bool,
    engine: Engine = THREADS,
    progress: Progress = silent,
) -> list[Examination | CkptkitError]:
    """One pass over each variable; an error in the place of what cannot be read."""
    from ckptkit.api.measuring import Measured, MeasureWork

    counter = Counter(progress, sum(variable.nbytes for variable in variables))
    work = MeasureWork(checkpoint, stats, hashes)
    tasks = [Measured(variable) for variable in variables]
    return engine.run(tasks, work, cost=lambda task: task.nbytes, progress=counter)
