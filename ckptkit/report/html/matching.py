"""A match as a report: what has no partner and what came near, what fits in several ways, then the pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.grounds import tally
from ckptkit.report.html.cells import Text
from ckptkit.report.html.document import Document, Fact, Section, Verdict, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.matching.result import Match, Pair, Unmatched


def document(match: Match) -> Document:
    """The report."""
    open_ = [
        f"{words.count(len(found))} {what}"
        for found, what in (
            (match.missing, "missing"),
            (match.unexpected, "unexpected"),
            (match.ambiguous, "ambiguous"),
        )
        if found
    ]
    sentence = f"{words.count(len(match.pairs), 'pair')}{''.join(f', {each}' for each in open_)}."
    verdict = Verdict("COMPLETE", "good", sentence) if match.complete else Verdict("INCOMPLETE", "bad", sentence)
    grounds = tally(pair.evidence for pair in match.pairs) or f"by {match.by}"
    facts = [Fact(words.count(len(match.pairs)), "pairs", grounds)]
    if match.order_sources:
        facts.append(Fact(" and ".join(dict.fromkeys(match.order_sources)), "order of layers from"))
    sections = (
        _unmatched("missing", "Missing: the source has nothing for", match.missing),
        _unmatched("unexpected", "Unexpected: the target has nothing for", match.unexpected),
        listed(
            "ambiguous", "Ambiguous: they fit in more than one way", ("target", "source", "why"), match.ambiguous,
            lambda group: (_names(group.target), _names(group.source), Text(group.why)), "group", ".ambiguous has all",
        ),
        listed("pairs", "Pairs", ("target", "source", "because"), match.pairs, _pair, "pair", ".pairs has all"),
    )  # fmt: skip
    return Document("match", verdict, (), tuple(facts), tuple(section for section in sections if section.blocks))


def _unmatched(anchor: str, title: str, found: Sequence[Unmatched]) -> Section:
    def row(each: Unmatched) -> tuple[Text, Text]:
        near = "; ".join(f"near {candidate.name}: {candidate.why}" for candidate in each.nearest)
        return Text(each.name, name=True), Text(near)

    return listed(anchor, title, ("variable", "what came near"), found, row, "variable", f".{anchor} has all")


def _pair(pair: Pair) -> tuple[Text, Text, Text]:
    sources = " = ".join(" + ".join(group) for group in (pair.source, *pair.copies))
    return _names(pair.target), Text(sources, name=True), Text(" · ".join(pair.evidence))


def _names(names: Sequence[str]) -> Text:
    return Text(" + ".join(names), name=True)
