"""How `convert` says what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.page import Page

if TYPE_CHECKING:
    from ckptkit.api.convert import Converted


def show(converted: Converted, page: Page) -> None:
    """Write the page."""
    count = words.count(converted.variables, "variable")
    page.paragraph(f"{converted.output}: {count} as {converted.format}, read back and equal")
    for note in converted.notes:
        page.paragraph(f"note: {note}")
    if converted.left:
        page.paragraph(f"left behind, as it belongs to the old container: {words.listing(converted.left)}")
    if converted.assets:
        page.paragraph(f"left behind, as {converted.format} holds tensors alone: {words.listing(converted.assets)}")
