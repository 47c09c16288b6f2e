"""Layers put in order by what their names say: counters, the user's numbers, words for places in a block, scopes."""

from __future__ import annotations

import itertools
import operator
from collections import defaultdict
from collections.abc import Sequence

from ckptkit.matching.labels import NUMBER, Label
from ckptkit.matching.vocabulary import KIND_WORDS, STAGES


def by_counters(labels: Sequence[Sequence[Label]]) -> list[tuple[int, ...]]:
    """Layers of one automatic name in the order of their counters, a tuple for each name."""
    groups: dict[tuple[str, ...], dict[int, int]] = defaultdict(dict)
    spoiled = set()
    for index, own in enumerate(labels):
        counted = next((label for label in own if label.counter is not None), None)
        if counted is None or counted.counter is None:
            continue
        key = (*counted.pattern, *map(str, counted.numbers))
        if counted.counter in groups[key]:
            spoiled.add(key)
        groups[key][counted.counter] = index
    return [tuple([group[counter] for counter in sorted(group)]) for key, group in groups.items() if key not in spoiled]


def by_shared_counters(labels: Sequence[Sequence[Label]]) -> list[tuple[int, ...]]:
    """Layers of one automatic name, in whatever scopes, in the order of their counters, a tuple for each name.

    Keras counts the layers of a class through a whole program: `encoder/dense`, `encoder/dense_1`, `decoder/dense_2` were
    made in this order. Where two have one number, each scope has counted for itself, and they tell nothing.
    """
    rows: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for index, own in enumerate(labels):
        label = own[0]  # further names may count anew in each file
        if label.counter is not None and label.counted:
            rows[label.counted].append((label.counter, index))
    return [
        tuple([index for _, index in sorted(row)])
        for row in rows.values()
        if len({counter for counter, _ in row}) == len(row) > 1
    ]


def numbered(group: Sequence[int], labels: Sequence[Sequence[Label]]) -> tuple[int, ...] | None:
    """The group by the numbers that its user gave, where nothing but one number tells them apart."""
    own = [labels[index][0] for index in group]
    if any(label.counter is not None for label in own) or len({label.pattern for label in own}) != 1:
        return None
    columns = zip(*[label.numbers for label in own], strict=True)
    varying = [place for place, values in enumerate(columns) if len(set(values)) > 1]
    if len(varying) != 1:
        return None
    found = {label.numbers[varying[0]]: index for label, index in zip(own, group, strict=True)}
    return tuple([found[number] for number in sorted(found)]) if len(found) == len(group) else None


def against_numbers(sequence: Sequence[int], labels: Sequence[Sequence[Label]]) -> bool:
    """Whether users' numbers say that layers were not made, or are not called, in this order.

    Layers of the same words are in the order of their numbers, whichever of them counts slowest. Some may count down, as
    the second half of a U-Net does, but not all.
    """
    groups: dict[tuple[str, ...], list[tuple[int, ...]]] = defaultdict(list)
    for index in sequence:
        label = labels[index][0]
        if label.counter is None and label.numbers:
            groups[label.pattern].append(label.numbers)
    several = [group for group in groups.values() if len(group) > 1]
    up = [_counts(group) for group in several]
    return bool(several) and not (
        any(up) and all(fits or _counts(group[::-1]) for fits, group in zip(up, several, strict=True))
    )


def _counts(numbers: Sequence[tuple[int, ...]]) -> bool:
    """Whether rows of numbers go up, read from the column that counts slowest, whichever that is.

    A column that never goes down may be read first: within the rows that it leaves together, any other fits as before.
    """
    together = [list(numbers)]
    columns = set(range(len(numbers[0])))
    while columns:
        slowest = next((column for column in columns if all(_goes_up(rows, column) for rows in together)), None)
        if slowest is None:
            return False
        columns.remove(slowest)
        together = [
            list(rows) for group in together for _, rows in itertools.groupby(group, key=operator.itemgetter(slowest))
        ]
    return True


def _goes_up(rows: Sequence[tuple[int, ...]], column: int) -> bool:
    return all(one[column] <= other[column] for one, other in itertools.pairwise(rows))


def ends_in_number(label: Label) -> bool:
    """Whether the layers themselves are numbered (`hidden_3`), and not the scopes that they lie in (`branch_3/conv`)."""
    last = next((word for word in reversed(label.pattern) if word == NUMBER or word not in KIND_WORDS), "")
    return last == NUMBER


def staged(group: Sequence[int], labels: Sequence[Sequence[Label]]) -> tuple[int, ...] | None:
    """The group by what its words say of where in a block it stands, where each says another place."""
    found: dict[int, int] = {}
    for index in group:
        places = {STAGES[word] for word in labels[index][0].words if word in STAGES}
        if len(places) != 1 or found.setdefault(places.pop(), index) != index:
            return None
    return tuple([found[place] for place in sorted(found)])


def scopes_of(label: Label) -> tuple[str, ...]:
    """The words and numbers of a name, in their order; without the class by which a framework calls it."""
    numbers = iter(label.numbers)
    path = tuple([str(next(numbers)) if word == NUMBER else word for word in label.pattern])
    if label.counter is None:
        return path
    above = len(path) - len(label.counted)
    length = next((at for at in range(above, 0, -1) if path[at - 1] not in KIND_WORDS), 0)
    return path[:length]


def torn(sequence: Sequence[int], labels: Sequence[Sequence[Label]]) -> bool:
    """Whether layers of one scope, whose names begin alike, stand apart with others between them."""
    return by_scopes(sequence, labels) != tuple(sequence)


def by_scopes(sequence: Sequence[int], labels: Sequence[Sequence[Label]]) -> tuple[int, ...]:
    """The sequence with what lies in one scope put together, at the place of the first."""
    ranks: dict[tuple[str, ...], int] = {}
    keys = []
    for index in sequence:
        path = (*scopes_of(labels[index][0]), str(index))
        key = tuple([ranks.setdefault(path[:depth], len(ranks)) for depth in range(1, len(path) + 1)])
        keys.append((key, index))
    return tuple([index for _, index in sorted(keys, key=lambda item: item[0])])


def parted_by_numbers(group: Sequence[int], labels: Sequence[Sequence[Label]]) -> bool:
    """Whether what first parts any two neighbours of the group is a number, and not the alphabet."""
    paths = [scopes_of(labels[index][0]) for index in group]
    for one, other in itertools.pairwise(paths):
        first = next(((x, y) for x, y in zip(one, other, strict=False) if x != y), None)
        if first is None or not (first[0].isdecimal() and first[1].isdecimal()):
            return False
    return True
