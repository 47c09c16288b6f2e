"""Which numbers of one side stand for which of the other: blocks that repeat are aligned as blocks.

A slot is the place of a number in names that begin alike (`bert/encoder/layer_#`). Two slots correspond with the one
offset under which the most layers of equal class meet: 0 … 23 against 1 … 24, and not 22 of 24 with another. Where two
offsets do as well, numbers say nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptkit.matching.labels import NUMBER, Label
from ckptkit.matching.likeness import Pattern, word_likeness

Slot = tuple[Hashable, ...]

# Distinct numbers of a slot up to which every offset is tried; above, those that put the first or the last together.
_TRIED = 64

# Pairs of slots that are compared; a file whose every name counts on its own has more, and none that mean anything.
_MOST_PAIRS = 40_000

# How much less it counts that two numbers correspond to one, and how much more that numbers are equal, or stand behind words
# that are alike: less than one layer that meets none, where there are few.
_JOINED = 0.05
_EQUAL = 0.02
_CALLED = 0.04


@dataclass(frozen=True, slots=True)
class Shift:
    """How the numbers of two slots correspond.

    Attributes:
        offset: what is added to the source's.
        met: layers that then meet one of their class.
        of: the most that could.
        values: how many numbers of the source then meet one: a lone number meets any other.
        sure: whether no other offset does as well.
        ranks: number of the source -> number of the target, where not one offset but their order makes them meet.
    """

    offset: int
    met: int
    of: int
    values: int
    sure: bool
    ranks: Mapping[int, int] | None = None

    def of_target(self, value: int) -> int:
        """The target's number for one of the source; one that nothing has where there is none."""
        return value + self.offset if self.ranks is None else self.ranks.get(value, -1)

    @property
    def share(self) -> float:
        """How much of the two meets."""
        return self.met / self.of if self.of else 0.0

    @property
    def strength(self) -> float:
        """How much it says, between 0 and 1: nothing for a lone number, nearly all for a long row that meets in all."""
        return self.share * (1 - 1 / self.values**2) if self.values else 0.0


@dataclass(frozen=True, slots=True)
class Bound:
    """Numbers of two patterns that correspond: places of the source's and the target's, two where a pair counts as one."""

    a: tuple[int, ...]
    b: tuple[int, ...]
    shift: Shift


