"""How `diff` shows what differs: the verdict, then layers by how much they changed, then what has no partner."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.grounds import tally
from ckptkit.report.page import Cell, Column, Page, Styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.differences import Diff, LayerChange, PairDiff
    from ckptkit.matching.result import Unmatched

_BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"

# Lists longer than this are cut, with the number of the rest and the option that shows all.
_FOLD = 20

_ASSET_WORDS = {"identical": "equal", "different": "differs", "only_a": "only in a", "only_b": "only in b"}

VERDICTS = {
    "identical": ("IDENTICAL", "bold green"),
    "within": ("WITHIN TOLERANCE", "bold green"),
    "different": ("DIFFERENT", "bold red"),
}


def show(diff: Diff, page: Page, *, everything: bool = False) -> None:
    """Write the page.

    Args:
        diff: the outcome.
        page: where to.
        everything: one line a layer for all of them, equal ones too, and no list cut (`--stat`).
    """
    word, style = VERDICTS[diff.verdict]
    page.paragraph(Styled(word, style), "  " + _summary(diff))
    for swap in diff.swaps:
        also = "everything else in them is identical" if swap.whole else "and they differ otherwise too"
        page.paragraph(Styled("swapped:", "bold yellow"), f"{swap} ({also})")
    _layers(diff, page, everything=everything)
    _transforms(diff, page, everything=everything)
    for side, path, found in (("a", diff.a, diff.only_a), ("b", diff.b, diff.only_b)):
        weights = [each for each in found if everything or each.name not in diff.others]
        _only(page, side, path, weights, len(found) - len(weights), everything=everything)
    _ambiguous(diff, page, everything=everything)
    if diff.unread:
        page.paragraph(
            Styled("not compared:", "dim"), f"{words.listing(diff.unread)}: of a type that has no data to be read"
        )
    _assets(diff, page, everything=everything)


def _summary(diff: Diff) -> str:
    weights = [pair for pair in diff.pairs if pair.is_weight]
    how = tally(pair.evidence for pair in weights)
    total = len(weights) + sum(len(group.target) for group in diff.ambiguous) + len(diff.only_b)
    facts = [f"{words.count(len(weights))} of {words.count(total, 'variable')} paired ({how or 'none'})"]
    states = Counter(pair.verdict for pair in weights)
    if diff.verdict != "identical":
        facts.append(
            f"{words.count(states['identical'])} identical, {words.count(states['within'])} within, "
            f"{words.count(states['different'])} different"
        )
    if diff.assets:
        facts.append(said_of_assets(diff))
    others = len(diff.pairs) - len(weights)
    if others:
        apart = sum(pair.verdict == "different" for pair in diff.pairs if not pair.is_weight)
        facts.append(f"slots and state: {words.count(others)} paired, {words.count(apart)} different")
    return " · ".join(facts)


def said_of_assets(diff: Diff) -> str:
    """`2 assets, 1 different`: vocabularies, tables and settings."""
    apart = sum(each.differs for each in diff.assets)
    return f"{words.count(len(diff.assets), 'asset')}, {words.count(apart)} different"


def _assets(diff: Diff, page: Page, *, everything: bool) -> None:
    """Vocabularies, tables and settings that differ; those whose place the other container has not."""
    apart = [each for each in diff.assets if each.status != "identical" or everything]
    if not apart:
        return
    page.line()
    page.table(
        (
            Column("asset", style="bold", wrap=True), Column("of layer", wrap=True), Column(""),
            Column("first difference", wrap=True),
        ),
        (
            (
                each.name,
                each.layer,
                Styled(_ASSET_WORDS[each.status], "green" if not each.differs else "red"),
                each.first or ("" if each.counts else "the other container has no place for it"),
            )
            for each in apart
        ),
    )  # fmt: skip


def _layers(diff: Diff, page: Page, *, everything: bool) -> None:
    changed = [layer for layer in diff.layers if everything or layer.verdict != "identical"]
    changed.sort(key=lambda layer: -(math.inf if layer.change is None else layer.change))
    if not changed:
        return
    shown = changed if everything else changed[:_FOLD]
    largest = max((layer.change for layer in shown if layer.change), default=0.0)
    page.line()
    page.table(
        (
            Column("layer", style="bold", wrap=True),
            Column("change (rms, relative)"),
            Column("", "right"),
            Column("max |a−b|", "right"),
            Column("most in", wrap=True),
        ),
        (_layer_row(layer, largest, diff) for layer in shown),
    )
    _cut(page, len(changed) - len(shown), "changed layer", "layers")


def _layer_row(layer: LayerChange, largest: float, diff: Diff) -> tuple[Cell, ...]:
    name = layer.b or "(no layer)"
    if layer.a != layer.b:
        name = f"{layer.a or '(no layer)'} → {name}"
    if layer.change is None:
        pairs = [pair for pair in diff.pairs if pair.target[0].layer == layer.b and pair.source[0].layer == layer.a]
        reshaped = next((pair for pair in pairs if pair.status == "shape" or pair.statistics is None), None)
        change, bar = (_shapes(reshaped) if reshaped else "from zero"), "█" * _BAR_CELLS
    else:
        change, bar = words.number(layer.change), _bar(layer.change, largest)
    worst = layer.worst.removeprefix(layer.b + "/") if layer.worst else ""
    style = {"identical": "green", "within": "green", "different": "red"}[layer.verdict]
    return name, Styled(bar, style), change, words.number(layer.max_abs), worst


def _shapes(pair: PairDiff) -> str:
    ours = " + ".join(words.shape(variable.shape) for variable in pair.source)
    theirs = " + ".join(words.shape(variable.shape) for variable in pair.target)
    return f"{ours} → {theirs}"


def _bar(value: float, largest: float) -> str:
    """A bar of at most `_BAR_CELLS` cells, in eighths of a cell; anything above zero shows."""
    eighths = max(1, round(value / largest * _BAR_CELLS * 8)) if largest and value else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _transforms(diff: Diff, page: Page, *, everything: bool) -> None:
    """Pairs that are not simply equal names: what was done, or on what they rest."""
    noted = [pair for pair in diff.pairs if pair.note]
    if not noted:
        return
    page.line()
    shown = noted if everything else noted[:_FOLD]
    page.table(
        (Column("a", wrap=True), Column(), Column("b", wrap=True), Column("compared", style="dim", wrap=True)),
        ((pair.a_name, "→", pair.b_name, pair.note or "") for pair in shown),
    )
    _cut(page, len(noted) - len(shown), "more pair", "pairs")
    if diff.totals.rearranged:
        advice = page.advice(option="--by value takes them as equal", attribute='by="value" takes them as equal')
        page.line(
            Styled(
                f"  {words.count(diff.totals.rearranged, 'pair')} of equal values in an order that no convention of the two"
                f" sides asks for, so different ({advice})",
                "dim",
            )
        )


def _only(page: Page, side: str, path: str, found: Sequence[Unmatched], others: int, *, everything: bool) -> None:
    """What one side has alone; `others` is the number of slots and state variables that are counted and not listed."""
    if not found and not others:
        return
    page.line()
    facts = [words.count(len(found), "variable")] if found else []
    if others:
        advice = page.advice(option="--stat lists them", attribute=f".only_{side} has them")
        facts.append(f"{words.count(others, 'slot or state variable', 'slots and state variables')} ({advice})")
    page.paragraph(Styled(f"only in {side}:", "yellow"), f"{path} ({', '.join(facts)})")
    shown = found if everything else found[:_FOLD]
    page.table(
        (Column(style="bold", wrap=True), Column(style="dim", wrap=True)),
        (
            (each.name, "; ".join(f"near {candidate.name}: {candidate.why}" for candidate in each.nearest[:1]))
            for each in shown
        ),
    )
    _cut(page, len(found) - len(shown), "variable", f"only_{side}")


def _ambiguous(diff: Diff, page: Page, *, everything: bool) -> None:
    if not diff.ambiguous:
        return
    page.line()
    page.line(Styled("ambiguous:", "yellow"), " not paired, because they fit in more than one way")
    shown = diff.ambiguous if everything else diff.ambiguous[:_FOLD]
    page.table(
        (Column(wrap=True), Column(), Column(wrap=True), Column(style="dim", wrap=True)),
        (
            (
                words.listing(group.source),
                "↔",
                words.listing(group.target),
                f"{group.why}; all equal, so it makes no difference" if group.equal else group.why,
            )
            for group in shown
        ),
    )
    _cut(page, len(diff.ambiguous) - len(shown), "group", "ambiguous")


def _cut(page: Page, left: int, noun: str, attribute: str) -> None:
    if left > 0:
        advice = page.advice(option="--stat shows all, --filter narrows", attribute=f".{attribute} has all")
        page.line(Styled(f"  … and {words.count(left, noun)} ({advice})", "dim"))
