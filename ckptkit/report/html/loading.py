"""What a model was given, as a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.html.cells import Text
from ckptkit.report.html.document import Document, Fact, Verdict, listed, names_of

if TYPE_CHECKING:
    from ckptkit.api.load_into import Loaded


def document(loaded: Loaded) -> Document:
    """The report."""
    sections = (
        names_of("kept", "Kept: variables of the model that keep their value", loaded.kept, "variable"),
        names_of("left", "Left behind: weights that the model has no place for", loaded.left, "variable"),
        listed("loaded", "Loaded", ("model", "checkpoint"), loaded.loaded, _row, "variable", ".loaded has all"),
    )
    count = words.count(len(loaded.loaded), "variable")
    return Document(
        "load_into",
        Verdict("LOADED", "warn" if loaded.left else "good", f"{count}, by {loaded.loaded_by}."),
        (),
        (Fact(words.count(len(loaded.kept)), "kept"), Fact(words.count(len(loaded.left)), "left behind")),
        tuple(section for section in sections if section.blocks),
    )


def _row(pair: tuple[str, tuple[str, ...]]) -> tuple[Text, Text]:
    target, source = pair
    return Text(target, name=True), Text(" + ".join(source), name=True)
