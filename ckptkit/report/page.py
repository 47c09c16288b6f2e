"""What reports are written on: paragraphs and tables, on a terminal or in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Styled:
    """A text with a style in rich's words (`bold`, `dim`, `red`); colour never carries meaning alone."""

    text: str
    style: str


Cell = str | Styled


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table is set.

    Attributes:
        title: shown above it; "" for none.
        align: `left` or `right`.
        wrap: whether its cells may be broken at spaces when there is too little room.
        style: style of its plain cells.
    """

    title: str = ""
    align: Literal["left", "right"] = "left"
    wrap: bool = False
    style: str = ""


class Page(Protocol):
    """Takes a report piece by piece; every text passes through `errors.printable` there."""

    def line(self, *cells: Cell) -> None:
        """One line made of `cells`; an empty one without any."""

    def paragraph(self, *cells: Cell, indent: str = "  ") -> None:
        """Text that is broken at spaces where it has to be; lines after the first begin with `indent`."""

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], indent: str = "  ") -> None:
        """Aligned columns."""

    def advice(self, *, option: str, attribute: str) -> str:
        """How to see more: `option` to who typed a command, `attribute` to who holds the result."""


def text_of(cell: Cell) -> str:
    """What a cell says."""
    return cell if isinstance(cell, str) else cell.text


def style_of(cell: Cell) -> str:
    """Its style, or ""."""
    return "" if isinstance(cell, str) else cell.style
