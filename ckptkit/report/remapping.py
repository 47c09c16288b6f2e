"""How `remap` shows a plan: target ← operation(source), with what each pair rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.plans import (
    NO_SLOT,
    AddToBlock,
    Cast,
    Concat,
    Fill,
    NegateBlock,
    Op,
    PermuteBlocks,
    Read,
    Reshape,
    Slice,
    Sum,
    Transpose,
)
from ckptkit.report import words
from ckptkit.report.page import Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.api.moving import Proposal, Remapped
    from ckptkit.plans import Plan

# Steps shown in full; a plan file has them all.
_FOLD = 200

# Names in a note.
_LISTED = 8


def show(result: Remapped, page: Page) -> None:
    """Write the page: the plan, and what was written."""
    show_plan(result.plan, page)
    page.line()
    if result.output is None:
        page.line("nothing written (dry run)")
    else:
        page.paragraph(
            f"{result.output}: {words.count(result.moved)} moved, {words.count(result.kept)} kept; read back and equal"
        )


def show_proposal(proposal: Proposal, page: Page) -> None:
    """Write the page: the plan, and that nothing has been done yet."""
    show_plan(proposal.plan, page)
    page.line()
    page.line("nothing written yet: .apply(output) does")


def show_plan(plan: Plan, page: Page) -> None:
    """Write the page of a plan: counts, the table, what is kept and left behind."""
    wanted = len(plan.steps) + len(plan.missing)
    facts = [
        f"{words.count(len(plan.steps))} of {words.count(wanted, 'target variable')} found",
        f"{words.count(len(plan.missing))} missing",
        f"{words.count(len(plan.unexpected))} unexpected",
        f"{words.count(len(plan.ambiguous))} ambiguous",
        f"by {plan.by}",
    ]
    if plan.order_source:
        facts.append(f"order: {plan.order_source[0]} and {plan.order_source[1]}")
    page.paragraph(Styled(" · ".join(facts), "bold"))
    shown = plan.steps[:_FOLD]
    if shown:
        page.line()
        page.table(
            (
                Column("target", style="bold", wrap=True),
                Column(""),
                Column(""),
                Column("source", wrap=True),
                Column("because", style="dim", wrap=True),
            ),
            (
                (
                    step.target.name,
                    words.shape(step.target.shape),
                    "←",
                    describe(step.op) + "".join(f" = {describe(copy)}" for copy in step.copies),
                    ", ".join(step.evidence),
                )
                for step in shown
            ),
        )
    if len(plan.steps) > len(shown):
        advice = page.advice(option="--plan-out has all", attribute="the plan's .steps has all")
        page.line(Styled(f"  … and {words.count(len(plan.steps) - len(shown), 'more step')} ({advice})", "dim"))
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
    others = len(plan.kept) - len(missing) - len(slotless)
    if others:
        page.line(
            Styled(
                f"{words.count(others, 'slot or state variable', 'slots and state variables')} of the template kept",
                "dim",
            )
        )
    if plan.unexpected:
        page.paragraph(Styled("left behind:", "yellow"), words.listing(plan.unexpected, _LISTED))


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
