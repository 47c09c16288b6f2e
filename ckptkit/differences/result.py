"""The outcome of a diff: plain data, and its JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ckptkit.display import Displayed, whole

if TYPE_CHECKING:
    from ckptkit.assets import AssetDiff
    from ckptkit.compare import Statistics, Tolerance
    from ckptkit.matching.result import Unmatched
    from ckptkit.model import By, Variable

Verdict = Literal["identical", "within", "different"]

PairStatus = Literal["identical", "within", "different", "shape", "dtype", "rearranged"]

SCHEMA = "ckptkit.diff/1"


@dataclass(frozen=True, slots=True)
class PairDiff:
    """A pair of variables (or of groups of them that hold the same parts) and how far apart they are.

    Attributes:
        source: variables of a.
        target: variables of b, the reference.
        evidence: what the pair rests on, strongest first.
        status: as in `compare.Comparison`, or `rearranged`: other values at their places, and the same elements in an
            order that `note` says and that no convention of the two sides demands. That counts as different.
        statistics: of the elements at their places; None where the shapes differ.
        note: what was done to a before it was compared, or what else is to be known; None when there is nothing.
    """

    source: tuple[Variable, ...]
    target: tuple[Variable, ...]
    evidence: tuple[str, ...]
    status: PairStatus
    statistics: Statistics | None
    note: str | None = None

    @property
    def a_name(self) -> str:
        """Canonical name in a; several are joined by ` + `."""
        return " + ".join([variable.name for variable in self.source])

    @property
    def b_name(self) -> str:
        """Canonical name in b; several are joined by ` + `."""
        return " + ".join([variable.name for variable in self.target])

    @property
    def is_weight(self) -> bool:
        """Whether one of its variables is a weight, not only slots, state or metadata."""
        return any(variable.kind == "weight" for variable in (*self.source, *self.target))

    @property
    def verdict(self) -> Verdict:
        """`identical`, `within` or `different`; a pair of two dtypes is judged by its values."""
        if self.status == "dtype" and self.statistics is not None:
            return "different" if self.statistics.mismatched else "within"
        return self.status if self.status == "identical" or self.status == "within" else "different"

    @property
    def max_index(self) -> tuple[int, ...] | None:
        """Index in b of the element that is farthest off; None where nothing is."""
        if self.statistics is None or self.statistics.max_at < 0 or len(self.target) != 1:
            return None
        index = []
        rest = self.statistics.max_at
        for size in reversed(self.target[0].shape):
            rest, place = divmod(rest, size)
            index.append(place)
        return tuple(reversed(index))

    def to_json(self) -> dict[str, Any]:
        """One entry of `pairs`; what is not a finite number is null."""
        found = self.statistics
        index = self.max_index
        return {
            "a": " + ".join([variable.key for variable in self.source]),
            "b": " + ".join([variable.key for variable in self.target]),
            "a_name": self.a_name,
            "b_name": self.b_name,
            "kind": self.target[0].kind,
            "shape_a": [list(variable.shape) for variable in self.source],
            "shape_b": [list(variable.shape) for variable in self.target],
            "dtype_a": self.source[0].dtype,
            "dtype_b": self.target[0].dtype,
            "evidence": list(self.evidence),
            "status": self.status,
            "max_abs": None if found is None else _finite(found.max_abs),
            "max_rel": None if found is None else _finite(found.max_rel),
            "mean_abs": None if found is None else _finite(found.mean_abs),
            "rms": None if found is None else _finite(found.rms),
            "cosine": None if found is None else _finite(found.cosine),
            "change": None if found is None else _finite(found.change),
            "mismatched": None if found is None else found.mismatched,
            "max_index": None if index is None else list(index),
            "nan_a": None if found is None else found.nan_a,
            "nan_b": None if found is None else found.nan_b,
            "inf_a": None if found is None else found.inf_a,
            "inf_b": None if found is None else found.inf_b,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class LayerChange:
    """All paired weights of one layer together.

    Attributes:
        a: name of the layer in a; "" for variables that belong to none.
        b: its name in b.
        verdict: the worst of its pairs'.
        change: root mean square of a - b relative to that of b; None where b is zero and a is not, or a shape differs.
        max_abs: the largest |a - b|.
        worst: canonical name in b of the variable with the largest difference; None where nothing differs.
        variables: how many pairs.
    """

    a: str
    b: str
    verdict: Verdict
    change: float | None
    max_abs: float
    worst: str | None
    variables: int


@dataclass(frozen=True, slots=True)
class Swap:
    """Variables paired by name, scope or order that hold each other's contents.

    Attributes:
        names: layers of a, or variables where only some of a layer's are concerned, in the order of the cycle: what a has in
            `names[i]` is what b has in `names[i + 1]`, and in the first after the last.
        cycles: the same, canonical variable name by name; each is one cycle of equal contents.
        whole: whether everything that differs in these layers is explained by it.
    """

    names: tuple[str, ...]
    cycles: tuple[tuple[str, ...], ...]
    whole: bool

    def __str__(self) -> str:
        if len(self.names) == 2:
            return f"{self.names[0]} and {self.names[1]} hold each other's weights"
        return f"{' → '.join((*self.names, self.names[0]))}: each holds in b what the one before it holds in a"


@dataclass(frozen=True, slots=True)
class AmbiguousGroup:
    """Variables that fit each other in more than one way.

    Attributes:
        source: canonical names in a.
        target: canonical names in b.
        why: as the matcher says.
        equal: as many on both sides, all with the same content, so that no way of pairing them makes a difference.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    why: str
    equal: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over a whole diff; pairs by their status, each in exactly one."""

    pairs: int
    identical: int
    within: int
    different: int
    shape: int
    dtype: int
    only_a: int
    only_b: int
    ambiguous: int
    elements: int
    rearranged: int = 0


@dataclass(frozen=True, slots=True)
class Diff(Displayed):
    """What differs between checkpoint a and its reference b.

    Attributes:
        a: path of a.
        b: path of b.
        by: how the variables were matched.
        order_sources: where the layer order of each came from, where order played a part.
        tolerance: what counted as equal enough.
        verdict: of all weights: `different` also where one side has one that the other lacks, or a group is ambiguous
            and not equal. Slots and state count only where the diff was asked to include them, metadata then in one format.
        pairs: in the order of b.
        only_a: variables that b has nothing for, with the nearest that it has.
        only_b: variables that a has nothing for.
        ambiguous: what was not paired because it could be in several ways.
        swaps: layers or variables that hold each other's contents.
        layers: how much each layer changed, in the order of b.
        totals: counts.
        others: names in `only_a` and `only_b` that are no weights: slots, state and metadata.
        unread: names of what was not compared, for its type has no data to be read (the state of an iterator).
        assets: vocabularies, tables and settings of both, paired. They count in the verdict.
    """

    a: str
    b: str
    by: By
    order_sources: tuple[str, str] | None
    tolerance: Tolerance
    verdict: Verdict
    pairs: tuple[PairDiff, ...]
    only_a: tuple[Unmatched, ...]
    only_b: tuple[Unmatched, ...]
    ambiguous: tuple[AmbiguousGroup, ...]
    swaps: tuple[Swap, ...]
    layers: tuple[LayerChange, ...]
    totals: Totals
    others: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    assets: tuple[AssetDiff, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints; numbers that are not finite, and those that do not apply, are null."""
        return whole(self.json_parts())

    def json_parts(self) -> dict[str, Any]:
        """See `Displayed.json_parts`."""
        return {
            "schema": SCHEMA,
            "a": self.a,
            "b": self.b,
            "by": self.by,
            "order_sources": None if self.order_sources is None else list(self.order_sources),
            "atol": self.tolerance.atol,
            "rtol": self.tolerance.rtol,
            "verdict": self.verdict,
            "pairs": (pair.to_json() for pair in self.pairs),
            "only_a": [_unmatched_json(each) for each in self.only_a],
            "only_b": [_unmatched_json(each) for each in self.only_b],
            "ambiguous": [
                {"a": list(group.source), "b": list(group.target), "why": group.why, "equal": group.equal}
                for group in self.ambiguous
            ],
            "swaps": [
                {
                    "names": list(swap.names),
                    "cycles": [list(cycle) for cycle in swap.cycles],
                    "whole": swap.whole,
                    "text": str(swap),
                }
                for swap in self.swaps
            ],
            "layers": (
                {
                    "a": layer.a,
                    "b": layer.b,
                    "verdict": layer.verdict,
                    "change": _finite(layer.change),
                    "max_abs": _finite(layer.max_abs),
                    "worst": layer.worst,
                    "variables": layer.variables,
                }
                for layer in self.layers
            ),
            "assets": [each.to_json() for each in self.assets],
            "totals": asdict(self.totals),
            "unread": list(self.unread),
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _unmatched_json(unmatched: Unmatched) -> dict[str, Any]:
    return {
        "name": unmatched.name,
        "nearest": [{"name": candidate.name, "why": candidate.why} for candidate in unmatched.nearest],
    }
