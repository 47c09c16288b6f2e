"""What a cell of a table shows: plain data.

Each says by `kind` which of the templates writes it, and by `order` what its column is sorted by: a number, or None for
its text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Tone = Literal["good", "warn", "bad", "calm"]
"""How a value is to be taken. It colours what also says so in words."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words; `second` stands below them, quieter; a name is set in a fixed pitch."""

    text: str
    second: str = ""
    name: bool = False
    tone: Tone = "calm"
    kind: ClassVar[str] = "text"

    @property
    def order(self) -> float | None:
        """What a table is sorted by, where that is not the text itself."""
        return None


@dataclass(frozen=True, slots=True)
class Number:
    """A measured value in words, and as it is sorted by."""

    text: str
    order: float | None
    tone: Tone = "calm"
    kind: ClassVar[str] = "number"


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in one word; states are sorted by `order`."""

    text: str
    tone: Tone
    order: float | None = None
    kind: ClassVar[str] = "badge"


@dataclass(frozen=True, slots=True)
class Meter:
    """A value with a bar; `marks` are places on it with a name, such as a tolerance."""

    text: str
    order: float | None
    share: float
    tone: Tone = "calm"
    marks: tuple[tuple[float, str], ...] = ()
    kind: ClassVar[str] = "meter"


@dataclass(frozen=True, slots=True)
class Curve:
    """A small picture of one or two lines, in a box of `width` by 30 units, and the same in words.

    Attributes:
        lines: (class of the line, path data).
        label: for who does not see it; "" where `low` and `high` say it.
        low: text at the left end of its axis.
        high: text at the right end.
    """

    lines: tuple[tuple[str, str], ...]
    width: int
    label: str = ""
    low: str = ""
    high: str = ""
    kind: ClassVar[str] = "curve"

    @property
    def order(self) -> float | None:
        """Pictures have no order."""
        return None


@dataclass(frozen=True, slots=True)
class Mark:
    """Yes, no, or not known (None), in the column called `what`."""

    value: bool | None
    what: str
    kind: ClassVar[str] = "mark"

    @property
    def order(self) -> float:
        """No first, then not known, then yes."""
        return {False: 0.0, None: 1.0, True: 2.0}[self.value]


Cell = Text | Number | Badge | Meter | Curve | Mark
