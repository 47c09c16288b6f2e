"""What a run's drift is: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ckptkit.display import Displayed

SCHEMA = "ckptkit.drift/1"

Verdict = Literal["moving", "frozen", "unreadable"]


@dataclass(frozen=True, slots=True)
class VariableDrift:
    """One variable along a run.

    Attributes:
        name: canonical.
        kind: as in `Variable.kind`; slots and metadata are not looked at.
        shape: its dimensions, in the last checkpoint that has it.
        dtype: its dtype there.
        present: for each checkpoint, whether it is there and can be read.
        changes: for each pair of neighbours the root mean square of the difference relative to that of the earlier
            value (1.0 where the earlier one is zero throughout and the later one is not); None where one of the two
            lacks it, or its shape changed.
        verdict: `frozen` when no pair of neighbours that have it differs in a bit, `unreadable` when there is no such pair
            for it cannot be read, or not often enough.
        constant: it is not expected to move: not a float, not trainable as the file says, or what is no weight and holds
            one value only. State of many values (an attribute called `states` may well be weights) is expected to.
        initial: the initialiser whose values a frozen variable still seems to hold (`zeros`, `glorot_uniform`).
        problem: why it cannot be read in some checkpoint, or None.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    present: tuple[bool, ...]
    changes: tuple[float | None, ...]
    verdict: Verdict
    constant: bool
    initial: str | None = None
    problem: str | None = None

    @property
    def stands_out(self) -> bool:
        """What should have moved and did not, or is not in every checkpoint.

        What is no weight and cannot be read (an iterator, a variant) does not.
        """
        if self.kind != "weight" and self.problem is not None:
            return False
        return (self.verdict == "frozen" and not self.constant) or not all(self.present)

    @property
    def appears(self) -> int | None:
        """Index of the first checkpoint that has it, where that is not the first of all."""
        if True not in self.present:
            return None
        first = self.present.index(True)
        return first or None

    @property
    def vanishes(self) -> int | None:
        """Index of the first checkpoint after the last that has it, where there is one."""
        if True not in self.present:
            return None
        gone = len(self.present) - self.present[::-1].index(True)
        return gone if gone < len(self.present) else None


@dataclass(frozen=True, slots=True)
class Drift(Displayed):
    """The outcome.

    Attributes:
        checkpoints: paths in order.
        labels: what tells them apart: their step where the names have one.
        variables: in the order of the last checkpoint that has them.
        notes: what was left out, and how the order was found.
    """

    checkpoints: tuple[str, ...]
    labels: tuple[str, ...]
    variables: tuple[VariableDrift, ...]
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every variable that should move does, and all are there from first to last."""
        return not any(variable.stands_out for variable in self.variables)

    def to_json(self) -> dict[str, Any]:
        """The object that `drift --json` prints."""
        return {
            "schema": SCHEMA,
            "clean": self.clean,
            "checkpoints": list(self.checkpoints),
            "steps": list(self.labels),
            "variables": [
                {
                    "name": variable.name,
                    "kind": variable.kind,
                    "shape": list(variable.shape),
                    "dtype": variable.dtype,
                    "changes": list(variable.changes),
                    "verdict": variable.verdict,
                    "constant": variable.constant,
                    "initial": variable.initial,
                    "present": list(variable.present),
                    "stands_out": variable.stands_out,
                    "problem": variable.problem,
                }
                for variable in self.variables
            ],
            "notes": list(self.notes),
        }
