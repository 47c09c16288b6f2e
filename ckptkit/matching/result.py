"""What a match is: plain data, which every matcher returns and nothing raises.

Between a source (a) and a target (b). All names are canonical variable names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ckptkit.display import Displayed
from ckptkit.model import By, Form

SCHEMA = "ckptkit.match/1"


@dataclass(frozen=True, slots=True)
class Pair:
    """Variables of the source that hold what variables of the target want.

    One to one in the usual case. Where a convention joins or splits parts (one `kernel` over `[inputs, h]` against
    `kernel` and `recurrent_kernel`), all variables that share parts stand in one pair.

    Attributes:
        source: variables of the source, in the order of its row.
        target: variables of the target, in the order of its row.
        evidence: what the pair rests on, strongest first: `name`, `scope`, `order`, `value`, `shape`; shown to people.
        forms: the readings of the two layers under which the parts agree, (source, target); None for variables that
            are taken as they lie (equal shapes, no row needed).
        copies: further groups of source variables that must hold the same values (towers that were not shared);
            equality is checked before anything is written.
        confidence: by how much, in bits, the best assignment by names is better than the best without this pair; None
            where something else decides (one name, the order, the content).
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    evidence: tuple[str, ...]
    forms: tuple[Form, Form] | None = None
    copies: tuple[tuple[str, ...], ...] = ()
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variable that came near, and why it was turned down (`another shape [128, 10]`, `already taken by head/kernel`)."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A variable of one side with nothing on the other, with the nearest candidates of the other side."""

    name: str
    nearest: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Variables that fit each other in more than one way; none of them is paired."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Match(Displayed):
    """The outcome of matching a source with a target.

    Only variables of kind `weight` are matched, unless slots were asked for; every weight of either side is in exactly
    one of `pairs`, `missing` (target only), `unexpected` (source only) and `ambiguous`.

    Attributes:
        by: the method that was asked for.
        order_sources: where the layer order of (source, target) came from; None where order played no part.
    """

    by: By
    pairs: tuple[Pair, ...]
    missing: tuple[Unmatched, ...] = ()
    unexpected: tuple[Unmatched, ...] = ()
    ambiguous: tuple[Ambiguous, ...] = ()
    order_sources: tuple[str, str] | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, unexpected or ambiguous."""
        return not (self.missing or self.unexpected or self.ambiguous)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, without the readings of layers."""
        return {
            "schema": SCHEMA,
            "by": self.by,
            "complete": self.complete,
            "order_sources": None if self.order_sources is None else list(self.order_sources),
            "pairs": [
                {
                    "source": list(pair.source),
                    "target": list(pair.target),
                    "evidence": list(pair.evidence),
                    "copies": [list(copy) for copy in pair.copies],
                    "confidence": pair.confidence,
                }
                for pair in self.pairs
            ],
            "missing": [asdict(each) for each in self.missing],
            "unexpected": [asdict(each) for each in self.unexpected],
            "ambiguous": [asdict(each) for each in self.ambiguous],
        }
