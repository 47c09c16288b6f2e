"""How `drift` shows a run: what stands out first, then everything else, each with its changes as a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.page import Cell, Column, Page, Styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.drifting import Drift, VariableDrift

_BARS = "▁▂▃▄▅▆▇█"
_NONE, _ZERO = "·", "─"
_WIDEST = 40  # columns of a line; longer runs are shown by the largest change in each span


def show(drift: Drift, page: Page) -> None:
    """Write the page."""
    frozen = [v for v in drift.variables if v.stands_out and v.verdict == "frozen" and not v.constant]
    partial = [v for v in drift.variables if v.stands_out and not all(v.present)]
    unread = [v for v in drift.variables if v.verdict == "unreadable"]
    verdict = Styled("DRIFT", "bold green") if drift.clean else Styled("FROZEN" if frozen else "INCOMPLETE", "bold red")
    found = [words.count(len(drift.checkpoints), "checkpoint"), f"{drift.labels[0]} … {drift.labels[-1]}"]
    found.append(words.count(len(drift.variables), "variable"))
    if frozen:
        found.append(f"{words.count(len(frozen), 'weight')} never moved")
    if partial:
        found.append(f"{words.count(len(partial), 'variable')} not in every checkpoint")
    if unread:
        found.append(f"{words.count(len(unread))} not readable")
    page.paragraph(verdict, "  " + " · ".join(found))
    columns = [Column(), Column(), Column(align="right"), Column(), Column(wrap=True)]
    order = sorted(drift.variables, key=lambda variable: (not variable.stands_out, variable.constant))
    scale = max((change for v in drift.variables if not v.constant for change in v.changes if change), default=0.0)
    page.table(columns, [_row(variable, drift, scale) for variable in order])
    for note in drift.notes:
        page.paragraph(Styled(note, "dim"))


def _row(variable: VariableDrift, drift: Drift, scale: float) -> list[Cell]:
    style = "red" if variable.stands_out else ("dim" if variable.constant else "")
    last = next((change for change in reversed(variable.changes) if change is not None), None)
    return [
        Styled(variable.verdict, style),
        sparkline(variable.changes, scale),
        "" if last is None else words.number(last),
        variable.name,
        Styled(remark(variable, drift), style),
    ]


def remark(variable: VariableDrift, drift: Drift) -> str:
    """What is to be said of a variable besides its changes."""
    remarks = []
    if variable.problem is not None:
        remarks.append(f"cannot be read: {variable.problem}")
    if variable.appears is not None:
        remarks.append(f"appears at {drift.labels[variable.appears]}")
    if variable.vanishes is not None:
        remarks.append(f"vanishes at {drift.labels[variable.vanishes]}")
    if variable.verdict == "frozen":
        if variable.constant:
            remarks.append("not expected to move")
        elif variable.kind != "weight":
            remarks.append(f"{variable.kind} that holds many values; a weight that was never trained?")
        elif variable.initial is not None:
            remarks.append(f"still at its initial value ({variable.initial}): never trained?")
        else:
            remarks.append("never trained?")
    return "; ".join(remarks)


def sparkline(changes: Sequence[float | None], scale: float) -> str:
    """One character for each change on a logarithmic scale below `scale`: `─` for none at all, `·` where unknown."""
    span = max(1, math.ceil(len(changes) / _WIDEST))
    parts = []
    for start in range(0, len(changes), span):
        known = [change for change in changes[start : start + span] if change is not None]
        parts.append(_bar(max(known), scale) if known else _NONE)
    return "".join(parts)


def _bar(change: float, scale: float) -> str:
    """Each step of the eight is a factor of about three; the lowest stands for everything below."""
    if change == 0:
        return _ZERO
    if not math.isfinite(change) or change >= scale:
        return _BARS[-1]
    step = len(_BARS) - 1 + math.floor(2 * math.log10(change / scale))
    return _BARS[max(0, step)]
