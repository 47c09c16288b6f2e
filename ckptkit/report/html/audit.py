"""`audit` as a report: what a model loses, the line that made it, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.audit import grouped, name_of
from ckptkit.report.html.cells import Badge, Cell, Mark, Text, Tone
from ckptkit.report.html.document import (
    JSON,
    MOST_ROWS,
    Card,
    Cards,
    Column,
    Document,
    Fact,
    Section,
    Table,
    Verdict,
    more,
)

if TYPE_CHECKING:
    from ckptkit.auditing.findings import Audit, Facts, Finding

_TONES: dict[str, Tone] = {"error": "bad", "warning": "warn", "info": "calm"}
_SIGNS = {"error": "✗", "warning": "!", "info": "i"}

_MOST_NAMES = 12


def document(audit: Audit) -> Document:
    """The report."""
    warnings = len(audit.warnings)
    also = f"; {words.count(warnings, 'warning')}" if warnings else ""
    if audit.clean and warnings:
        verdict = Verdict(f"OK, {words.count(warnings, 'warning')}", "warn", f"{audit.model} loses no weights.")
    elif audit.clean:
        verdict = Verdict("CLEAN", "good", f"{audit.model} loses no weights.")
    else:
        count = words.count(len(audit.errors), "ERROR", "ERRORS")
        verdict = Verdict(count, "bad", f"{audit.model} loses weights{also}.")
    sections = (_findings(audit), _matrix(audit))
    return Document(
        "audit",
        verdict,
        (("model", audit.model), ("framework", audit.framework)),
        tuple(_facts(audit, warnings)),
        tuple(section for section in sections if section.blocks),
        tuple(("calm", note) for note in audit.notes),
    )


def _facts(audit: Audit, warnings: int) -> list[Fact]:
    touched = {id(finding.facts) for finding in audit.findings if finding.facts is not None}
    sound = sum(id(facts) not in touched for facts in audit.variables)
    return [
        Fact(words.count(len(audit.errors)), "errors", "weights or training lost", "bad" if audit.errors else "calm"),
        Fact(words.count(warnings), "warnings", "", "warn" if warnings else "calm"),
        Fact(words.count(len(audit.variables)), "variables looked at"),
        Fact(words.count(sound), "without a finding"),
    ]


def _findings(audit: Audit) -> Section:
    groups = grouped(audit.findings)
    cards = tuple(map(_card, groups[:MOST_ROWS]))
    left = more(len(groups) - len(cards), "finding", JSON)
    return Section("findings", "Findings", (Cards(cards, left),) if cards else ())


def _card(group: list[Finding]) -> Card:
    first = group[0]
    badge = Badge(f"{_SIGNS[first.severity]} {first.severity}", _TONES[first.severity])
    facts = first.facts
    if facts is None:
        return Card(badge, first.kind, (), "", (), first.message, first.advice)
    names = [(name_of(each.facts), words.shape(each.facts.shape)) for each in group if each.facts is not None]
    if len(names) > _MOST_NAMES:
        names = [*names[:_MOST_NAMES], (f"and {len(names) - _MOST_NAMES:,} more", "")]
    marks = list(_marks(facts))
    message = first.message if len(group) == 1 else ""
    if first.outputs_change:
        message = f"{message} Outputs change from call to call.".strip()
    return Card(badge, first.kind, tuple(names), _where(facts), tuple(marks), message, first.advice)


def _where(facts: Facts) -> str:
    if facts.created_at is None:
        return ""
    inside = f" in {facts.method}()" if facts.method and not facts.method.startswith("<") else ""
    again = ", anew on every call" if facts.each_call else ""
    return f"{facts.created_at} · {facts.made_by or 'made'}{inside}{again}"


def _marks(facts: Facts) -> tuple[Mark, ...]:
    return (
        Mark(facts.in_weights, "in weights"),
        Mark(facts.trained, "trained"),
        *(Mark(kept, saver if saver == "checkpoint" else f".{saver}") for saver, kept in facts.saved.items()),
    )


def _matrix(audit: Audit) -> Section:
    if not audit.variables:
        return Section("variables", "Variables", ())
    found = {id(finding.facts): place for place, finding in reversed(list(enumerate(audit.findings)))}
    ordered = sorted(audit.variables, key=lambda facts: found.get(id(facts), len(audit.findings)))
    shown = ordered[:MOST_ROWS]
    titles = [mark.what for mark in _marks(shown[0])]
    columns = (Column("variable"), Column("made at"), *(Column(title) for title in titles))
    rows: list[tuple[Cell, ...]] = []
    for facts in shown:
        marks = {mark.what: mark for mark in _marks(facts)}
        rows.append(
            (
                Text(name_of(facts), f"{words.shape(facts.shape)} {words.dtype(facts.dtype)}", name=True),
                Text(facts.created_at or "", facts.made_by or ""),
                *(marks.get(title, Mark(None, title)) for title in titles),
            )
        )
    table = Table(columns, tuple(rows), "variables", more(len(ordered) - len(shown), "variable", JSON))
    intro = (
        "Where each variable is: among the model's weights, changed by training, brought back by each saver. "
        "– means not known, or that saver cannot write this model."
    )
    return Section("variables", "Variables", (table,), intro)
