"""`convert` as a report: what was carried over, and what has no place in the new container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.html.document import Document, Fact, Verdict, names_of

if TYPE_CHECKING:
    from ckptkit.api.convert import Converted


def document(converted: Converted) -> Document:
    """The report."""
    left = (*converted.left, *converted.assets)
    verdict = Verdict(
        "CONVERTED", "warn" if left else "good", f"{words.count(converted.variables, 'variable')}, read back and equal."
    )
    sections = (
        names_of("left", "Left behind, as it belongs to the old container", converted.left, "variable"),
        names_of("assets", f"Left behind, as {converted.format} holds tensors alone", converted.assets, "asset"),
    )
    return Document(
        "convert",
        verdict,
        (("source", converted.source), ("output", converted.output)),
        (Fact(converted.format, "format"), Fact(words.count(len(left)), "left behind")),
        tuple(section for section in sections if section.blocks),
        tuple(("calm", note) for note in converted.notes),
    )
