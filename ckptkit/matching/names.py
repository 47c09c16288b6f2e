"""Which layers names say belong together: trailing path components compared, ties reported.

Two units are name candidates when they have the same class. The longest agreement from the last component upwards
counts, and one path must be the other's tail (`dense_a`, `tower/dense_a`): another head (`x/dense_a`, `y/dense_a`) is
another scope, so that reused scopes and un-reused ones are not mixed up. A pair must be the best choice of both.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from ckptkit.matching.paths import LayerPath

# Trailing components that are compared: paths are seldom as deep, and longer ones would cost quadratic memory.
_MAX_TAIL = 16


@dataclass(slots=True)
class NameMatch:
    """What names say: (index in a, index in b).

    Attributes:
        pairs: source index -> target index.
        numbered: those of them, by source index, that rest on the order of automatic counters.
        ties: groups that names do not tell apart.
    """

    pairs: dict[int, int] = field(default_factory=dict)
    numbered: set[int] = field(default_factory=set)
    ties: list[tuple[list[int], list[int]]] = field(default_factory=list)


@dataclass(slots=True)
class _Bucket:
    """The units of one class whose paths end in the same components.

    Attributes:
        whole: those whose path is no longer than that.
        first: the first of all.
        count: how many there are.
    """

    first: int
    count: int = 0
    whole: list[int] = field(default_factory=list)


_Words = tuple[Hashable, ...]


class _Tails:
    """Units by class and trailing components."""

    def __init__(self, words: Sequence[_Words], numbers: Sequence[int]) -> None:
        self.buckets: dict[tuple[int, _Words], _Bucket] = {}
        for index, (own, number) in enumerate(zip(words, numbers, strict=True)):
            for length in range(1, min(len(own), _MAX_TAIL) + 1):
                bucket = self.buckets.setdefault((number, own[-length:]), _Bucket(index))
                bucket.count += 1
                if length == len(own):
                    bucket.whole.append(index)

    def best(self, words: _Words, number: int) -> tuple[int | None, bool]:
        """The one unit that agrees best with `words`, or None; and whether several agree equally well."""
        for length in range(min(len(words), _MAX_TAIL), 0, -1):
            bucket = self.buckets.get((number, words[-length:]))
            if bucket is None:
                continue
            if len(bucket.whole) == 1:
                return bucket.whole[0], False
            if length == len(words) and bucket.count == 1:
                return bucket.first, False
            return None, bool(bucket.whole) or length == len(words)
        return None, False


def match_names(
    numbers_a: Sequence[int], numbers_b: Sequence[int], paths_a: Sequence[LayerPath], paths_b: Sequence[LayerPath]
) -> NameMatch:
    """Pair units by their paths.

    Args:
        numbers_a: class of each unit of the source.
        numbers_b: class of each unit of the target.
        paths_a: the source's paths.
        paths_b: the target's paths.
    """
    found = NameMatch()
    tied_a, tied_b = _mutual([p.words for p in paths_a], [p.words for p in paths_b], numbers_a, numbers_b, found)
    distrust(found.pairs, numbers_a, numbers_b, paths_a, paths_b)
    _spelled_alike(numbers_a, numbers_b, paths_a, paths_b, found)
    taken_b = set(found.pairs.values())
    free_a = [i for i, path in enumerate(paths_a) if i not in found.pairs and path.words]
    free_b = [j for j, path in enumerate(paths_b) if j not in taken_b and path.words]
    if free_a and free_b:
        _by_counters(free_a, free_b, numbers_a, numbers_b, paths_a, paths_b, found)
    _collect_ties(tied_a, tied_b, numbers_a, numbers_b, paths_a, paths_b, found)
    return found


def _spelled_alike(
    numbers_a: Sequence[int],
    numbers_b: Sequence[int],
    paths_a: Sequence[LayerPath],
    paths_b: Sequence[LayerPath],
    found: NameMatch,
) -> None:
    """Pair what users named alike but for separators: Keras 3 allows no `/` in a name, so `x/dense_a` is `x_dense_a`."""
    taken_b = set(found.pairs.values())
    sides: list[dict[tuple[int, str], int | None]] = []
    for numbers, paths, taken in ((numbers_a, paths_a, found.pairs.keys()), (numbers_b, paths_b, taken_b)):
        spelled: dict[tuple[int, str], int | None] = {}
        for index, (number, path) in enumerate(zip(numbers, paths, strict=True)):
            if path.words and not path.automatic and index not in taken:
                key = number, "_".join(path.words)
                spelled[key] = None if key in spelled else index
        sides.append(spelled)
    for key, i in sides[0].items():
        j = sides[1].get(key)
        if i is not None and j is not None:
            found.pairs[i] = j


def _mutual(
    words_a: Sequence[_Words],
    words_b: Sequence[_Words],
    numbers_a: Sequence[int],
    numbers_b: Sequence[int],
    found: NameMatch,
) -> tuple[list[int], list[int]]:
    """Pair the units that are each other's best; give back those for which several are equally good."""
    tails_a, tails_b = _Tails(words_a, numbers_a), _Tails(words_b, numbers_b)
    best_b = [tails_a.best(words, number) for words, number in zip(words_b, numbers_b, strict=True)]
    tied_a = []
    for i, (words, number) in enumerate(zip(words_a, numbers_a, strict=True)):
        choice, tied = tails_b.best(words, number)
        if choice is not None and best_b[choice][0] == i:
            found.pairs[i] = choice
        elif tied:
            tied_a.append(i)
    return tied_a, [j for j, (_, tied) in enumerate(best_b) if tied]


