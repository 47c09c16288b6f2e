"""How alike two names are in their words, weighed by what the words tell apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ckptkit.matching.labels import NUMBER
from ckptkit.matching.vocabulary import KIND_WORDS, MEANINGS, NOISE

Pattern = tuple[str, ...]

# Two words below this have nothing to do with each other.
_LEAST = 0.3

# What a word of a user's counts, against one that tells layers apart on both sides, that all of one side have and not all
# of the other: of an encoder and a decoder, or of two copies, one side holds the one whose name it has. No word like it.
_ONE_SIDED = 0.5
_SAME = 0.9

# What a word counts that only says of which kind the layer is, against one of the user's own.
_KIND_WEIGHT = 0.35


@lru_cache(maxsize=65536)
def word_likeness(one: str, other: str) -> float:
    """Between 0 and 1: 1 for equal words, less for what the field takes for one, for abbreviations and stems."""
    if one == other:
        return 1.0
    if not MEANINGS.get(one, frozenset()).isdisjoint(MEANINGS.get(other, frozenset())):
        return 0.9
    short, long = sorted((one, other), key=len)
    if len(short) == 2 and short[0] == "w" and short[1].isalpha() and len(long) > 2:  # wq: the weights of the query
        return 0.85 * word_likeness(short[1], long) if long[0] == short[1] else 0.0
    if len(long) == 2 and len(short) == 1 and long == f"w{short}":
        return 0.8
    if long.startswith(short):
        return 0.5 + 0.4 * len(short) / len(long)
    shared = _shared_start(one, other)
    if shared >= 4 and shared >= 0.6 * len(short):
        return 0.5 + 0.4 * shared / len(long)
    if len(short) >= 3 and short[0] == long[0] and _abbreviates(short, long):
        return 0.6
    return 0.0


def _shared_start(one: str, other: str) -> int:
    return next((at for at, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))


def _abbreviates(short: str, long: str) -> bool:
    """Whether the letters of `short` stand in `long` in their order, and most of its consonants do: `blk`, `attn`."""
    letters = iter(long)
    return all(letter in letters for letter in short) and not set(short[1:]) & set("aeiou")


@dataclass(slots=True)
class Translation:
    """Which word of the target stands for which of the source, learned from pairs that are certain.

    Attributes:
        together: (word of a, word of b) -> pairs of patterns in which both stand.
        alone: words of either side -> pairs of patterns in which they stand.
    """

    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    alone: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    pairs: int = 0

    def learn(self, pairs: Iterable[tuple[Pattern, Pattern]]) -> None:
        """Count the words of pairs of patterns; each pair once."""
        for a, b in pairs:
            words_a, words_b = _own(a), _own(b)
            self.alone[0].update(words_a)
            self.alone[1].update(words_b)
            self.together.update((x, y) for x in words_a for y in words_b)
            self.pairs += 1

    def likeness(self, one: str, other: str) -> float:
        """How far the two stand for each other: 1 where neither ever stands without the other."""
        both = self.together.get((one, other), 0)
        if not both:
            return 0.0
        either = self.alone[0][one] + self.alone[1][other] - both
        # What stands in all pairs goes with everything.
        if either == self.pairs:
            return 0.0
        return both / either if both > 1 else 0.6 * both / either


def _own(pattern: Pattern) -> set[str]:
    return {word for word in pattern if word != NUMBER and word not in NOISE}


@dataclass(frozen=True, slots=True)
class _Compared:
    """How much two names speak for each other, and with which words; apart, those that all of one side have."""

    total: float
    shared: tuple[tuple[str, str], ...]
    sided: tuple[tuple[str, str], ...]


class Likeness:
    """Likeness of the patterns of one class of layers: a word counts by how well it tells them apart."""

    def __init__(self, patterns_a: Sequence[Pattern], patterns_b: Sequence[Pattern], learned: Translation) -> None:
        self._weights = _weights(patterns_a), _weights(patterns_b)
        self._learned = learned
        self._known: dict[tuple[Pattern, Pattern], _Compared] = {}

    def score(self, a: Pattern, b: Pattern) -> float:
        """How much the words of the two speak for each other; 0 where nothing does."""
        return self._compare(a, b).total

    def shared(self, a: Pattern, b: Pattern) -> tuple[tuple[str, str], ...]:
        """The words that speak for it, those that tell most first."""
        return self._compare(a, b).shared

    def sided(self, a: Pattern, b: Pattern) -> tuple[tuple[str, str], ...]:
        """The words that speak for it and that all of one side have."""
        return self._compare(a, b).sided

    def _compare(self, a: Pattern, b: Pattern) -> _Compared:
        known = self._known.get((a, b))
        if known is None:
            known = self._known[a, b] = self._search(a, b)
        return known

    def _search(self, a: Pattern, b: Pattern) -> _Compared:
        weights_a, weights_b = self._weights
        own_a = [(word, weights_a[word]) for word in dict.fromkeys(a) if word in weights_a]
        own_b = [(word, weights_b[word]) for word in dict.fromkeys(b) if word in weights_b]
        found = []
        for one, weight_a in own_a:
            for other, weight_b in own_b:
                likeness = word_likeness(one, other)
                weight = min(weight_a, weight_b)
                if weight:
                    likeness = max(likeness, 0.85 * self._learned.likeness(one, other))
                elif likeness >= _SAME and one not in KIND_WORDS:
                    weight = _ONE_SIDED * max(weight_a, weight_b)
                if likeness >= _LEAST and weight:
                    found.append((likeness * weight, likeness, one, other))
        found.sort(key=lambda item: (-item[0], -item[1], item[2], item[3]))
        used_a: set[str] = set()
        used_b: set[str] = set()
        total = 0.0
        shared: list[tuple[str, str]] = []
        sided: list[tuple[str, str]] = []
        for gain, _, one, other in found:
            if one not in used_a and other not in used_b:
                used_a.add(one)
                used_b.add(other)
                total += gain
                (shared if weights_a[one] and weights_b[other] else sided).append((one, other))
        return _Compared(total, tuple(shared), tuple(sided))


def _weights(patterns: Sequence[Pattern]) -> Mapping[str, float]:
    """Word -> what it tells, in bits: 0 for one that all of the patterns have."""
    counts: Counter[str] = Counter()
    for pattern in patterns:
        counts.update(_own(pattern))
    return {
        word: math.log2(len(patterns) / count) * (_KIND_WEIGHT if word in KIND_WORDS else 1.0)
        for word, count in counts.items()
    }
