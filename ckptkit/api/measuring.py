"""Measuring the values of variables, wherever an engine does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ckptkit import dtypes
from ckptkit.compare import (
    Examination,
    Examined,
    Range,
    Tensor,
    Workspace,
    cut,
    examine,
    examine_range,
    join_examined,
)
from ckptkit.engines import Told, Work
from ckptkit.errors import CkptkitError
from ckptkit.model import Checkpoint, TensorSpec, Variable


@dataclass(frozen=True, slots=True)
class Measured:
    """A variable, and the range of it that is meant; None for all."""

    variable: Variable
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        """Bytes to be read."""
        if self.part is None:
            return self.variable.nbytes
        return (self.part.stop - self.part.start) * dtypes.itemsize(self.variable.dtype)


@dataclass(frozen=True)
class MeasureWork(Work[Measured, Examination | Examined | CkptkitError, Examination | CkptkitError]):
    """Statistics and hashes of variables; an error in the place of one that cannot be read.

    Attributes:
        checkpoint: whose variables they are.
        stats: whether to measure the values.
        hashes: whether to take the SHA-256, which goes through a tensor in one go.
    """

    checkpoint: Checkpoint
    stats: bool
    hashes: bool

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def cut(self, task: Measured, grain: int) -> Sequence[Measured]:
        """See `Work.cut`."""
        if self.hashes:
            return (task,)
        return [replace(task, part=part) for part in cut([self._tensor(task)], grain)] or (task,)

    def part(self, task: Measured, bench: Workspace, told: Told) -> Examination | Examined | CkptkitError:
        """See `Work.part`."""
        tensor = self._tensor(task)
        try:
            if task.part is not None:
                return examine_range(tensor, task.part, bench, told)
            return examine(*tensor, statistics=self.stats, sha256=self.hashes, work=bench, progress=told)
        except CkptkitError as error:
            return error

    def merge(
        self, task: Measured, parts: Sequence[Examination | Examined | CkptkitError]
    ) -> Examination | CkptkitError:
        """See `Work.merge`."""
        ranges = []
        for part in parts:
            if not isinstance(part, Examined):
                return part
            ranges.append(part)
        try:
            return join_examined(self._tensor(task), ranges)
        except CkptkitError as error:
            return error

    def _tensor(self, task: Measured) -> Tensor:
        variable = task.variable
        return Tensor(self.checkpoint.source, TensorSpec(variable.key, variable.shape, variable.dtype))
