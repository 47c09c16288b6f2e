"""Blocks that are alike, told once: `24 blocks alike: 0…23 = 0…23`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

# Blocks up to which nothing is folded.
_FEWEST = 3

# The first number of a name that counts something: not that of `conv2d`.
_NUMBER = re.compile(r"(?<!\d)\d{1,6}(?![\ddD])")


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one step.

    Attributes:
        target: name of the variable.
        source: what it is made of.
        same: all else that rows of blocks that are alike have in common.
    """

    target: str
    source: str
    same: Hashable


@dataclass(frozen=True, slots=True)
class Alike:
    """Blocks that are like the first one, which is shown: how many, and their numbers on either side."""

    blocks: int
    targets: str
    sources: str


def fold(rows: Sequence[Row]) -> Iterator[int | Alike]:
    """The places of the rows to be shown, and what stands for the others after those of a first block."""
    counted = [(_NUMBER.search(row.target), _NUMBER.search(row.source)) for row in rows]
    members: dict[Hashable, list[tuple[int, int, int]]] = defaultdict(list)
    for place, (row, (target, source)) in enumerate(zip(rows, counted, strict=True)):
        if target and source:
            key = (_parted(row.target, target), _parted(row.source, source), row.same)
            members[key].append((int(target[0]), int(source[0]), place))
    blocks: dict[Hashable, Alike] = {}
    told: dict[int, Hashable] = {}
    for own in members.values():
        numbers = [(target, source) for target, source, _ in own]
        first = numbers[0]
        rising = numbers == [(first[0] + step, first[1] + step) for step in range(len(numbers))]
        if len(own) < _FEWEST or not rising:
            continue
        unit = (_NUMBER.split(rows[own[0][2]].target, maxsplit=1)[0], tuple(numbers))
        last = numbers[-1]
        blocks[unit] = Alike(len(own), f"{first[0]}…{last[0]}", f"{first[1]}…{last[1]}")
        told.update((place, unit) for _, _, place in own[1:])
    said: set[Hashable] = set()
    for place in range(len(rows)):
        found = told.get(place)
        if found is None:
            yield place
        elif found not in said:
            said.add(found)
            yield blocks[found]


def _parted(name: str, number: re.Match[str]) -> tuple[str, str]:
    return name[: number.start()], name[number.end() :]
