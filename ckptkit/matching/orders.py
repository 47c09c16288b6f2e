"""The orders in which one side has its layers: its own, and those that names, counters and scopes show.

Orders are of *creation* (the variables of a TF1 graph, the attributes of a subclass, the counters of automatic names) or
of *depth* (a functional Keras model lists its layers depth by depth). Both are the same in a chain and differ between
towers; a file that does not say which of them it has is taken for either as long as nothing speaks against it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from ckptkit.matching.graph import flow_of, goes_along, leads, read_follows, tower_by_tower
from ckptkit.matching.labels import Label
from ckptkit.matching.named_orders import (
    against_numbers,
    by_counters,
    by_scopes,
    by_shared_counters,
    ends_in_number,
    numbered,
    parted_by_numbers,
    staged,
    torn,
)
from ckptkit.matching.units import Nature, Side
from ckptkit.matching.vocabulary import KIND_WORDS, NOISE

CREATION: frozenset[Nature] = frozenset({"creation"})
DEPTH: frozenset[Nature] = frozenset({"depth"})
EITHER: frozenset[Nature] = frozenset({"creation", "depth"})


# What an order that the file has itself is called, and one that was made from numbers.
FILE = "order"
NUMBERS = "order of numbers"


@dataclass(frozen=True, slots=True)
class Reading:
    """Layers in one order.

    Attributes:
        natures: what kind of order it is; both where it is one of them, or the same for both.
        sequence: units.
        says: what it was read from, for people.
        disputed: whether something else on its side says another order, or could: counters, or numbers of scopes, of which
            each may lie beside the next.
        made: whether it was made from names, so that it counts only where it fits in far more than luck could bring.
    """

    natures: frozenset[Nature]
    sequence: tuple[int, ...]
    says: str
    made: bool = False
    disputed: bool = False


class Orders:
    """The orders of one side.

    Attributes:
        follows: which layers each layer feeds; None where the graph is not known.
        stored: all units in the order of the file; none where that is no order.
    """

    def __init__(self, side: Side, labels: Sequence[Sequence[Label]], classes: Sequence[int]) -> None:
        """Read them.

        Args:
            side: the checkpoint.
            labels: the names of each unit.
            classes: the class of each unit, also of those that are paired.
        """
        self._labels = labels
        self._classes = classes
        self._flows = [flow_of(unit) for unit in side.units]
        self._counters = [own for own in by_counters(labels) if not against_numbers(own, labels)]
        self._shared = by_shared_counters(labels)
        self._certain = side.listed
        self._listed = side.listed
        self.stored = tuple(range(len(side.units))) if side.recorded else ()
        self.follows = read_follows(side)
        self._towers = None if self.follows is None else tower_by_tower(self.follows)
        self._file, self._doubtful = self._of_file(side)
        self._natural = tuple(range(len(side.units))) if side.order_source == "natural" else None

    def list_of(self, group: Set[int]) -> Reading | None:
        """The list that a functional model has of its layers; None where it has none with all of `group`."""
        return self._file if self._listed and self._file is not None and group <= set(self._file.sequence) else None

    def _of_file(self, side: Side) -> tuple[Reading | None, Reading | None]:
        """The file's own order; or, second, one that layers cannot be called in as far as their channels show."""
        if not side.recorded:
            return None, None
        sequence = tuple([index for index, unit in enumerate(side.units) if unit.is_layer and unit.ordered])
        natures = EITHER if side.nature is None else frozenset({side.nature})
        counted = (self._within(sequence, own) == own for own in self._counters)
        if natures == EITHER and torn(sequence, self._labels):
            natures, self._listed = DEPTH, True
        elif natures == EITHER and not all(counted):
            natures, self._listed = DEPTH, self._listed or side.may_list
            if (
                side.order_source == "stored" and not self._listed
            ):  # attributes, in an order in which they were not made
                return None, Reading(natures, sequence, FILE, made=True)
        if natures != DEPTH and against_numbers(sequence, self._labels):
            return None, None
        if self._flowing(sequence):
            return Reading(natures, sequence, FILE), None
        return None, Reading(natures, sequence, FILE, made=True)

    def _flowing(self, sequence: Sequence[int]) -> bool:
        """Whether layers can be called in this order rather than backwards, by the graph or the channels of each.

        Layers made in another order than they are called in (the last one first) give themselves away so.
        """
        if self.follows is not None and goes_along(self.follows, self._towers, sequence):
            return True
        return self._framed(sequence) and self._starved(sequence) <= self._starved(sequence[::-1])

    def _framed(self, sequence: Sequence[int]) -> bool:
        """Whether the row starts with what nothing feeds or ends with what feeds nothing, where there are such layers.

        An image that is flattened feeds what takes a multiple of its channels.
        """
        flows = [flow for index in sequence if (flow := self._flows[index]) is not None]
        takes, gives = {flow[0] for flow in flows}, {flow[1] for flow in flows}
        entries = {width for width in takes if not any(width % given == 0 for given in gives if given > 1)}
        exits = {width for width in gives if width == 1 or not any(taken % width == 0 for taken in takes)}
        return not entries or not exits or flows[0][0] in entries or flows[-1][1] in exits

    def _starved(self, sequence: Sequence[int]) -> int:
        """How many layers take what some layer gives and none before them."""
        given = {flow[1] for index in sequence if (flow := self._flows[index]) is not None}
        ready: set[int] = set()
        starved = 0
        for place, index in enumerate(sequence):
            flow = self._flows[index]
            if flow is not None:
                starved += bool(place) and flow[0] in given and flow[0] not in ready
                ready.add(flow[1])
        return starved

    def readings(self, group: Sequence[int]) -> list[Reading]:
        """The orders in which all of `group`, layers of one class, have a place.

        Where one count goes through all of them, in whatever scopes, it gives the order in which they were made.
        """
        found = self._readings(group)
        if self._counter_of(group) is not None:
            return found
        shared = next((own for own in self._shared if set(group) <= set(own)), None)
        if shared is None or any(reading.says == NUMBERS for reading in found):
            return found
        made = self._within(shared, group)
        known = []
        for reading in found:
            if self._within(reading.sequence, group) == made:
                known.append(reading)
            elif "depth" in reading.natures:
                known.append(replace(reading, natures=DEPTH))
        if not any("creation" in reading.natures for reading in known):
            known.append(Reading(CREATION, shared, "order of counters"))
        return known

    def unsure(self, group: Sequence[int]) -> Reading | None:
        """The order in which the file has a group whose places are none for certain; None where it has one that is.

        A group of Keras 2 lists what is trained before what is frozen: either that, or the layers were made in another order.
        """
        if not self.stored or (self._file is not None and set(group) <= set(self._file.sequence)):
            return None
        return Reading(DEPTH, self.stored, FILE)

    def _readings(self, group: Sequence[int]) -> list[Reading]:
        wanted = set(group)
        found = []
        file = self._file
        if file is not None and not wanted <= set(file.sequence):
            file = None
        doubtful = self._doubtful
        if doubtful is not None and not wanted <= set(doubtful.sequence):
            doubtful = None
        in_numbers = numbered(group, self._labels)
        if in_numbers is not None:
            if file is None or file.natures != DEPTH or self._within(file.sequence, in_numbers) == in_numbers:
                leaf = ends_in_number(self._labels[group[0]][0])
                by_numbers = Reading(EITHER, in_numbers, NUMBERS, disputed=not leaf)
                further = file or doubtful
                return [by_numbers] if leaf or further is None else [by_numbers, further]
            return []
        counted = next((own for own in self._counters if wanted <= set(own) and self._flowing(own)), None)
        in_stages = staged(group, self._labels)
        if in_stages is not None and file is None:
            return [Reading(EITHER, in_stages, "order of parts")]
        if file is not None:
            by_graph = self._by_graph(file, group)
            if by_graph and counted is not None:
                disputed = self._within(counted, group) != self._within(file.sequence, group)
                by_graph = [replace(reading, disputed=disputed) for reading in by_graph]
                by_graph.append(Reading(CREATION, counted, "order of counters", made=True))
            if by_graph:
                return by_graph
            scopes = by_scopes(file.sequence, self._labels)
            if "creation" in file.natures:
                found.append(file)
                if counted is not None and self._is_list(counted):
                    found.append(Reading(CREATION, counted, "order of counters"))
            else:
                found.append(file)
                if scopes != file.sequence:
                    found.append(Reading(CREATION, scopes, "order of scopes"))
                elif counted is not None:
                    plausible = self._plausible(file.sequence, counted, group)
                    found[-1] = replace(file, disputed=not plausible)
                    found.append(Reading(CREATION, counted, "order of counters", made=not plausible))
        elif counted is not None:
            found.append(Reading(CREATION, counted, "order of counters"))
        elif self._natural is not None and parted_by_numbers(group, self._labels):
            found.append(Reading(CREATION, self._natural, NUMBERS, made=True))
        elif doubtful is not None:
            found.append(doubtful)
        return found

    def _by_graph(self, file: Reading, group: Sequence[int]) -> list[Reading]:
        """The orders of a graph that has the group in the same order depth by depth and branch by branch."""
        row = self._within(file.sequence, group)
        if file.natures != DEPTH:
            return []
        if self._chained(row):
            return [replace(file, natures=EITHER)]
        if self._towers is None or self._within(self._towers, group) != row:
            return []
        return [replace(file, natures=EITHER), Reading(CREATION, self._towers, FILE)]

    def _chained(self, row: Sequence[int]) -> bool:
        """Whether the graph leads from each of the row to the next, so that there is one order to call them in."""
        return self.follows is not None and all(
            leads(self.follows, one, other) for one, other in itertools.pairwise(row)
        )

    def _is_list(self, counted: Sequence[int]) -> bool:
        """Whether these are a list that its user named, of layers of one class: `norms/0`, `norms/1`."""
        words = self._labels[counted[0]][0].words
        named = any(word not in KIND_WORDS and word not in NOISE for word in words[-1:])
        return named and len({self._classes[index] for index in counted}) == 1

    def _counter_of(self, group: Sequence[int]) -> tuple[int, ...] | None:
        """The layers of one automatic name, in the order of their counters, if all of the group are such."""
        wanted = set(group)
        return next((own for own in self._counters if wanted <= set(own)), None)

    def counted(self, group: Sequence[int]) -> bool:
        """Whether counters put the group in an order, and in that of the file where it has one."""
        counted = self._counter_of(group)
        if counted is None:
            return False
        return self._file is None or self._within(self._file.sequence, group) == self._within(counted, group)

    def counters_say(self, group: Sequence[int], order: Sequence[int]) -> tuple[int, ...] | None:
        """In which places of an order the counters put the group; None where it has none, or is known to need none."""
        counted = self._counter_of(group)
        if counted is None or self._certain:
            return None
        places = {index: place for place, index in enumerate(order)}
        return tuple([places[index] for index in self._within(counted, group)])

    def parallel(self, group: Sequence[int]) -> bool:
        """Whether layers of the group are known to lie side by side, so that it matters which order a file has."""
        if self._file is None or "depth" not in self._file.natures or not set(group) <= set(self._file.sequence):
            return False
        rows = self._within(self._file.sequence, group)
        if self._towers is not None:
            return self._within(self._towers, group) != rows
        if self._file.natures != DEPTH:
            return False
        counted = self._counter_of(group)
        columns = rows if counted is None else self._within(counted, group)
        scopes = self._within(by_scopes(self._file.sequence, self._labels), group)
        if columns != rows and self.follows is not None and not self._chained(rows):
            return True
        return scopes != rows or (columns != rows and self._plausible(rows, columns, group))

    def in_towers(self, group: Sequence[int]) -> bool:
        """Whether a user's names part the group into rows that are numbered alike: `left_1, left_2, right_1, right_2`."""
        rows: dict[tuple[tuple[str, ...], tuple[int, ...]], list[int]] = defaultdict(list)
        for index in group:
            label = self._labels[index][0]
            if label.counter is None and label.numbers:
                rows[label.pattern, label.numbers[:-1]].append(label.numbers[-1])
        numbers = {tuple(sorted(row)) for row in rows.values()}
        return len(rows) > 1 == len(numbers) and max(map(len, numbers)) > 1

    def _within(self, sequence: Iterable[int], members: Iterable[int]) -> tuple[int, ...]:
        wanted = set(members)
        return tuple([index for index in sequence if index in wanted])

    def _plausible(self, file: tuple[int, ...], counted: tuple[int, ...], group: Sequence[int]) -> bool:
        """Whether layers made in the order of their counters could lie depth by depth as they do: tower by tower."""
        rows = self._within(file, group)
        columns = self._within(counted, group)
        if rows == columns:
            return True
        count = len(rows)
        return any(
            columns
            == tuple([rows[depth * towers + tower] for tower in range(towers) for depth in range(count // towers)])
            for towers in range(2, count // 2 + 1)
            if count % towers == 0
        )
