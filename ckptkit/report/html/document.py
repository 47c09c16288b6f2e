"""What a report says, before it is HTML: plain data that the templates write down as it is.

Lengths are shares of the room there is (0.0 to 1.0); texts are as they come from files, and are made fit to be shown
where they are written (see `render`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from ckptkit.report import words
from ckptkit.report.html.cells import Badge, Cell, Mark, Meter, Text, Tone

# Rows of a table. A report is for looking at; what is beyond is counted.
MOST_ROWS = 2000

Item = TypeVar("Item")

NARROW = "--filter GLOB narrows, --json has all"
JSON = "--json has all"


def more(left: int, noun: str, advice: str) -> str:
    """What is said below a table that leaves rows out; "" where none is."""
    return f"… and {words.count(left, noun)}; {advice}" if left > 0 else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome: one word and one sentence."""

    word: str
    tone: Tone
    sentence: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure with what it counts, and with what makes it precise."""

    figure: str
    label: str
    detail: str = ""
    tone: Tone = "calm"


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is headed.

    Attributes:
        title: in words.
        about: what exactly it shows, one sentence; "" where the title says it.
        right: whether it is aligned to the right, as numbers are.
        sortable: whether rows can be ordered by it.
    """

    title: str
    about: str = ""
    right: bool = False
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; `left` is how many more there are, and `advice` how to see them."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    noun: str
    left: str = ""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True, slots=True)
class Node:
    """A scope or a layer in the tree.

    Attributes:
        label: its name below its parent.
        meter: a bar and its value, or None.
        figure: a second value.
        detail: what else is to be known.
        badge: its state, or None.
        open: whether what is below it is unfolded at first.
        children: below it; empty for a layer.
    """

    label: str
    meter: Meter | None = None
    figure: str = ""
    detail: str = ""
    badge: Badge | None = None
    open: bool = True
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """Layers by their scopes; `headings` name the bar and the figure."""

    nodes: tuple[Node, ...]
    headings: tuple[str, str]
    noun: str
    left: str = ""
    kind: ClassVar[str] = "tree"


@dataclass(frozen=True, slots=True)
class End:
    """One end of the links of a picture: a layer in its scope, and whether anything is linked to it."""

    scope: str
    name: str
    detail: str
    linked: bool


@dataclass(frozen=True, slots=True)
class Ribbon:
    """A way from the left to the right.

    Attributes:
        path: path data in a box 100 wide, `ROW` high for each row.
        evidence: class of the line.
        label: in words.
    """

    path: str
    evidence: str
    label: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What went where: layers of a source, layers of a target, and curves between them.

    Attributes:
        titles: of the two sides.
        sources: on the left, from above.
        targets: on the right.
        links: from left to right.
        legend: (class of the line, its meaning with how many there are).
        height: of the picture in the units of the paths.
        folded: whether it is folded at first, being long.
        left: what is not drawn, in words.
    """

    titles: tuple[str, str]
    sources: tuple[End, ...]
    targets: tuple[End, ...]
    links: tuple[Ribbon, ...]
    legend: tuple[tuple[str, str], ...]
    height: int
    folded: bool
    left: str = ""
    kind: ClassVar[str] = "flow"


@dataclass(frozen=True, slots=True)
class Card:
    """A finding, or another thing to be read whole.

    Attributes:
        badge: how grave it is.
        title: what it concerns.
        names: variables and where they were made.
        marks: what was measured of them.
        body: what is the matter.
        advice: what to do.
    """

    badge: Badge
    title: str
    names: tuple[tuple[str, str], ...] = ()
    where: str = ""
    marks: tuple[Mark, ...] = ()
    body: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Cards:
    """Cards, the gravest first."""

    cards: tuple[Card, ...]
    left: str = ""
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True, slots=True)
class Prose:
    """Sentences, each with its tone."""

    sentences: tuple[tuple[Tone, str], ...]
    kind: ClassVar[str] = "prose"


Block = Table | Tree | Flow | Cards | Prose


@dataclass(frozen=True, slots=True)
class Section:
    """A part with a heading; `anchor` is a word of ours, for links to it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    intro: str = ""


def listed(
    anchor: str,
    title: str,
    columns: Sequence[str | Column],
    items: Sequence[Item],
    row: Callable[[Item], Sequence[Cell]],
    noun: str,
    advice: str,
    intro: str = "",
) -> Section:
    """A section with one table; without a block where it would have no row.

    Args:
        anchor: see `Section`.
        title: likewise.
        columns: headings.
        items: what has a row each, as many as a report shows; the others are counted.
        row: makes one.
        noun: what one of them is.
        advice: how to see those that are left out.
        intro: see `Section`.
    """
    heads = tuple(Column(column) if isinstance(column, str) else column for column in columns)
    rows = tuple(tuple(row(item)) for item in items[:MOST_ROWS])
    table = Table(heads, rows, f"{noun}s", more(len(items) - len(rows), noun, advice))
    return Section(anchor, title, (table,) if rows else (), intro)


def names_of(anchor: str, title: str, names: Sequence[str], noun: str) -> Section:
    """A section that lists names."""
    return listed(anchor, title, (noun,), names, lambda name: (Text(name, name=True),), noun, f".{anchor} has all")


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes:
        command: what made it (`diff`).
        verdict: first.
        subjects: (what it is, path or name), such as `a` and `b`.
        facts: a line of figures.
        sections: in order; empty ones are left out by who makes them.
        notes: what else a person should know.
    """

    command: str
    verdict: Verdict
    subjects: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
    notes: tuple[tuple[Tone, str], ...] = field(default=())
