"""For what is left over: what came near on the other side, and why it was turned down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptkit.errors import printable
from ckptkit.matching.result import Candidate, Unmatched
from ckptkit.matching.signatures import Misfit, compare_units, number_class
from ckptkit.matching.units import Unit
from ckptkit.model import Variable

_MOST = 3

# Stands for all roles where no variable has the same one.
_ANY = ""

# Variables of one role and rank that are looked through for the nearest shape.
_LOOKED_AT = 64


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the variables of the other side.

    Attributes:
        taken: name -> name of the variable on this side that it went to.
        tied: names of what is ambiguous.
    """

    taken: Mapping[str, str]
    tied: frozenset[str]


class Nearest:
    """Finds the candidates for leftovers among the variables of the other side."""

    def __init__(self, others: Sequence[Variable], fate: Fate, units: tuple[Sequence[Unit], Sequence[Unit]]) -> None:
        """Look among `others`, whose units are the second of `units`; the first are the leftovers' own."""
        self._fate = fate
        self._own, self._other = ({v.name: unit for unit in side for v in unit.weights} for side in units)
        self._misfits: dict[tuple[str, str], str] = {}
        self._by_name: dict[str, list[Variable]] = defaultdict(list)
        self._by_tail: dict[str, list[Variable]] = defaultdict(list)
        self._by_shape: dict[tuple[str, tuple[int, ...]], list[Variable]] = defaultdict(list)
        self._free: dict[tuple[str, int], list[Variable]] = defaultdict(list)
        self._nearest: dict[tuple[str, tuple[int, ...]], list[Variable]] = {}
        for variable in others:
            word = _word(variable)
            self._by_name[variable.name].append(variable)
            self._by_tail[_tail(variable)].append(variable)
            self._by_shape[word, variable.shape].append(variable)
            if variable.name not in fate.taken:
                self._free[word, len(variable.shape)].append(variable)
                self._free[_ANY, len(variable.shape)].append(variable)

    def unmatched(self, variable: Variable) -> Unmatched:
        """A leftover with its nearest candidates."""
        word = _word(variable)
        found: dict[str, Variable] = {}
        for group in (
            self._by_name.get(variable.name, ()),
            self._by_tail.get(_tail(variable), ())[:_MOST],
            self._nearest_free(word, variable.shape),
            self._by_shape.get((word, variable.shape), ())[:_MOST],
        ):
            found.update((other.name, other) for other in group)
        if not found:
            found.update((other.name, other) for other in self._nearest_free(_ANY, variable.shape))
        first = list(found.values())[:_MOST]
        return Unmatched(variable.name, tuple(Candidate(other.name, self._why(variable, other)) for other in first))

    def _nearest_free(self, word: str, shape: tuple[int, ...]) -> list[Variable]:
        """Variables that are not paired, of the same role and rank, those that share most dimensions first."""
        found = self._nearest.get((word, shape))
        if found is None:
            free = self._free.get((word, len(shape)), ())[:_LOOKED_AT]
            found = sorted(free, key=lambda other: -sum(x == y for x, y in zip(shape, other.shape, strict=True)))[
                :_MOST
            ]
            self._nearest[word, shape] = found
        return found

    def _why(self, variable: Variable, other: Variable) -> str:
        if variable.shape != other.shape:
            misfit = self._misfit(variable.name, other.name) if variable.name == other.name else ""
            return misfit if misfit.startswith("another option") else f"another shape {list(other.shape)}"
        if number_class(variable.dtype) != number_class(other.dtype):
            return f"another dtype {other.dtype}"
        if _word(variable) != _word(other):
            return f"another role {printable(_word(other))}"
        if other.name in self._fate.taken:
            taker = self._fate.taken[other.name]
            return f"already taken by {printable(taker)}" if taker else "nothing, as its layer does without"
        if other.name in self._fate.tied:
            return "ambiguous itself"
        return self._misfit(variable.name, other.name) or "nothing but its shape speaks for it"

    def _misfit(self, name: str, other: str) -> str:
        """Why the layers of two variables do not fit, in words that describe the other; "" where they do."""
        own_unit, other_unit = self._own.get(name), self._other.get(other)
        if own_unit is None or other_unit is None:
            return ""
        key = (own_unit.original, other_unit.original)
        if key not in self._misfits:
            found = compare_units(other_unit, own_unit)
            self._misfits[key] = found.why if isinstance(found, Misfit) else ""
        return self._misfits[key]


def _word(variable: Variable) -> str:
    return variable.role or variable.name.rpartition("/")[2]


def _tail(variable: Variable) -> str:
    """The last two components, in which a layer's own name and the role stand."""
    return "/".join(variable.name.rsplit("/", 2)[-2:])
