"""What went where, as a picture: layers on two sides, and curves between those that were paired."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.grounds import GROUNDS
from ckptkit.report.html.document import End, Flow, Ribbon
from ckptkit.report.html.drawing import ROW, link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# A picture of more rows is folded at first; of still more, the rest is counted.
_FOLDED = 60
_MOST_ROWS = 400

# What a line rests on, in words; each is a class of line in the style sheet too.
_LINES = {**GROUNDS, "swap": "holds what the other one has in b", "other": "another reason"}

_NO_LAYER = "(no layer)"


@dataclass(frozen=True, slots=True)
class Way:
    """Variables that go from a layer of the source to one of the target.

    Attributes:
        source: layer; "" for variables that belong to none, None where there is no source.
        target: likewise.
        evidence: on what ground, as `grounds.ground` says it.
        variables: how many.
    """

    source: str | None
    target: str | None
    evidence: str
    variables: int = 1


def flow(
    ways: Iterable[Way], order: tuple[Sequence[str], Sequence[str]], titles: tuple[str, str], advice: str
) -> Flow | None:
    """The picture, or None where there is nothing to draw.

    Args:
        ways: in any order; those between the same two layers are drawn as one.
        order: layers of each side in the order of its file; layers that are not in it follow.
        titles: of the two sides.
        advice: how to see what is not drawn.
    """
    joined: dict[tuple[str | None, str | None], Counter[str]] = {}
    for way in ways:
        kind = way.evidence
        joined.setdefault((way.source, way.target), Counter())[kind if kind in _LINES else "other"] += way.variables
    sides = [_ordered([layer for pair in joined if (layer := pair[side]) is not None], order[side]) for side in (0, 1)]
    if not joined:
        return None
    rows = [{layer: row for row, layer in enumerate(side[:_MOST_ROWS])} for side in sides]
    linked = [{pair[side] for pair in joined if None not in pair} for side in (0, 1)]
    links = []
    drawn: Counter[str] = Counter()
    for (source, target), evidence in joined.items():
        if source in rows[0] and target in rows[1]:
            kind = evidence.most_common(1)[0][0]
            drawn[kind] += 1
            number = f"{words.count(evidence.total(), 'variable')}, " if kind != "swap" else ""
            label = f"{_shown(source)} → {_shown(target)}: {number}{_LINES[kind]}"
            links.append(Ribbon(link(rows[0][source], rows[1][target]), kind, label))
    counts: list[Counter[str | None]] = [Counter(), Counter()]
    for pair, evidence in joined.items():
        if "swap" not in evidence:
            for side in (0, 1):
                counts[side][pair[side]] += evidence.total()
    ends = [
        tuple(
            End(*_parted(layer), _detail(counts[side][layer], layer in linked[side]), layer in linked[side])
            for layer in rows[side]
        )
        for side in (0, 1)
    ]
    if any(not end.linked for side in ends for end in side):
        drawn["none"] = 0
    left = max(map(len, sides)) - _MOST_ROWS
    height = max(map(len, rows))
    return Flow(
        titles=titles,
        sources=ends[0],
        targets=ends[1],
        links=tuple(links),
        legend=tuple(
            (kind, f"{_LINES[kind]} ({words.count(number)})" if number else "underlined: no partner")
            for kind, number in drawn.most_common()
        ),
        height=height * ROW,
        folded=height > _FOLDED,
        left=f"… and {words.count(left, 'layer')} more on a side; {advice}" if left > 0 else "",
    )


def layer_of(name: str, layers: Mapping[str, str]) -> str:
    """The layer of a variable: as its file has it, else the scope that its name tells."""
    return layers[name] if name in layers else name.rpartition("/")[0]


def _ordered(layers: Iterable[str], order: Sequence[str]) -> list[str]:
    """Each of `layers` once, those of `order` first."""
    wanted = dict.fromkeys(layers)
    known = {layer: None for layer in order if layer in wanted}
    return list(known | wanted)


def _shown(layer: str | None) -> str:
    return layer or _NO_LAYER


def _parted(layer: str) -> tuple[str, str]:
    """Scope and name: where there is little room the scope is cut, which many layers share."""
    scope, slash, name = _shown(layer).rpartition("/")
    return scope + slash, name


def _detail(variables: int, linked: bool) -> str:
    detail = words.count(variables, "variable")
    return detail if linked else f"{detail}, no partner"
