"""What became of a model's variables that a checkpoint was loaded into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.page import Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.api.load_into import Loaded


def show(loaded: Loaded, page: Page) -> None:
    """Write the page."""
    page.paragraph(Styled("LOADED", "bold green"), "  " + " · ".join(facts_of(loaded)))
    for title, names in (("keeps its value:", loaded.kept), ("left behind:", loaded.left)):
        if names:
            page.paragraph(Styled(title, "yellow"), words.listing(names, 8))
    if loaded.loaded:
        page.line()
        columns = Column("model", style="bold", wrap=True), Column(""), Column("checkpoint", wrap=True)
        page.table(columns, ((target, "←", " + ".join(source)) for target, source in loaded.loaded))


def facts_of(loaded: Loaded) -> list[str]:
    """How many were loaded, by whom, and how many were not."""
    return [
        words.count(len(loaded.loaded), "variable"),
        f"{words.count(len(loaded.kept))} kept",
        f"{words.count(len(loaded.left))} left behind",
        f"by {loaded.loaded_by}",
    ]
