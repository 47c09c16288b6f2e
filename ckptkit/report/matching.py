"""How a match is shown: counts, the pairs with what they rest on, then what has no partner and what came near."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.grounds import tally
from ckptkit.report.page import Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.matching.result import Match, Unmatched


def show(match: Match, page: Page) -> None:
    """Write the page."""
    verdict = Styled("COMPLETE", "bold green") if match.complete else Styled("INCOMPLETE", "bold red")
    grounds = tally(pair.evidence for pair in match.pairs)
    facts = [
        words.count(len(match.pairs), "pair"),
        f"{words.count(len(match.missing))} missing",
        f"{words.count(len(match.unexpected))} unexpected",
        f"{words.count(len(match.ambiguous))} ambiguous",
        grounds if match.by == "auto" and grounds else f"by {match.by}",
    ]
    if match.order_sources:
        facts.append(f"order: {match.order_sources[0]} and {match.order_sources[1]}")
    page.paragraph(verdict, "  " + " · ".join(facts))
    _unmatched(page, "missing: the source has nothing for", match.missing)
    _unmatched(page, "unexpected: the target has nothing for", match.unexpected)
    if match.ambiguous:
        page.line()
        page.line(Styled("ambiguous:", "yellow"), " not paired, because they fit in more than one way")
        page.table(
            (Column(wrap=True), Column(), Column(wrap=True), Column(style="dim", wrap=True)),
            (
                (words.listing(group.target), "↔", words.listing(group.source), group.why)
                for group in match.ambiguous
            ),
        )  # fmt: skip
    if match.pairs:
        page.line()
        page.table(
            (
                Column("target", style="bold", wrap=True),
                Column(""),
                Column("source", wrap=True),
                Column("because", style="dim", wrap=True),
            ),
            (
                (
                    " + ".join(pair.target),
                    "←",
                    " = ".join(" + ".join(group) for group in (pair.source, *pair.copies)),
                    " · ".join(pair.evidence),
                )
                for pair in match.pairs
            ),
        )


def _unmatched(page: Page, title: str, found: tuple[Unmatched, ...]) -> None:
    if not found:
        return
    page.line()
    page.line(Styled(title, "yellow"))
    page.table(
        (Column(style="bold", wrap=True), Column(style="dim", wrap=True)),
        (
            (each.name, "; ".join(f"near {candidate.name}: {candidate.why}" for candidate in each.nearest[:1]))
            for each in found
        ),
    )
