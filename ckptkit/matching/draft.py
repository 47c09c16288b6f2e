"""A match in the making: which units are paired and which are tied."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from ckptkit.matching.paths import LayerPath, without_common_prefixes
from ckptkit.matching.signatures import Misfit, UnitFit, classify, compare_units, signature
from ckptkit.matching.units import Side


@dataclass(frozen=True, slots=True)
class Link:
    """A pair of units: the target's index, the readings under which they agree, what it rests on, by which margin."""

    target: int
    fit: UnitFit
    evidence: tuple[str, ...]
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Fan:
    """A source that fills a further target: its index, the readings, and what says so."""

    source: int
    fit: UnitFit
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tie:
    """Units that fit each other in more than one way."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    why: str


@dataclass(slots=True)
class MatchDraft:
    """What a matcher writes into. Units are named by their index.

    Attributes:
        a: the source.
        b: the target.
        links: source -> link.
        taken: target -> source.
        fans: target -> the source that fills it beside its own.
        copies: target -> further sources that must hold what the linked one holds.
    """

    a: Side
    b: Side
    links: dict[int, Link] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)
    fans: dict[int, Fan] = field(default_factory=dict)
    copies: dict[int, list[tuple[int, UnitFit]]] = field(default_factory=dict)
    _ties: list[Tie] = field(default_factory=list)
    _tied_a: set[int] = field(default_factory=set)
    _tied_b: set[int] = field(default_factory=set)
    _signatures: tuple[list[Hashable], list[Hashable]] | None = None
    _fits: dict[tuple[Hashable, Hashable], bool] = field(default_factory=dict)
    _paths: tuple[list[LayerPath], list[LayerPath]] | None = None

    @property
    def paths_a(self) -> list[LayerPath]:
        """The source's paths, by unit."""
        return self._both_paths()[0]

    @property
    def paths_b(self) -> list[LayerPath]:
        """The target's paths, by unit."""
        return self._both_paths()[1]

    def _both_paths(self) -> tuple[list[LayerPath], list[LayerPath]]:
        if self._paths is None:
            self._paths = without_common_prefixes(self.a.paths(), self.b.paths())
        return self._paths

    def link(self, source: int, target: int, evidence: tuple[str, ...], margin: float | None = None) -> bool:
        """Pair two units, unless one is taken or tied or their readings do not agree; returns whether it did."""
        if not self.is_free(source, target):
            return False
        fit = self.fit(source, target)
        if fit is not None:
            self.settle(source, target, fit, evidence, margin)
        return fit is not None

    def is_free(self, source: int, target: int) -> bool:
        """Whether neither of two units is paired or tied."""
        taken = source in self.links or target in self.taken
        return not (taken or source in self._tied_a or target in self._tied_b)

    def settle(
        self, source: int, target: int, fit: UnitFit, evidence: tuple[str, ...], margin: float | None = None
    ) -> None:
        """Pair two units that are known to fit, also where they were part of a tie."""
        self.links[source] = Link(target, fit, evidence, margin)
        self.taken[target] = source

    def fit(self, source: int, target: int) -> UnitFit | None:
        """How the readings of two units agree; None where they do not."""
        found = compare_units(self.a.units[source], self.b.units[target])
        return None if isinstance(found, Misfit) else found

    def fits(self, source: int, target: int) -> bool:
        """Whether two units can hold each other's weights; as `fit`, remembered for all units that are made alike."""
        if self._signatures is None:
            self._signatures = [signature(unit) for unit in self.a.units], [signature(unit) for unit in self.b.units]
        key = self._signatures[0][source], self._signatures[1][target]
        known = self._fits.get(key)
        if known is None:
            known = self._fits[key] = self.fit(source, target) is not None
        return known

    def tie(self, source: Iterable[int], target: Iterable[int], why: str) -> None:
        """Say that the units not yet paired among these fit each other in more than one way."""
        free_a = tuple([i for i in source if i not in self.links])
        free_b = tuple([j for j in target if j not in self.taken])
        if free_a and free_b:
            self._ties.append(Tie(free_a, free_b, why))
            self._tied_a.update(free_a)
            self._tied_b.update(free_b)

    def ties(self) -> list[Tie]:
        """What is ambiguous in the end: no unit in two groups, none that has been paired."""
        groups = _Groups()
        for tie in self._ties:
            groups.join([*[(0, i) for i in tie.source], *[(1, j) for j in tie.target]])
        copied = {i for sources in self.copies.values() for i, _ in sources}
        fanned = {fan.source for fan in self.fans.values()}
        whys: dict[tuple[int, int], str] = {}
        for tie in self._ties:
            whys.setdefault(groups.find((0, tie.source[0])), tie.why)
        members: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        for i in sorted(self._tied_a - self.links.keys() - copied - fanned):
            members.setdefault(groups.find((0, i)), ([], []))[0].append(i)
        for j in sorted(self._tied_b - self.taken.keys() - self.fans.keys()):
            members.setdefault(groups.find((1, j)), ([], []))[1].append(j)
        return [Tie(tuple(a), tuple(b), whys[root]) for root, (a, b) in members.items() if a and b]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The pairs: (source, target)."""
        return [(source, link.target) for source, link in self.links.items()]

    @property
    def settled(self) -> bool:
        """Whether one of the sides has no unit left that could be paired."""
        return len(self.links) in (len(self.a.units), len(self.b.units))

    @property
    def complete(self) -> bool:
        """Whether every unit of both sides is paired."""
        return len(self.links) == len(self.a.units) == len(self.b.units)

    def classes(self, *, loose: bool = False) -> tuple[list[int], list[int]]:
        """The class of every unit of either side (see `classify`)."""
        return classify(self.a.units, self.b.units, self.paths_a, self.paths_b, loose=loose)

    def untied_classes(self, *, loose: bool) -> tuple[list[int], list[int]]:
        """The classes, with a negative number of its own for every unit that is part of a tie."""
        numbers_a, numbers_b = self.classes(loose=loose)
        return (
            [-1 - 2 * i if i in self._tied_a else number for i, number in enumerate(numbers_a)],
            [-2 - 2 * j if j in self._tied_b else number for j, number in enumerate(numbers_b)],
        )


class _Groups:
    """Sets of nodes, joined where they overlap."""

    def __init__(self) -> None:
        self._parents: dict[tuple[int, int], tuple[int, int]] = {}

    def find(self, node: tuple[int, int]) -> tuple[int, int]:
        """The representative of the set that `node` is in."""
        parents = self._parents
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    def join(self, nodes: Sequence[tuple[int, int]]) -> None:
        """Make one set of all that `nodes` are in."""
        root = self.find(nodes[0])
        for node in nodes[1:]:
            self._parents[self.find(node)] = root
