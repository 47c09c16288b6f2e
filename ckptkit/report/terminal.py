"""A page of lines and columns on a terminal, in a pipe or in a file.

Every text passes through `errors.printable` on its way out, here and nowhere else: names from files are data, and
neither control sequences nor markup in them ever reach a terminal. `rich` tells what the terminal can show (width,
colours, NO_COLOR) and how wide characters are; laying out is done here because a listing of 100,000 rows has to come in
seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import IO, TYPE_CHECKING

from rich.cells import cell_len

from ckptkit.errors import printable
from ckptkit.report.page import Cell, Column, Styled, style_of, text_of

if TYPE_CHECKING:
    from rich.color import ColorSystem
    from rich.style import Style

# In a pipe nothing is wrapped: a line is a record there, and `grep` should find it whole.
_UNWRAPPED = 1 << 20
_NARROWEST = 12  # columns below which wrapping a cell no longer helps anybody
_GAP = "  "


class TerminalPage:
    """Writes lines and tables to a text stream."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours: ColorSystem | None = None
        self.width = _UNWRAPPED
        if self._stream.isatty() or os.environ.get("FORCE_COLOR"):
            from rich.console import Console  # a tenth of the time that listing a small file into a pipe takes

            console = Console(file=self._stream, highlight=False)
            if console.is_terminal:
                self._colours = None if console.no_color else console._color_system
                self.width = console.width

    def line(self, *cells: Cell) -> None:
        """One line made of `cells`, as long as they are."""
        self._stream.write("".join(self._shown(cell) for cell in cells) + "\n")

    def paragraph(self, *cells: Cell, indent: str = "  ") -> None:
        """Text broken at spaces to the page's width; lines after the first begin with `indent`."""
        words = [Styled(word, style_of(cell)) for cell in cells for word in printable(text_of(cell)).split(" ")]
        line: list[Cell] = []
        used = 0
        for word in words:
            wide = cell_len(word.text)
            if line and used + 1 + wide > self.width:
                self.line(*line)
                line, used = [indent], len(indent) - 1
            elif line:
                line.append(" ")
            line.append(word)
            used += wide + (1 if used else 0)
        self.line(*line)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], indent: str = "  ") -> None:
        """Aligned columns; a wide table is made to fit by wrapping the columns that allow it."""
        table = [[_clean(cell) for cell in row] for row in rows]
        if any(column.title for column in columns):
            table.insert(0, [Styled(column.title, "dim") for column in columns])
        widths = [max((cell_len(text_of(row[i])) for row in table), default=0) for i in range(len(columns))]
        self._fit(columns, widths, len(indent))
        for row in table:
            for line in self._lines(columns, widths, row):
                self._stream.write((indent + line).rstrip() + "\n")

    def advice(self, *, option: str, attribute: str) -> str:  # noqa: ARG002
        """The option: who reads this typed a command."""
        return option

    def _fit(self, columns: Sequence[Column], widths: list[int], indent: int) -> None:
        """Narrow the columns that wrap until the table fits, the widest first."""
        flexible = [i for i, column in enumerate(columns) if column.wrap]
        excess = indent + sum(widths) + len(_GAP) * (len(widths) - 1) - self.width
        while excess > 0 and flexible:
            widest = max(flexible, key=widths.__getitem__)
            cut = min(excess, widths[widest] - _NARROWEST)
            if cut <= 0:
                return
            # Down to the next widest at most, so that several share the loss.
            others = [widths[i] for i in flexible if i != widest and widths[i] < widths[widest]]
            if others and len(flexible) > 1:
                cut = min(cut, max(1, widths[widest] - max(others)))
            widths[widest] -= cut
            excess -= cut

    def _lines(self, columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell]) -> Iterator[str]:
        pieces = [
            _wrap(text_of(cell), width) if column.wrap else [text_of(cell)]
            for column, width, cell in zip(columns, widths, row, strict=True)
        ]
        for number in range(max(map(len, pieces))):
            parts = []
            for column, width, cell, lines in zip(columns, widths, row, pieces, strict=True):
                text = lines[number] if number < len(lines) else ""
                blank = " " * (width - cell_len(text))
                shown = self._styled(text, style_of(cell) or column.style)
                parts.append(blank + shown if column.align == "right" else shown + blank)
            yield _GAP.join(parts)

    def _shown(self, cell: Cell) -> str:
        return self._styled(printable(text_of(cell)), style_of(cell))

    def _styled(self, text: str, style: str) -> str:
        if self._colours is None or not style or not text:
            return text
        return _parsed(style).render(text, color_system=self._colours)


@cache
def _parsed(style: str) -> Style:
    from rich.style import Style

    return Style.parse(style)


def _clean(cell: Cell) -> Cell:
    text = printable(text_of(cell))
    return text if isinstance(cell, str) else Styled(text, cell.style)


def _wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells: broken between the items of a list, else at spaces, else after a `/`."""
    lines = [""]
    for item in _separated(text, " · "):
        if cell_len(lines[-1] + item.rstrip()) <= width:
            lines[-1] += item
            continue
        if lines[-1]:
            lines.append("")
        for word in _separated(item, " "):
            if lines[-1] and cell_len(lines[-1] + word.rstrip()) > width:
                lines.append("")
            lines[-1] += word
            while cell_len(lines[-1].rstrip()) > width:
                end = lines[-1].rfind("/", 0, width) + 1 or width  # what is as long as this is a name
                lines[-1:] = [lines[-1][:end], lines[-1][end:]]
    return [line.rstrip() for line in lines]


def _separated(text: str, separator: str) -> list[str]:
    """The parts of `text`, each but the last with the separator behind it."""
    *parts, last = text.split(separator)
    return [*(part + separator for part in parts), last]