def distrust(
    pairs: dict[int, int],
    numbers_a: Sequence[int],
    numbers_b: Sequence[int],
    paths_a: Sequence[LayerPath],
    paths_b: Sequence[LayerPath],
) -> None:
    """Take out the pairs by automatic names where the counters have shifted.

    `dense`, `dense_1` against `dense_1`, `dense_2`, all of one class: that both sides have a `dense_1` says nothing.
    It does where one side's names are all among the other's. Layers of one name and two classes count as unpaired: in a
    shift, the last of the one class stands beside the first of the other.
    """
    alike = {i: j for i, j in pairs.items() if numbers_a[i] == numbers_b[j]}
    taken = set(alike.values())
    shifted = _automatic_bases(paths_a, numbers_a, alike) & _automatic_bases(paths_b, numbers_b, taken)
    for i in [i for i in pairs if paths_a[i].automatic]:
        if (numbers_a[i], paths_a[i].bases[-1]) in shifted:
            del pairs[i]


def _automatic_bases(
    paths: Sequence[LayerPath], numbers: Sequence[int], taken: set[int] | dict[int, int]
) -> set[tuple[int, str]]:
    return {
        (number, path.bases[-1])
        for index, (path, number) in enumerate(zip(paths, numbers, strict=True))
        if path.automatic and index not in taken
    }


def _by_counters(
    free_a: list[int],
    free_b: list[int],
    numbers_a: Sequence[int],
    numbers_b: Sequence[int],
    paths_a: Sequence[LayerPath],
    paths_b: Sequence[LayerPath],
    found: NameMatch,
) -> None:
    """Pair units whose names differ by counters only: the only ones of a kind, or equally many in the same order."""
    groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for i in free_a:
        groups[numbers_a[i], paths_a[i].bases][0].append(i)
    for j in free_b:
        groups[numbers_b[j], paths_b[j].bases][1].append(j)
    whole_a: Counter[Hashable] = Counter(zip(numbers_a, [path.bases for path in paths_a], strict=True))
    whole_b: Counter[Hashable] = Counter(zip(numbers_b, [path.bases for path in paths_b], strict=True))
    for key, (group_a, group_b) in groups.items():
        # What is left of a group after exact names took their share is not paired by elimination.
        complete = len(group_a) == whole_a[key] == len(group_b) == whole_b[key]
        if complete and len(group_a) == 1:
            found.pairs[group_a[0]] = group_b[0]
        elif complete and _rising(group_a, paths_a) and _rising(group_b, paths_b):
            found.pairs.update(zip(group_a, group_b, strict=True))
            found.numbered.update(group_a)
        elif group_a and group_b:
            found.ties.append((group_a, group_b))


def _rising(group: list[int], paths: Sequence[LayerPath]) -> bool:
    """Whether all are automatic names and their counters rise in the order of the layers."""
    counters = [paths[index].counters for index in group]
    return all(paths[index].automatic for index in group) and all(
        one < other for one, other in itertools.pairwise(counters)
    )


def _collect_ties(
    tied_a: list[int],
    tied_b: list[int],
    numbers_a: Sequence[int],
    numbers_b: Sequence[int],
    paths_a: Sequence[LayerPath],
    paths_b: Sequence[LayerPath],
    found: NameMatch,
) -> None:
    """Group what several fit equally well by the last component that they share."""
    settled_a = set(found.pairs) | {i for group, _ in found.ties for i in group}
    settled_b = set(found.pairs.values()) | {j for _, group in found.ties for j in group}
    wanted = {(numbers_a[i], paths_a[i].words[-1]) for i in tied_a if i not in settled_a}
    wanted |= {(numbers_b[j], paths_b[j].words[-1]) for j in tied_b if j not in settled_b}
    groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, (numbers, paths, settled) in enumerate(
        ((numbers_a, paths_a, settled_a), (numbers_b, paths_b, settled_b))
    ):
        for index, (number, path) in enumerate(zip(numbers, paths, strict=True)):
            if index not in settled and path.words and (number, path.words[-1]) in wanted:
                groups[number, path.words[-1]][side].append(index)
    found.ties.extend(group for group in groups.values() if group[0] and group[1])


def best_tail(words: tuple[str, ...], others: Mapping[int, tuple[str, ...]]) -> int | None:
    """The one of `others` whose path is the longest tail of `words`, or that has `words` as its only such tail."""
    indices = list(others)
    best, _ = _Tails([others[index] for index in indices], [0] * len(indices)).best(words, 0)
    return None if best is None else indices[best]
