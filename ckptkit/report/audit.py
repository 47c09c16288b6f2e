"""How `audit` shows what a model loses: the verdict, each finding with its evidence and its fix, then the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.page import Cell, Page, Styled

if TYPE_CHECKING:
    from ckptkit.auditing.findings import Audit, Facts, Finding

_MARKS = {True: "✓", False: "✗", None: "–"}
_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}
_MOST_NAMES = 4


def show(audit: Audit, page: Page) -> None:
    """Write the page."""
    errors = len(audit.errors)
    warnings = len(audit.warnings)
    if errors:
        page.paragraph(
            Styled(words.count(errors, "ERROR", "ERRORS"), "bold red"),
            f"  {audit.model} loses weights{_also(warnings)}",
        )
    elif warnings:
        verdict = f"OK, {words.count(warnings, 'warning')}"
        page.paragraph(Styled(verdict, "bold yellow"), f"  {audit.model} loses no weights")
    else:
        page.paragraph(Styled("CLEAN", "bold green"), f"  {audit.model} loses no weights")
    for group in grouped(audit.findings):
        page.line()
        _show_group(group, page)
    if audit.variables:
        page.line()
        page.paragraph(_rest(audit))
    for note in audit.notes:
        page.paragraph(Styled(f"note: {note}", "dim"))


def _also(warnings: int) -> str:
    return f", {words.count(warnings, 'warning')}" if warnings else ""


def grouped(findings: tuple[Finding, ...]) -> list[list[Finding]]:
    """Findings that one change of the code mends stand together: of one kind, made at one place, with one advice."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        facts = finding.facts
        key: tuple[object, ...] = (finding.kind, finding.severity, finding.advice)
        if facts is None:
            key = (*key, finding.message)
        else:
            key = (*key, facts.created_at, facts.in_weights, facts.trained, tuple(facts.saved.items()))
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def _show_group(group: list[Finding], page: Page) -> None:
    first = group[0]
    severity: Cell = Styled(f"{first.severity}: {first.kind}", f"bold {_STYLES[first.severity]}")
    if first.facts is None:
        page.paragraph("  ", severity, f"  {first.message}", indent="     ")
    else:
        names = [f"{name_of(f.facts)} {words.shape(f.facts.shape)}" for f in group if f.facts is not None]
        page.paragraph("  ", severity, f"  {words.listing(names, _MOST_NAMES)}{_made(first.facts)}", indent="     ")
        page.paragraph(f"     {_marks(first)}", indent="     ")
    page.paragraph(f"     {first.advice}", indent="     ")


def name_of(facts: Facts) -> str:
    """The path by which the model holds a variable, or its own name."""
    return (facts.held_at or facts.variable).removeprefix("model.")


def _made(facts: Facts) -> str:
    if facts.created_at is None:
        return ""
    where = f" in {facts.method}()" if facts.method and not facts.method.startswith("<") else ""
    return f"   made at {facts.created_at} by {facts.made_by}{where}" + (
        ", anew on every call" if facts.each_call else ""
    )


def _marks(finding: Finding) -> str:
    facts = finding.facts
    if facts is None:
        return ""
    marks = [f"in weights {_MARKS[facts.in_weights]}", f"trained {_MARKS[facts.trained]}"]
    marks += [f"{_saver(saver)} {_MARKS[kept]}" for saver, kept in facts.saved.items() if kept is not None]
    if finding.outputs_change:
        marks.append("outputs change from call to call")
    return "   ".join(marks)


def _saver(saver: str) -> str:
    return saver if saver in ("checkpoint", "state_dict") else f".{saver}"


def _rest(audit: Audit) -> str:
    touched = {id(finding.facts) for finding in audit.findings if finding.facts is not None}
    rest = [facts for facts in audit.variables if id(facts) not in touched]
    if not rest:
        return "No other variables."
    trained = sum(bool(facts.trained) for facts in rest)
    other = "other " if touched else ""
    noun = "variable is" if len(rest) == 1 else "variables are"
    return f"{len(rest):,} {other}{noun} tracked, saved and restored; {trained:,} of them trained."
