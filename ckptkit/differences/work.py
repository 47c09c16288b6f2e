"""Reading variables of two checkpoints, wherever an engine does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ckptkit import dtypes
from ckptkit.compare import (
    Comparison,
    Printed,
    Range,
    RangeComparison,
    Tensor,
    Tolerance,
    Workspace,
    compare_range,
    compare_tensors,
    cut,
    fingerprint,
    fingerprint_range,
    join_compared,
    join_printed,
)
from ckptkit.differences.reading import SKETCH_BYTES, sketch
from ckptkit.engines import Told, Work
from ckptkit.model import Checkpoint, Fingerprint, Variable


def tensor_of(checkpoint: Checkpoint, variable: Variable) -> Tensor:
    """A variable as its source knows it."""
    return Tensor(checkpoint.source, variable.stored)


def cost_of(part: Range | None, *variables: Variable) -> int:
    """Bytes of the variables together, or of a range of each."""
    if part is None:
        return sum([variable.nbytes for variable in variables])
    return (part.stop - part.start) * sum(dtypes.itemsize(variable.dtype) for variable in variables)


@dataclass(frozen=True, slots=True)
class Both:
    """A variable of a, one of b, and the range of them that is meant; None for all."""

    one: Variable
    other: Variable
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        """Bytes to be read."""
        return cost_of(self.part, self.one, self.other)


@dataclass(frozen=True, slots=True)
class One:
    """A variable of either side, and the range of it that is meant; None for all."""

    side: Literal[0, 1]
    variable: Variable
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        """Bytes to be read."""
        return cost_of(self.part, self.variable)

    @property
    def sketch_bytes(self) -> int:
        """Bytes of its sketch."""
        return min(self.variable.nbytes, SKETCH_BYTES)


@dataclass(frozen=True)
class EqualityWork(Work[Both, Comparison | RangeComparison, Comparison]):
    """Comparing variables bit for bit."""

    a: Checkpoint
    b: Checkpoint

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def cut(self, task: Both, grain: int) -> Sequence[Both]:
        """See `Work.cut`."""
        return [replace(task, part=part) for part in cut(self._tensors(task), grain)] or [task]

    def part(self, task: Both, bench: Workspace, told: Told) -> Comparison | RangeComparison:
        """See `Work.part`."""
        a, b = self._tensors(task)
        if task.part is None:
            return compare_tensors(*a, *b, Tolerance(), bench, told)
        return compare_range(a, b, task.part, Tolerance(), bench, told)

    def merge(self, task: Both, parts: Sequence[Comparison | RangeComparison]) -> Comparison:
        """See `Work.merge`."""
        ranges = [part for part in parts if isinstance(part, RangeComparison)]
        whole = [part for part in parts if isinstance(part, Comparison)]
        return whole[0] if whole else join_compared(*self._tensors(task), ranges)

    def _tensors(self, task: Both) -> tuple[Tensor, Tensor]:
        return tensor_of(self.a, task.one), tensor_of(self.b, task.other)


@dataclass(frozen=True)
class FingerprintWork(Work[One, Fingerprint | Printed, Fingerprint]):
    """Fingerprinting variables."""

    a: Checkpoint
    b: Checkpoint

    def bench(self) -> Workspace:
        """See `Work.bench`."""
        return Workspace()

    def cut(self, task: One, grain: int) -> Sequence[One]:
        """See `Work.cut`."""
        return [replace(task, part=part) for part in cut([self._tensor(task)], grain)] or [task]

    def part(self, task: One, bench: Workspace, told: Told) -> Fingerprint | Printed:
        """See `Work.part`."""
        tensor = self._tensor(task)
        if task.part is None:
            return fingerprint(*tensor, bench, told)
        return fingerprint_range(tensor, task.part, bench, told)

    def merge(self, task: One, parts: Sequence[Fingerprint | Printed]) -> Fingerprint:
        """See `Work.merge`."""
        ranges = [part for part in parts if isinstance(part, Printed)]
        whole = [part for part in parts if isinstance(part, Fingerprint)]
        return whole[0] if whole else join_printed(self._tensor(task), ranges)

    def _tensor(self, task: One) -> Tensor:
        return tensor_of((self.a, self.b)[task.side], task.variable)


@dataclass(frozen=True)
class SketchWork(Work[One, bytes, bytes]):
    """Looking at a few bytes of each variable."""

    a: Checkpoint
    b: Checkpoint

    def part(self, task: One, bench: None, told: Told) -> bytes:  # noqa: ARG002 - too little to be told of
        """See `Work.part`."""
        return sketch((self.a, self.b)[task.side], task.variable)

    def merge(self, task: One, parts: Sequence[bytes]) -> bytes:  # noqa: ARG002
        """See `Work.merge`."""
        return parts[0]