class Numbering:
    """What numbers say, over all layers of both sides."""

    def __init__(
        self, labels_a: Sequence[Label], classes_a: Sequence[int], labels_b: Sequence[Label], classes_b: Sequence[int]
    ) -> None:
        """Count the layers of every class by their numbers.

        Args:
            labels_a: of the source.
            classes_a: of the source; equal for layers that could hold each other's weights.
            labels_b: of the target.
            classes_b: of the target.
        """
        self._ranks = _ranks(labels_a), _ranks(labels_b)
        self._own = (
            _by_pattern(labels_a, classes_a, self._ranks[0]),
            _by_pattern(labels_b, classes_b, self._ranks[1]),
        )
        self._tables = (
            _tables(labels_a, classes_a, self._ranks[0]),
            _tables(labels_b, classes_b, self._ranks[1]),
        )
        self._shifts: dict[tuple[Slot, Slot], Shift | None] = {}
        self._bound: dict[tuple[Pattern, Pattern], tuple[Bound, ...]] = {}

    def bind(self, a: Pattern, b: Pattern) -> tuple[Bound, ...]:
        """The numbers of two patterns that correspond, in order; those that no offset fits best are left out."""
        found = self._bound.get((a, b))
        if found is None:
            found = self._bound[a, b] = self._align(a, b)
        return found

    def values(self, side: int, label: Label, places: tuple[int, ...]) -> int | None:
        """The number of `label` at one place, or the rank of the two at two places."""
        if len(places) == 1:
            return label.numbers[places[0]]
        slots = _slots(label.pattern)
        ranks = self._ranks[side].get(slots[places[-1]])
        return None if ranks is None else ranks.get(tuple(label.numbers[place] for place in places))

    def _align(self, a: Pattern, b: Pattern) -> tuple[Bound, ...]:
        """The best alignment of two rows of slots, in order; two neighbours may count as one."""
        slots_a, slots_b = _slots(a), _slots(b)
        best: dict[tuple[int, int], tuple[float, tuple[Bound, ...]]] = {}
        for i in range(len(slots_a), -1, -1):
            for j in range(len(slots_b), -1, -1):
                options: list[tuple[float, tuple[Bound, ...]]] = [(0.0, ())]
                if i < len(slots_a):
                    options.append(best[i + 1, j])
                if j < len(slots_b):
                    options.append(best[i, j + 1])
                for places_a in _places(i, len(slots_a)):
                    for places_b in _places(j, len(slots_b)):
                        if len(places_a) == 2 == len(places_b):
                            continue
                        shift = self._shift(a, b, _named(slots_a, places_a), _named(slots_b, places_b))
                        if shift is not None:
                            rest = best[places_a[-1] + 1, places_b[-1] + 1]
                            gain = shift.share + _kinship(slots_a[places_a[-1]], slots_b[places_b[-1]], shift)
                            gain -= _JOINED if len(places_a) + len(places_b) > 2 else 0.0
                            options.append((rest[0] + gain, (Bound(places_a, places_b, shift), *rest[1])))
                best[i, j] = max(options, key=lambda option: option[0])
        return best[0, 0][1]

    def _shift(self, pattern_a: Pattern, pattern_b: Pattern, a: Slot, b: Slot) -> Shift | None:
        """How two slots correspond in two patterns: as in all of them, unless the layers of just these say otherwise."""
        if (a, b) not in self._shifts:
            if len(self._shifts) >= _MOST_PAIRS:
                return None
            self._shifts[a, b] = _search(self._tables[0].get(a, {}), self._tables[1].get(b, {}))
        found = self._shifts[a, b]
        own_a, own_b = self._own[0].get((pattern_a, a), {}), self._own[1].get((pattern_b, b), {})
        own = _search(own_a, own_b)
        if found is None or own is None:
            return None
        if pattern_a == pattern_b and (found.offset or own.offset) and _met(own_a, own_b, 0):
            # Equal words and numbers that overlap: counted from 0 here and from 1 there, or not the same numbers.
            firsts = {min(value for table in tables.values() for value in table) for tables in (own_a, own_b)}
            return own if own.sure and firsts == {0, 1} else None
        if found.sure and (found.ranks or _met(own_a, own_b, found.offset) == own.met):
            return found
        if own.sure:
            return own
        # Equal words and equal numbers: nobody counts anew what is called alike.
        same = pattern_a == pattern_b and found.offset == 0 == own.offset
        return replace(own, sure=True) if same else None


def _kinship(a: Slot, b: Slot, shift: Shift) -> float:
    """What decides between slots that correspond as well: equal numbers, behind words that are alike."""
    words = [next((str(word) for word in reversed(slot[:-1]) if word != NUMBER), "") for slot in (a, b)]
    return _EQUAL * (not shift.offset and not shift.ranks) + _CALLED * word_likeness(words[0], words[1])


def _slots(pattern: Pattern) -> list[Slot]:
    return [pattern[: place + 1] for place, word in enumerate(pattern) if word == NUMBER]


def _named(slots: Sequence[Slot], places: tuple[int, ...]) -> Slot:
    return slots[places[0]] if len(places) == 1 else ("both", *slots[places[-1]])


def _places(start: int, length: int) -> Iterable[tuple[int, ...]]:
    if start < length:
        yield (start,)
    if start + 1 < length:
        yield (start, start + 1)


