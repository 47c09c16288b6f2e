"""`drift` as a report: which variables of a run move, and which stand still."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.drift import remark
from ckptkit.report.html.cells import Badge, Cell, Curve, Number, Text, Tone
from ckptkit.report.html.document import JSON, Column, Document, Fact, Section, Verdict, listed
from ckptkit.report.html.drawing import WIDTH, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.drifting import Drift, VariableDrift

# Points of a line; longer runs are drawn by the largest change in each span.
_MOST_POINTS = 60


def document(drift: Drift) -> Document:
    """The report."""
    frozen = [v for v in drift.variables if v.stands_out and v.verdict == "frozen" and not v.constant]
    partial = [v for v in drift.variables if v.stands_out and not all(v.present)]
    moving = sum(v.verdict == "moving" for v in drift.variables)
    still = sum(v.constant for v in drift.variables)
    if drift.clean:
        verdict = Verdict("DRIFT", "good", "Every weight moves, and all are there from first to last.")
    else:
        said = [f"{words.count(len(frozen), 'weight')} never moved"] if frozen else []
        said += [f"{words.count(len(partial), 'variable')} not in every checkpoint"] if partial else []
        verdict = Verdict("FROZEN" if frozen else "INCOMPLETE", "bad", f"{', '.join(said)}.")
    facts = (
        Fact(words.count(len(drift.checkpoints)), "checkpoints", f"{drift.labels[0]} … {drift.labels[-1]}"),
        Fact(words.count(moving), "moving", "", "good" if moving else "calm"),
        Fact(words.count(len(frozen)), "frozen", "weights that should move", "bad" if frozen else "calm"),
        Fact(words.count(still), "constant", "not expected to move"),
    )
    section = _variables(drift)
    return Document(
        "drift",
        verdict,
        (("first", drift.checkpoints[0]), ("last", drift.checkpoints[-1])),
        facts,
        (section, _checkpoints(drift)) if section.blocks else (_checkpoints(drift),),
        tuple(("calm", note) for note in drift.notes),
    )


def _variables(drift: Drift) -> Section:
    ordered = sorted(drift.variables, key=lambda variable: (not variable.stands_out, variable.constant))
    scale = max(
        (each for v in drift.variables if not v.constant for each in v.changes if each and math.isfinite(each)),
        default=0.0,
    )
    columns = (
        "variable",
        "state",
        Column("changes", "From checkpoint to checkpoint, on a logarithmic scale of four decades", sortable=False),
        Column("largest", right=True),
        Column("last", right=True),
        "remarks",
    )
    intro = (
        "Change is the root mean square of the difference between neighbours relative to the earlier value. All lines have "
        "one scale; a dot on the ground is no change at all."
    )
    row = partial(_row, drift, scale)
    return listed("variables", "Variables", columns, ordered, row, "variable", JSON, intro)


def _row(drift: Drift, scale: float, variable: VariableDrift) -> tuple[Cell, ...]:
    known = [change for change in variable.changes if change is not None]
    tone: Tone = "bad" if variable.stands_out else ("calm" if variable.constant else "good")
    state = "constant" if variable.constant else variable.verdict
    order = 0.0 if variable.stands_out else (2.0 if variable.constant else 1.0)
    return (
        Text(variable.name, f"{words.shape(variable.shape)} {words.dtype(variable.dtype)}", name=True),
        Badge(state if all(variable.present) else f"{state}, incomplete", tone, order),
        _curve(variable.changes, scale),
        Number(words.number(max(known)), max(known)) if known else Number("", None),
        Number(words.number(known[-1]), known[-1]) if known else Number("", None),
        Text(remark(variable, drift)),
    )


def _curve(changes: Sequence[float | None], scale: float) -> Curve:
    span = max(1, math.ceil(len(changes) / _MOST_POINTS))
    points = []
    for start in range(0, len(changes), span):
        known = [change for change in changes[start : start + span] if change is not None]
        points.append(max(known) if known else None)
    drawn, still = line(points, scale)
    known = [change for change in changes if change is not None]
    if not known:
        return Curve((), WIDTH, "nothing known")
    told = "no change" if not any(known) else f"from {words.number(known[0])} to {words.number(known[-1])}"
    return Curve((("run", drawn), ("still", still)), WIDTH, told)


def _checkpoints(drift: Drift) -> Section:
    found = list(zip(drift.checkpoints, drift.labels, strict=True))
    return listed("checkpoints", "Checkpoints", ("path", "step"), found, _checkpoint, "checkpoint", JSON)


def _checkpoint(found: tuple[str, str]) -> tuple[Text, Text]:
    path, label = found
    return Text(path, name=True), Text(label)
