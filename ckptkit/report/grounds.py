"""What pairs rest on, in words: the same on a terminal, in a report and in a picture."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ckptkit.report import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GROUNDS = {
    "name": "equal names",
    "words": "words and numbers",
    "scope": "scopes",
    "order": "order",
    "behind": "what they stand behind",
    "value": "equal contents",
    "shape": "roles and shapes",
    "map": "--map",
    "slot": "the variables of slots",
    "tied": "tied tables",
}


def ground(evidence: Sequence[str]) -> str:
    """The strongest of a pair's evidence, by its first word: `words` for `words: fc = dense`.

    What a person wrote into a plan is a ground as it stands (`by hand`); "other" is no evidence at all.
    """
    if not evidence:
        return "other"
    first = evidence[0].partition(" ")[0].rstrip(":")
    first = "words" if first == "numbers" else first
    return first if first in GROUNDS else evidence[0]


def tally(all_evidence: Iterable[Sequence[str]]) -> str:
    """`84 by words and numbers, 12 by order`; "" for nothing."""
    by = Counter(ground(evidence) for evidence in all_evidence if evidence)
    return ", ".join(f"{words.count(number)} {_named(kind)}" for kind, number in by.most_common())


def _named(kind: str) -> str:
    return kind if kind.startswith("by ") else f"by {GROUNDS.get(kind, kind)}"