def _ranks(labels: Iterable[Label]) -> dict[Slot, dict[tuple[int, ...], int]]:
    """Slot -> rank of its number together with the one before it, among all that stand there."""
    found: dict[Slot, set[tuple[int, ...]]] = defaultdict(set)
    for label in labels:
        slots = _slots(label.pattern)
        for place in range(1, len(slots)):
            found[slots[place]].add(label.numbers[place - 1 : place + 1])
    return {slot: {pair: rank for rank, pair in enumerate(sorted(pairs))} for slot, pairs in found.items()}


def _tables(
    labels: Sequence[Label], classes: Sequence[int], ranks: Mapping[Slot, Mapping[tuple[int, ...], int]]
) -> dict[Slot, dict[int, Counter[int]]]:
    """Slot -> class -> how many layers of that class have each number there."""
    found: dict[Slot, dict[int, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for label, number in zip(labels, classes, strict=True):
        slots = _slots(label.pattern)
        for place, slot in enumerate(slots):
            found[slot][number][label.numbers[place]] += 1
            if place:
                rank = ranks[slot][label.numbers[place - 1 : place + 1]]
                both: Slot = ("both", *slot)
                found[both][number][rank] += 1
    return {slot: dict(table) for slot, table in found.items()}


def _by_pattern(
    labels: Sequence[Label], classes: Sequence[int], ranks: Mapping[Slot, Mapping[tuple[int, ...], int]]
) -> dict[tuple[Pattern, Slot], dict[int, Counter[int]]]:
    """The same for the layers of each pattern alone."""
    groups: dict[Pattern, tuple[list[Label], list[int]]] = defaultdict(lambda: ([], []))
    for label, number in zip(labels, classes, strict=True):
        groups[label.pattern][0].append(label)
        groups[label.pattern][1].append(number)
    return {
        (pattern, slot): table
        for pattern, (own, numbers) in groups.items()
        for slot, table in _tables(own, numbers, ranks).items()
    }


def _met(a: Mapping[int, Counter[int]], b: Mapping[int, Counter[int]], offset: int) -> int:
    """Layers that meet one of their class under an offset."""
    return sum(
        min(count, b[number].get(value + offset, 0))
        for number in a.keys() & b.keys()
        for value, count in a[number].items()
    )


def _search(a: Mapping[int, Counter[int]], b: Mapping[int, Counter[int]]) -> Shift | None:
    shared = a.keys() & b.keys()
    if not shared:
        return None
    values_a = {value for number in shared for value in a[number]}
    values_b = {value for number in shared for value in b[number]}
    of = max(sum(sum(table[number].values()) for number in shared) for table in (a, b))
    met: Counter[int] = Counter()
    if max(len(values_a), len(values_b)) <= _TRIED:
        for number in shared:
            for value, count in a[number].items():
                for other, rival in b[number].items():
                    met[other - value] += min(count, rival)
    else:
        offsets = {0, min(values_b) - min(values_a), max(values_b) - max(values_a)}
        met.update({offset: _met(a, b, offset) for offset in offsets})
    if not met:
        return None
    most = max(met.values())
    best = sorted([offset for offset, count in met.items() if count == most], key=abs)
    if not most:
        return None
    if len(best) > 1:
        ranked = _by_rank(a, b, shared, values_a, values_b, of, most)
        if ranked is not None:
            return ranked
    meeting = {value for number in shared for value in a[number] if value + best[0] in b[number]}
    return Shift(best[0], most, of, len(meeting), len(best) == 1)


def _by_rank(
    a: Mapping[int, Counter[int]],
    b: Mapping[int, Counter[int]],
    shared: Iterable[int],
    values_a: set[int],
    values_b: set[int],
    of: int,
    most: int,
) -> Shift | None:
    """Equally many numbers of which no offset makes all meet (0, 2 against 1, 2), in their order."""
    if len(values_a) != len(values_b) or len(values_a) < 2:
        return None
    ranks = dict(zip(sorted(values_a), sorted(values_b), strict=True))
    met = sum(min(count, b[number].get(ranks[value], 0)) for number in shared for value, count in a[number].items())
    return Shift(0, met, of, len(ranks), True, ranks) if met > most else None
