"""How `remap` shows a plan: target ← operation(source), with what each pair rests on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckptkit.plans import (
    NO_SLOT,
    OUTSIDE,
    AddLowRank,
    AddToBlock,
    Cast,
    Concat,
    Fill,
    GatherRows,
    NegateBlock,
    Op,
    PermuteBlocks,
    Read,
    Reshape,
    Slice,
    Sum,
    Template,
    Transpose,
)
from ckptkit.report import words
from ckptkit.report.folding import Alike, Row, fold
from ckptkit.report.grounds import tally
from ckptkit.report.page import Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.api.proposal import Proposal, Remapped
    from ckptkit.plans import Plan, Step

# Steps shown in full; a plan file has them all.
_FOLD = 200

# Steps up to which none is folded into blocks that are alike.
_FEW = 20

_DIGITS = re.compile(r"\d+")

# Names in a note.
_LISTED = 8


def show(result: Remapped, page: Page, *, everything: bool = False) -> None:
    """Write the page: the plan, and what was written.

    Args:
        result: what was done, or would be.
        page: where to.
        everything: a line for every step, also of blocks that are alike (`--all`).
    """
    show_plan(result.plan, page, everything=everything)
    for loss in result.lossy[:_LISTED]:
        page.paragraph(Styled("lost in a cast:", "yellow"), str(loss))
    if len(result.lossy) > _LISTED:
        page.line(Styled(f"  … and {words.count(len(result.lossy) - _LISTED, 'more variable')}", "dim"))
    page.line()
    if result.output is None:
        page.line("nothing written (dry run)")
    else:
        for note in result.notes:
            page.paragraph(Styled("note:", "cyan"), note)
        page.paragraph(
            f"{result.output}: {words.count(result.moved)} moved, {words.count(result.kept)} kept; read back and equal"
        )


def show_proposal(proposal: Proposal, page: Page) -> None:
    """Write the page: the plan, and that nothing has been done yet."""
    show_plan(proposal.plan, page)
    page.line()
    page.line("nothing written yet: .apply(output) does")


def show_plan(plan: Plan, page: Page, *, everything: bool = False) -> None:
    """Write the page of a plan: counts, the table, what is open, kept and left behind."""
    page.paragraph(Styled(" · ".join(facts_of(plan)), "bold"))
    _show_steps(plan, page, everything=everything)
    for place in plan.open[:_LISTED]:
        near = " or ".join(choice.source.name for choice in place.candidates[:3])
        page.paragraph(Styled("open:", "yellow"), f"{place.target.name} ← {near or 'nothing came near'}: {place.why}")
    if len(plan.open) > _LISTED:
        page.line(Styled(f"  … and {words.count(len(plan.open) - _LISTED, 'more open place')}", "dim"))
    doubtful: dict[str, list[str]] = {}
    for step in plan.steps:
        for doubt in step.doubts:
            doubtful.setdefault(doubt, []).append(step.target.name)
    for doubt, names in doubtful.items():
        page.paragraph(Styled("note:", "yellow"), f"{words.listing(names, _LISTED)}: {doubt}")
    missing = set(plan.missing)
    if missing:
        page.paragraph(Styled("keeps the template's values:", "yellow"), words.listing(plan.missing, _LISTED))
    slotless = [kept.target for kept in plan.kept if kept.why == NO_SLOT]
    if slotless:
        page.paragraph(Styled("no slot in the source:", "yellow"), words.listing(slotless, _LISTED))
    elsewhere = sum(kept.why == OUTSIDE for kept in plan.kept)
    if elsewhere:
        page.line(Styled(f"{words.count(elsewhere, 'variable')} of the template outside the scope kept", "dim"))
    others = len(plan.kept) - len(missing - {kept.target for kept in plan.kept if kept.why == OUTSIDE}) - len(slotless)
    others -= elsewhere
    if others:
        page.line(
            Styled(
                f"{words.count(others, 'slot or state variable', 'slots and state variables')} of the template kept",
                "dim",
            )
        )
    if plan.unexpected:
        page.paragraph(Styled("left behind:", "yellow"), words.listing(plan.unexpected, _LISTED))
    if plan.left_out:
        page.paragraph(
            Styled("outside the scope:", "dim"), f"{words.count(len(plan.left_out), 'weight')} of the source left out"
        )


def facts_of(plan: Plan) -> list[str]:
    """What a plan comes to: how many were found, on what grounds, and how many were not."""
    wanted = len(plan.steps) + len(plan.missing) + len(plan.open)
    undecided = {place.target.name for place in plan.open}
    facts = [
        f"{words.count(len(plan.steps))} of {words.count(wanted, 'target variable')} found",
        f"{words.count(len(plan.missing))} missing",
        f"{words.count(len(plan.unexpected))} unexpected",
        f"{words.count(sum(name in undecided for name in plan.ambiguous))} ambiguous",
    ]
    if plan.open:
        facts.append(f"{words.count(len(plan.open))} open")
    grounds = tally(step.evidence for step in plan.steps)
    facts.append(grounds if plan.by == "auto" and grounds else f"by {plan.by}")
    if plan.order_source:
        facts.append(f"order: {plan.order_source[0]} and {plan.order_source[1]}")
    return facts


def _show_steps(plan: Plan, page: Page, *, everything: bool) -> None:
    folded = [*range(len(plan.steps))] if everything or len(plan.steps) <= _FEW else [*fold([*map(_row, plan.steps)])]
    shown = folded if everything else folded[:_FOLD]
    if not shown:
        return
    page.line()
    page.table(
        (
            Column("target", style="bold", wrap=True),
            Column(""),
            Column(""),
            Column("source", wrap=True),
            Column("because", style="dim", wrap=True),
        ),
        (_alike(place) if isinstance(place, Alike) else _cells(plan.steps[place]) for place in shown),
    )
    left = len(folded) - len(shown)
    if left or any(isinstance(place, Alike) for place in shown):
        advice = page.advice(option="--all shows, --plan-out has all", attribute="the plan's .steps has all")
        more = f"and {words.count(left, 'more line')} " if left else ""
        page.line(Styled(f"  … {more}({advice})", "dim"))


def _cells(step: Step) -> tuple[str, ...]:
    made_of = describe(step.op) + "".join(f" = {describe(copy)}" for copy in step.copies)
    return step.target.name, words.shape(step.target.shape), "←", made_of, " · ".join(step.evidence)


def _alike(blocks: Alike) -> tuple[str, ...]:
    return f"{words.count(blocks.blocks)} blocks alike: {blocks.targets}", "", "=", blocks.sources, ""


def _row(step: Step) -> Row:
    name, shape, _, made_of, _ = _cells(step)
    evidence = tuple(_DIGITS.sub("#", word) for word in step.evidence)
    return Row(name, made_of, (shape, evidence, step.doubts))


def describe(op: Op) -> str:
    """An operation in words, the source first: `encoder/gates/kernel · rows 0–99 · blocks i f g o → i g f o`."""
    match op:
        case Read(variable=name):
            return name
        case Fill(value=value):
            return f"all {value:g}"
        case Concat(parts=parts, axis=axis):
            return f"join({', '.join(map(describe, parts))}; axis {axis})"
        case Sum(parts=parts):
            return " + ".join(map(describe, parts))
        case Template(variable=name):
            return f"{name} of the template"
        case GatherRows(of=of, rows=rows):
            moved = sum(row is not None for row in rows)
            rest = words.count(len(rows) - moved) + " of the template"
            return f"{describe(of)} · {words.count(moved, 'row')} by token" + (f", {rest}" if moved < len(rows) else "")
        case AddLowRank(of=of, left=left, right=right, scale=scale):
            factor = "" if scale == 1 else f"{scale:g} · "
            product = " @ ".join(
                name.variable if isinstance(name, Read) else f"({describe(name)})" for name in (left, right)
            )
            return f"{describe(of)} + {factor}{product}"
        case Transpose(of=of, axes=axes):
            return f"{describe(of)} · transpose {list(axes)}"
        case Reshape(of=of, shape=shape):
            return f"{describe(of)} · reshape {words.shape(shape)}"
        case Slice(of=of, axis=0, start=start, stop=stop):
            return f"{describe(of)} · rows {start}–{stop - 1}"
        case Slice(of=of, axis=axis, start=start, stop=stop):
            return f"{describe(of)} · {start}–{stop - 1} of axis {axis}"
        case PermuteBlocks(of=of, axis=axis, order=order):
            return f"{describe(of)} · blocks {' '.join(map(str, order))} of axis {axis}"
        case AddToBlock(of=of, block=block, value=value):
            return f"{describe(of)} · {value:+g} on block {block}"
        case NegateBlock(of=of, block=block):
            return f"{describe(of)} · block {block} negated"
        case Cast(of=of, dtype=dtype):
            return f"{describe(of)} · as {dtype}"
