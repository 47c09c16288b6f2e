"""A page in a notebook: the same reports as on a terminal, as an HTML fragment that stands for itself.

No script, no link, no image; its style holds only inside it and takes the notebook's own text colour, so that it reads
in dark and light themes alike. Every text is escaped in `_shown`, here and nowhere else.
"""

from __future__ import annotations

from functools import partial
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from ckptkit.errors import printable
from ckptkit.report import words
from ckptkit.report.page import Cell, Column, Styled, style_of, text_of
from ckptkit.report.pages import shown_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What is beyond these is counted, so that a notebook with the page of a large checkpoint can still be opened and saved.
_MOST_ROWS = 200
_MOST_LINES = 200

# Colours of middle lightness, which stand out from white and from black. The class stands twice, to outweigh what Jupyter
# says of every table in an output.
_STYLE = """
.ckptkit {line-height: 1.4; overflow-x: auto}
.ckptkit.ckptkit p {margin: .2em 0}
.ckptkit.ckptkit table {border-collapse: collapse; margin: .5em 0 .5em 1em; font-size: inherit; color: inherit}
.ckptkit.ckptkit tr > * {border: 0; padding: .1em .8em .1em 0; text-align: left; vertical-align: top; max-width: 48em;
  font-family: var(--jp-code-font-family, ui-monospace, monospace); overflow-wrap: break-word; white-space: pre-wrap}
.ckptkit.ckptkit tr > .right {text-align: right; white-space: pre}
.ckptkit.ckptkit tr > .whole {white-space: pre}
.ckptkit .bold {font-weight: 600}
.ckptkit th, .ckptkit .dim {font-weight: 400; opacity: .7}
.ckptkit .red {color: #d9482b}
.ckptkit .green {color: #2e8b57}
.ckptkit .yellow {color: #b07d10}
.ckptkit .cyan {color: #2b86a3}
"""


def html(result: object) -> str:
    """The page of a result.

    Args:
        result: of a class in `report.pages`.
    """
    return _page(result).html()


def headline(result: object) -> str:
    """The first paragraph of the page, in one line of plain text."""
    return _page(result).headline()


def _page(result: object) -> NotebookPage:
    shown = shown_as(result)
    page = NotebookPage(shown.whole)
    shown.write_page(result, page)
    return page


class NotebookPage:
    """Collects a report; `attribute` of the result is said to have what the page leaves out."""

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._headline = ""
        self._pieces: list[str] = []
        self._left = 0

    def line(self, *cells: Cell) -> None:
        """One paragraph; an empty line is what its margins are for."""
        if cells:
            self._add("".join(map(_shown, cells)))

    def paragraph(self, *cells: Cell, indent: str = "") -> None:  # noqa: ARG002
        """One paragraph, with a space between cells."""
        if not self._headline:
            self._headline = " ".join(printable(text_of(cell)) for cell in cells)
        self._add(" ".join(map(_shown, cells)))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], indent: str = "") -> None:  # noqa: ARG002
        """A table of the first rows; the others are counted."""
        waiting = iter(rows)
        shown = ["".join(map(partial(_cell, "td"), columns, row)) for row in islice(waiting, _MOST_ROWS)]
        left = sum(1 for _ in waiting)
        lines = []
        if any(column.title for column in columns):
            titles = "".join(_cell('th scope="col"', column, column.title) for column in columns)
            lines.append(f"<thead><tr>{titles}</tr></thead>")
        lines += ["<tbody>", *(f"<tr>{row}</tr>" for row in shown), "</tbody>"]
        self._pieces.append("<table>{}</table>".format("\n".join(lines)))
        if left:
            self.line(Styled(f"… and {words.count(left, 'more row')} (.{self._attribute} has all)", "dim"))

    def advice(self, *, option: str, attribute: str) -> str:  # noqa: ARG002
        """The attribute: who reads this holds the result."""
        return attribute

    def html(self) -> str:
        """All of it."""
        if self._left:
            more = Styled(f"… and {words.count(self._left, 'more line')} (.{self._attribute} has all)", "dim")
            self._pieces.append(f"<p>{_shown(more)}</p>")
        return '<div class="ckptkit"><style>{}</style>\n{}\n</div>'.format(_STYLE, "\n".join(self._pieces))

    def headline(self) -> str:
        """The first paragraph as plain text."""
        return self._headline

    def _add(self, content: str) -> None:
        if len(self._pieces) < _MOST_LINES:
            self._pieces.append(f"<p>{content}</p>")
        else:
            self._left += 1


def _cell(tag: str, column: Column, cell: Cell) -> str:
    kinds = [] if tag.startswith("th") else column.style.split()
    kinds.append("right" if column.align == "right" else "" if column.wrap else "whole")
    name = tag.partition(" ")[0]
    return f'<{tag} class="{" ".join(filter(None, kinds))}">{_shown(cell)}</{name}>'


def _shown(cell: Cell) -> str:
    safe = escape(printable(text_of(cell)))
    style = style_of(cell)
    return f'<span class="{style}">{safe}</span>' if style else safe
