"""`diff` as a report: what differs, layer by layer and variable by variable."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.difference import VERDICTS
from ckptkit.report.grounds import ground, tally
from ckptkit.report.html.cells import Badge, Cell, Curve, Meter, Number, Text, Tone
from ckptkit.report.html.document import (
    MOST_ROWS,
    NARROW,
    Column,
    Document,
    Fact,
    Node,
    Section,
    Table,
    Verdict,
    listed,
    more,
)
from ckptkit.report.html.drawing import steps
from ckptkit.report.html.flow import Way, flow, layer_of
from ckptkit.report.html.layers import Leaf, tree
from ckptkit.report.html.unpaired import unpaired

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.assets import AssetDiff
    from ckptkit.compare.spreads import Spread
    from ckptkit.differences import Diff, LayerChange, PairDiff

_LESS = "none differs more than the last one here"

_TONES: dict[str, Tone] = {
    "identical": "good",
    "within": "good",
    "different": "bad",
    "shape": "bad",
    "dtype": "warn",
    "rearranged": "bad",
}
_RANKS = {"shape": 0, "rearranged": 1, "different": 2, "dtype": 3, "within": 4, "identical": 5}
_ASSET_MARKS = {"identical": "= equal", "different": "≠ differs", "only_a": "only in a", "only_b": "only in b"}
_MARKS = {
    "identical": "=",
    "within": "≈",
    "different": "≠",
    "shape": "≠ shape",
    "dtype": "≠ dtype",
    "rearranged": "≠ order",
}


def shown_pairs(diff: Diff) -> tuple[PairDiff, ...]:
    """The pairs that the report lists: those that differ most first, `MOST_ROWS` at most."""
    return tuple(
        sorted(diff.pairs, key=lambda pair: (_RANKS[pair.status], not _not_finite(pair), -_change(pair)))[:MOST_ROWS]
    )


def document(
    diff: Diff,
    spreads: Mapping[int, Spread] | None = None,
    layers: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Document:
    """The report.

    Args:
        diff: the outcome.
        spreads: how the values of `shown_pairs(diff)` are spread, by their place; no pictures without them.
        layers: canonical name of a variable -> its layer, "" for none, in the order of the file, of a and of b.
    """
    word, _ = VERDICTS[diff.verdict]
    tone: Tone = "bad" if diff.verdict == "different" else "good"
    return Document(
        "diff",
        Verdict(word, tone, _sentence(diff)),
        (("a", diff.a), ("b, the reference", diff.b)),
        tuple(_facts(diff)),
        tuple(
            section
            for section in (
                _layers(diff),
                _ways(diff, layers),
                _assets(diff),
                _pairs(diff, spreads or {}),
                *unpaired(diff),
            )
            if section.blocks
        ),
        tuple(("warn", f"swapped: {swap} ({_also(swap.whole)})") for swap in diff.swaps),
    )


def _also(whole: bool) -> str:
    return "everything else in them is identical" if whole else "and they differ otherwise too"


def _sentence(diff: Diff) -> str:
    weights = [pair for pair in diff.pairs if pair.is_weight]
    if diff.verdict == "identical":
        return f"Every bit of {words.count(len(weights), 'paired variable')} is equal."
    if diff.verdict == "within":
        return f"All of {words.count(len(weights), 'paired variable')} agree within the tolerance."
    apart = sum(pair.verdict == "different" for pair in weights)
    said = [f"{words.count(apart)} of {words.count(len(weights), 'paired variable')} differ"]
    for side, found in (("a", diff.only_a), ("b", diff.only_b)):
        alone = sum(each.name not in diff.others for each in found)
        if alone:
            said.append(f"{words.count(alone)} only in {side}")
    others = sum(pair.verdict == "different" for pair in diff.pairs if not pair.is_weight)
    if others and not apart:
        said.append(f"of slots and state {words.count(others)}")
    beside = sum(each.differs for each in diff.assets)
    if beside:
        said.append(f"{words.count(beside, 'asset differs', 'assets differ')} (vocabularies, tables, settings)")
    if diff.ambiguous:
        said.append(f"{words.count(len(diff.ambiguous), 'group')} ambiguous")
    return ", ".join(said) + "."


def _facts(diff: Diff) -> list[Fact]:
    weights = [pair for pair in diff.pairs if pair.is_weight]
    states: Counter[str] = Counter(pair.verdict for pair in weights)
    how = tally(pair.evidence for pair in weights)
    facts = [Fact(words.count(len(weights)), "variables paired", how)]
    facts += [
        Fact(words.count(states[state]), state, "", _TONES[state] if states[state] else "calm")
        for state in ("identical", "within", "different")
    ]
    farthest = max(diff.layers, key=lambda layer: layer.max_abs, default=None)
    if farthest is not None and farthest.max_abs:
        facts.append(Fact(words.number(farthest.max_abs), "largest |a−b|", f"in {farthest.worst or farthest.b}"))
    if diff.tolerance.atol or diff.tolerance.rtol:
        facts.append(
            Fact(f"{words.number(diff.tolerance.atol)} + {words.number(diff.tolerance.rtol)}·|b|", "tolerance")
        )
    others = [pair for pair in diff.pairs if not pair.is_weight]
    if others:
        apart = sum(pair.verdict == "different" for pair in others)
        facts.append(Fact(words.count(len(others)), "slots and state paired", f"{words.count(apart)} different"))
    return facts


def _assets(diff: Diff) -> Section:
    """Vocabularies, tables and settings, those that differ first."""
    found = sorted(diff.assets, key=lambda each: not each.differs)

    def row(each: AssetDiff) -> tuple[Text, Badge, Text]:
        return (
            Text(each.name, f"of {each.layer}" if each.layer else "", name=True),
            Badge(_ASSET_MARKS[each.status], "bad" if each.differs else "good"),
            Text(each.first or ("" if each.counts else "the other container has no place for it")),
        )

    columns = ("asset", "state", "first difference")
    return listed("assets", "Vocabularies, tables and settings", columns, found, row, "asset", NARROW)


def _layers(diff: Diff) -> Section:
    largest = max((layer.change for layer in diff.layers if layer.change), default=0.0)
    holes: dict[tuple[str, str], list[str]] = {}
    for pair in diff.pairs:
        if pair.is_weight and _not_finite(pair):
            holes.setdefault((pair.source[0].layer, pair.target[0].layer), []).extend(_not_finite(pair))
    leaves = [_leaf(layer, largest, holes.get((layer.a, layer.b), [])) for layer in diff.layers]
    return Section(
        "layers",
        "Layers",
        (tree(leaves, _scope, ("change", "max |a−b|"), NARROW),) if leaves else (),
        "Change is the root mean square of a − b relative to that of b, over a layer's variables: 0 for equal ones, about "
        "1.41 for unrelated ones. A scope shows its worst layer.",
    )


def _leaf(layer: LayerChange, largest: float, holes: Sequence[str]) -> Leaf:
    name = layer.b or "(no layer)"
    details = [] if layer.a == layer.b else [f"← {layer.a or '(no layer)'}"]
    if layer.verdict == "different" and layer.worst and layer.variables > 1:
        details.append(f"most in {layer.worst.removeprefix(layer.b + '/')}")
    details += holes
    share = 1.0 if layer.change is None else (layer.change / largest if largest else 0.0)
    text = "shape or zero" if layer.change is None else words.number(layer.change)
    tone = _TONES[layer.verdict]
    node = Node(
        "",
        Meter(text, share, share, tone),
        words.number(layer.max_abs),
        " · ".join(details),
        Badge(layer.verdict, tone),
    )
    return Leaf(name, node, share, layer.max_abs, layer.verdict == "different")


def _scope(leaves: Sequence[Leaf]) -> Node:
    worst = max(leaves, key=lambda leaf: leaf.share)
    apart = sum(leaf.apart for leaf in leaves)
    detail = f"{words.count(len(leaves), 'layer')}, {words.count(apart)} different" if apart else "nothing differs"
    return Node("", worst.node.meter, words.number(max(leaf.extent for leaf in leaves)), detail, open=bool(apart))


def _ways(diff: Diff, layers: tuple[Mapping[str, str], Mapping[str, str]]) -> Section:
    ways = [
        Way(pair.source[0].layer, pair.target[0].layer, ground(pair.evidence)) for pair in diff.pairs if pair.is_weight
    ]
    layer_in_a = {pair.source[0].name: pair.source[0].layer for pair in diff.pairs}
    for swap in diff.swaps:
        circle = [layer_in_a.get(name, name) for name in swap.names]
        ways += [
            Way(one, other, "swap", 0)
            for one, other in zip(circle, [*circle[1:], circle[0]], strict=True)
            if one != other
        ]
    ways += [Way(layer_of(each.name, layers[0]), None, "") for each in diff.only_a if each.name not in diff.others]
    ways += [Way(None, layer_of(each.name, layers[1]), "") for each in diff.only_b if each.name not in diff.others]
    order = tuple(layers[0].values()), tuple(layers[1].values())
    drawn = flow(ways, order, ("layers of a", "layers of b"), NARROW)
    intro = "Each line joins layers whose variables are compared; its colour and dashes say on what ground."
    return Section("ways", "What is compared with what", (drawn,) if drawn else (), intro)


def _pairs(diff: Diff, spreads: Mapping[int, Spread]) -> Section:
    shown = shown_pairs(diff)
    largest = max((_change(pair) for pair in shown if math.isfinite(_change(pair))), default=0.0)
    drawn = bool(spreads)
    columns = [
        Column("variable"),
        Column("state"),
        Column("change", "Root mean square of a − b relative to that of b"),
        Column("max |a−b|", right=True),
        Column("mismatched", "Elements out of tolerance", right=True),
        Column("cosine", "Of the angle between a and b as vectors", right=True),
    ]
    if drawn:
        columns.append(Column("values of a and b", sortable=False))
    columns.append(Column("paired by"))
    rows = tuple(tuple(_row(pair, largest, spreads.get(number), drawn)) for number, pair in enumerate(shown))
    table = Table(tuple(columns), rows, "variables", more(len(diff.pairs) - len(shown), "pair", f"{_LESS}; {NARROW}"))
    intro = "Those that differ most come first, NaN and infinities before all."
    if drawn:
        intro += (
            " The small pictures show how the values are spread, as they lie in their files: a filled, b as a line, heights as"
            " square roots of counts."
        )
    return Section("variables", "Variables", (table,) if rows else (), intro)


def _row(pair: PairDiff, largest: float, spread: Spread | None, drawn: bool) -> list[Cell]:
    found = pair.statistics
    equal = pair.status == "identical"
    tone = _TONES[pair.status] if pair.status != "dtype" else _TONES[pair.verdict]
    cells: list[Cell] = [
        Text(pair.b_name, _second(pair), name=True),
        Badge(
            f"{_MARKS[pair.status]} {pair.status}" if " " not in _MARKS[pair.status] else _MARKS[pair.status],
            tone,
            _RANKS[pair.status],
        ),
    ]
    if found is None:
        cells += [Meter("", math.inf, 1.0, tone), Number("", math.inf), Number("", math.inf), Number("", None)]
    else:
        change = _change(pair)
        share = 1.0 if math.isinf(change) else (change / largest if largest else 0.0)
        text = "from zero" if math.isinf(change) else words.number(change)
        cosine = None if equal else found.cosine
        cells += [
            Meter(text, change, share, tone),
            Number(words.number(found.max_abs), found.max_abs),
            Number(words.count(found.mismatched), found.mismatched),
            Number("" if cosine is None else f"{cosine:.4f}", 1.0 if equal else cosine),
        ]
    if drawn:
        cells.append(Text("") if spread is None else _curve(spread))
    return [*cells, Text(" · ".join(pair.evidence), pair.note or "")]


def _second(pair: PairDiff) -> str:
    shapes = [" + ".join(words.shape(variable.shape) for variable in side) for side in (pair.source, pair.target)]
    dtypes = [words.dtype(side[0].dtype) for side in (pair.source, pair.target)]
    facts = [] if pair.a_name == pair.b_name else [f"a: {pair.a_name}"]
    if not pair.is_weight:
        facts.append(pair.target[0].kind)
    facts.append(" → ".join(dict.fromkeys(shapes)))
    facts.append(" → ".join(dict.fromkeys(dtypes)))
    return " · ".join([*facts, *_not_finite(pair)])


def _not_finite(pair: PairDiff) -> list[str]:
    """What no difference can be taken of, in words."""
    found = pair.statistics
    if found is None:
        return []
    counted = (("NaN", found.nan_a, found.nan_b), ("Inf", found.inf_a, found.inf_b))
    return [f"{word}: {ours:,} in a, {theirs:,} in b" for word, ours, theirs in counted if ours or theirs]


def _curve(spread: Spread) -> Curve:
    low, high = words.number(spread.minimum), words.number(spread.maximum)
    lines = [("area", steps(spread.a))]
    if spread.b != spread.a:
        lines.append(("edge", steps(spread.b)))
    return Curve(tuple(lines), len(spread.a), low=low, high=high)


def _change(pair: PairDiff) -> float:
    if pair.statistics is None or pair.statistics.change is None:
        return math.inf
    return pair.statistics.change
