"""What an audit says: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ckptkit.display import Displayed

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "ckptkit.audit/1"

Severity = Literal["error", "warning", "info"]
FindingKind = Literal[
    "made-each-call",  # a new variable on every call: never trained, never saved
    "foreign",  # a layer of one framework inside another's container
    "untracked",  # the model runs with it and does not list it among its weights
    "lost",  # among the weights, and a saver does not bring it back
    "saver-fails",  # a saver raises, so that nothing at all is saved or restored
    "stale-trainable",  # `trainable` was changed after compile: the step still trains it
    "stale-optimizer",  # the optimizer was built before the variable was to be trained
    "untrained",  # trainable, used, and no gradient reaches it
    "merged",  # an adapter that a saver adds to what it adapts: the function comes back, the factors do not
    "orphan",  # among the weights, never used
    "shared",  # one layer several times in a chain
    "twins",  # equal layers on inputs of the same shape, each with weights of its own
    "not-in-checkpoint",  # the given checkpoint has no value for it
    "not-in-model",  # the given checkpoint holds it, and the model never asks for it
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured of one variable.

    Attributes:
        variable: its name in the framework's words.
        shape: its dimensions.
        dtype: its dtype.
        created_at: `file:line` of the user's code that made it, or None when it was made before anybody watched.
        method: the user's function there.
        made_by: what was called there (`tf.Variable`, `add_weight`, a layer's class), or None.
        held_at: the path from the model to it, or None when nothing holds it.
        in_weights: whether the model lists it among its weights.
        saved: saver -> whether a fresh model that loads its file has the value; None where it cannot write.
        in_file: saver -> whether the value is in the file; None where not known.
        trainable: whether it is meant to be trained.
        trained: whether training changes it; None where that could not be found out.
        used: whether a call reads it; None where that could not be found out.
        each_call: whether every call makes it anew.
        merged_by: the savers that bring it back as part of a sum: it has a low-rank adapter, or is a factor of one.
    """

    variable: str
    shape: tuple[int, ...]
    dtype: str
    created_at: str | None
    method: str | None
    made_by: str | None
    held_at: str | None
    in_weights: bool
    saved: Mapping[str, bool | None]
    in_file: Mapping[str, bool | None]
    trainable: bool
    trained: bool | None
    used: bool | None
    each_call: bool
    merged_by: tuple[str, ...] = ()

    @property
    def lost_by(self) -> tuple[str, ...]:
        """The savers that do not bring it back."""
        return tuple(saver for saver, kept in self.saved.items() if kept is False and saver not in self.merged_by)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing, with what to do about it.

    Attributes:
        kind: see `FindingKind`.
        severity: an `error` loses weights or training; a `warning` may; `info` is only said.
        facts: those of the variable, or None where it concerns the whole model or a file.
        message: what is the matter, one sentence.
        advice: what to change, one sentence.
        outputs_change: for `made-each-call`: whether two calls on the same input differ.
    """

    kind: FindingKind
    severity: Severity
    facts: Facts | None
    message: str
    advice: str
    outputs_change: bool | None = None
    subject: str | None = None
    """What it concerns where there are no facts: a layer, a saver, a key of the checkpoint."""

    def to_json(self) -> dict[str, Any]:
        """The finding as `audit --json` prints it."""
        facts = self.facts
        return {
            "kind": self.kind,
            "severity": self.severity,
            "variable": self.subject if facts is None else facts.variable,
            "shape": None if facts is None else list(facts.shape),
            "created_at": None if facts is None else facts.created_at,
            "made_by": None if facts is None else facts.made_by,
            "method": None if facts is None else facts.method,
            "held_at": None if facts is None else facts.held_at,
            "in_weights": None if facts is None else facts.in_weights,
            "saved": None if facts is None else dict(facts.saved),
            "in_file": None if facts is None else dict(facts.in_file),
            "trained": None if facts is None else facts.trained,
            "outputs_change": self.outputs_change,
            "message": self.message,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Audit(Displayed):
    """The result of an audit.

    Attributes:
        model: class name of the model.
        framework: `keras`, `tf_keras`, `sonnet`, `tf.Module` or `torch`.
        variables: the facts of every variable that the model has, makes or reads.
        findings: errors first.
        notes: what could not be measured, in words.
    """

    model: str
    framework: str
    variables: tuple[Facts, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that lose weights or training."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that may lose weights or training."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def clean(self) -> bool:
        """Whether there is no error; there may be warnings."""
        return not self.errors

    @property
    def verdict(self) -> str:
        """`errors`, `ok` where there are warnings only, or `clean`."""
        if self.errors:
            return "errors"
        return "ok" if self.warnings else "clean"

    def to_json(self) -> dict[str, Any]:
        """The object that `audit --json` prints."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "framework": self.framework,
            "clean": self.clean,
            "verdict": self.verdict,
            "findings": [finding.to_json() for finding in self.findings],
            "totals": {
                "variables": len(self.variables),
                "errors": len(self.errors),
                "warnings": len(self.warnings),
            },
            "notes": list(self.notes),
        }
