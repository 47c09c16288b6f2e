"""Sequence alignment that says only what every best alignment says.

Two sequences of classes are aligned so that an inserted or missing element makes a gap and not a shift. Where several
best alignments exist (one of three equal elements is new: which one?) nothing is paired, and the elements concerned
are given back as ties.

The work is bounded: equal stretches cost one comparison; a stretch that differs is aligned by the O(N·D) greedy
algorithm of Myers ("An O(ND) difference algorithm and its variations", 1986) and a table over the band that it leaves;
a stretch too different for that is cut at elements that occur once on both sides ("patience"), and what cannot be
cut is a tie.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# Cells of the band table: enough for stretches of some 300 by 300 elements, beyond that proportional to their length.
_MIN_CELLS = 100_000
_CELLS_PER_ELEMENT = 32

_MAX_DEPTH = 64

_Edge = tuple[int, int]


@dataclass(slots=True)
class Alignment:
    """What an alignment found: (index in a, index in b) each.

    Attributes:
        pairs: in every best alignment.
        moved: the only ones of their class in the stretch between two pairs, or in all, in another order than others.
        ties: groups of equal elements that fit each other in more than one way.
    """

    pairs: list[_Edge] = field(default_factory=list)
    moved: list[_Edge] = field(default_factory=list)
    ties: list[tuple[list[int], list[int]]] = field(default_factory=list)


def align(a: Sequence[int], b: Sequence[int], fixed: Sequence[_Edge] = ()) -> Alignment:
    """Align two sequences of classes.

    Args:
        a: class of each element; negative for those that take no part.
        b: the same of the other sequence.
        fixed: pairs that are known already. They cut the sequences into stretches, as far as they do not cross.
    """
    found = Alignment()
    fixed_a, fixed_b = {i for i, _ in fixed}, {j for _, j in fixed}
    left = [i for i, c in enumerate(a) if c >= 0 and i not in fixed_a]
    right = [j for j, c in enumerate(b) if c >= 0 and j not in fixed_b]
    stretches = [(*stretch, 0) for stretch in _cut(left, right, essential(sorted(fixed)))]
    while stretches:
        left, right, depth = stretches.pop()
        left, right = _shared(a, b, left, right)
        if not left:
            continue
        if [a[i] for i in left] == [b[j] for j in right]:
            found.pairs.extend(zip(left, right, strict=True))
            continue
        certain = _certain(a, b, left, right)
        if certain is not None:
            found.pairs.extend(certain)
            _leave_between(a, b, left, right, certain, found)
            continue
        unique = _unique(a, b, left, right) if depth < _MAX_DEPTH else []
        anchors = essential(unique)
        if anchors:
            found.pairs.extend(anchors)
            known = set(anchors)
            crossing = [edge for edge in unique if edge not in known]
            found.moved.extend(crossing)
            crossing_a, crossing_b = {i for i, _ in crossing}, {j for _, j in crossing}
            left, right = [i for i in left if i not in crossing_a], [j for j in right if j not in crossing_b]
            stretches.extend((*stretch, depth + 1) for stretch in _cut(left, right, anchors))
        else:
            _leave(a, b, left, right, found)
    _pair_across(a, b, fixed, found)
    found.pairs.sort()
    return found


def _pair_across(a: Sequence[int], b: Sequence[int], fixed: Sequence[_Edge], found: Alignment) -> None:
    """The only two of a class in all, which stand in different stretches, have moved."""
    known = [*fixed, *found.pairs, *found.moved]
    done_a, done_b = {i for i, _ in known}, {j for _, j in known}
    alone = _unique(a, b, [i for i, c in enumerate(a) if c >= 0], [j for j, c in enumerate(b) if c >= 0])
    found.moved.extend((i, j) for i, j in alone if i not in done_a and j not in done_b)


def essential(pairs: Sequence[_Edge]) -> list[_Edge]:
    """Those of the pairs, sorted by their first index, that every longest chain without crossings goes through."""
    ending, best = _chain_lengths([j for _, j in pairs])
    backwards, _ = _chain_lengths([-j for _, j in reversed(pairs)])
    starting = backwards[::-1]
    on_longest = [at for at in range(len(pairs)) if ending[at] + starting[at] - 1 == best]
    alone = Counter(ending[at] for at in on_longest)
    return [pairs[at] for at in on_longest if alone[ending[at]] == 1]


def _chain_lengths(values: Sequence[int]) -> tuple[list[int], int]:
    """Length of the longest increasing chain that ends at each value, and the longest of all."""
    tails: list[int] = []
    lengths = []
    for value in values:
        at = bisect_left(tails, value)
        tails[at : at + 1] = [value]
        lengths.append(at + 1)
    return lengths, len(tails)


def _cut(left: list[int], right: list[int], anchors: Sequence[_Edge]) -> list[tuple[list[int], list[int]]]:
    """The stretches between anchors, without the anchors."""
    stretches = []
    from_i = from_j = 0
    for anchor_i, anchor_j in anchors:
        to_i, to_j = bisect_left(left, anchor_i, from_i), bisect_left(right, anchor_j, from_j)
        stretches.append((left[from_i:to_i], right[from_j:to_j]))
        from_i = to_i + (to_i < len(left) and left[to_i] == anchor_i)
        from_j = to_j + (to_j < len(right) and right[to_j] == anchor_j)
    stretches.append((left[from_i:], right[from_j:]))
    return stretches


def _shared(a: Sequence[int], b: Sequence[int], left: list[int], right: list[int]) -> tuple[list[int], list[int]]:
    """What is left when classes that only one side has are taken out."""
    both = {a[i] for i in left} & {b[j] for j in right}
    return [i for i in left if a[i] in both], [j for j in right if b[j] in both]


def _unique(a: Sequence[int], b: Sequence[int], left: list[int], right: list[int]) -> list[_Edge]:
    """Pairs of elements whose class occurs once on both sides."""
    count_a, count_b = Counter([a[i] for i in left]), Counter([b[j] for j in right])
    place = {b[j]: j for j in right}
    return [(i, place[a[i]]) for i in left if count_a[a[i]] == 1 == count_b[a[i]]]


def _leave(a: Sequence[int], b: Sequence[int], left: list[int], right: list[int], found: Alignment) -> None:
    """What no alignment settles: the only two of a class have moved, more are tied, what one side lacks is a gap."""
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for i in left:
        groups.setdefault(a[i], ([], []))[0].append(i)
    for j in right:
        groups.setdefault(b[j], ([], []))[1].append(j)
    for group_a, group_b in groups.values():
        if len(group_a) == 1 == len(group_b):
            found.moved.append((group_a[0], group_b[0]))
        elif group_a and group_b:
            found.ties.append((group_a, group_b))


def _leave_between(
    a: Sequence[int], b: Sequence[int], left: list[int], right: list[int], certain: list[_Edge], found: Alignment
) -> None:
    """`_leave` for each stretch between certain pairs, and what is unique beyond them."""
    known = set(certain)
    unique = [edge for edge in _unique(a, b, left, right) if edge not in known]
    found.moved.extend(unique)
    done_a, done_b = {i for i, _ in (*certain, *unique)}, {j for _, j in (*certain, *unique)}
    rest_a, rest_b = [i for i in left if i not in done_a], [j for j in right if j not in done_b]
    for stretch in _cut(rest_a, rest_b, certain):
        _leave(a, b, *stretch, found)


def _certain(a: Sequence[int], b: Sequence[int], left: list[int], right: list[int]) -> list[_Edge] | None:
    """The pairs that every longest common subsequence has; None where finding them would cost too much."""
    x, y = [a[i] for i in left], [b[j] for j in right]
    cells = max(_MIN_CELLS, _CELLS_PER_ELEMENT * (len(x) + len(y)))
    distance = _distance(x, y, cells // (len(x) + 1) - 1)
    if distance is None:
        return None
    return [(left[i], right[j]) for i, j in _in_every_alignment(x, y, distance)]


def _distance(x: list[int], y: list[int], limit: int) -> int | None:
    """Insertions and deletions between two sequences, or None when more than `limit` (Myers 1986, figure 2)."""
    n, m = len(x), len(y)
    furthest = {1: 0}
    for d in range(min(limit, n + m) + 1):
        for k in range(-d, d + 1, 2):
            down = k == -d or (k != d and furthest[k - 1] < furthest[k + 1])
            i = furthest[k + 1] if down else furthest[k - 1] + 1
            j = i - k
            while i < n and j < m and x[i] == y[j]:
                i += 1
                j += 1
            furthest[k] = i
            if i >= n and j >= m:
                return d
    return None


def _in_every_alignment(x: list[int], y: list[int], distance: int) -> list[_Edge]:
    """Matches (i, j) that all alignments of the given distance have in common.

    A match is on a best alignment when the distances before and behind it add up to the whole; it is on all of them
    when no other match on a best alignment has as many matches before it.
    """
    ahead = _band(x, y, distance)
    behind = _band(x[::-1], y[::-1], distance)
    n, m = len(x), len(y)
    low, width = _band_bounds(n, m, distance)
    levels: dict[int, _Edge | None] = {}
    for i in range(n):
        row = ahead[i]
        for k in range(width):
            j = i + low + k
            before = row[k]
            if before > distance or not 0 <= j < m or x[i] != y[j]:
                continue
            back = (m - j - 1) - (n - i - 1) - low
            if 0 <= back < width and before + behind[n - i - 1][back] == distance:
                level = (i + j - before) // 2
                levels[level] = None if level in levels else (i, j)
    return sorted(edge for edge in levels.values() if edge is not None)


def _band_bounds(n: int, m: int, distance: int) -> tuple[int, int]:
    """Lowest diagonal j - i that a best alignment touches, and how many diagonals there are."""
    deletions = (distance + n - m) // 2
    return -deletions, distance + 1


def _band(x: list[int], y: list[int], distance: int) -> list[list[int]]:
    """Edits needed to come to (i, j), for i in 0..n and the band's diagonals; more than `distance` where barred."""
    n, m = len(x), len(y)
    low, width = _band_bounds(n, m, distance)
    barred = distance + 1
    rows: list[list[int]] = []
    above = [barred] * (width + 1)
    for i in range(n + 1):
        row = [barred] * width
        left = barred
        for k in range(width):
            j = i + low + k
            if 0 <= j <= m:
                if i == 0 and j == 0:
                    left = 0
                else:
                    best = left + 1 if left < barred else barred
                    up = above[k + 1]
                    if up < best and i:
                        best = up + 1
                    if i and j and x[i - 1] == y[j - 1] and above[k] < best:
                        best = above[k]
                    left = best if best < barred else barred
                row[k] = left
            else:
                left = barred
        rows.append(row)
        above = [*row, barred]
    return rows
