"""How `verify` shows whether two models compute the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.page import Cell, Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.verification.result import OutputComparison, VerifyResult


def show(result: VerifyResult, page: Page) -> None:
    """Write the page: verdict, each output beside its floor and tolerance, towers, where they part."""
    conditions = result.conditions
    samples = words.count(conditions.samples, "sample")
    if conditions.batches > 1:
        samples += f" in {words.count(conditions.batches, 'batch', 'batches')}"
    facts = [samples, "inputs from a file" if conditions.seed is None else f"seed {conditions.seed}"]
    if conditions.emulated:
        facts.append("as a TPU's default precision would compute (bfloat16 operands, float32 sums)")
    else:
        facts.append(" against ".join(dict.fromkeys(conditions.devices)))
    verdict = Styled("PASS", "bold green") if result.passed else Styled("FAIL", "bold red")
    page.paragraph(verdict, "  " + " · ".join(facts))
    page.line()
    page.table(
        (
            Column("output", style="bold", wrap=True),
            Column("max |a−b|", "right"),
            Column("noise floor", "right"),
            Column("tolerance", "right"),
            Column("rms", "right"),
            Column("cosine", "right"),
            Column(),
        ),
        (_row(output) for output in result.outputs),
    )
    if conditions.factor is not None:
        what = (
            "bfloat16 operands change"
            if conditions.emulated
            else "one unit in the last place of weights and inputs changes"
        )
        page.paragraph(
            Styled(
                f"  noise floor: what {what} in the source's own output; tolerance: {conditions.factor:g} × that", "dim"
            )
        )
    if result.towers is not None:
        equal = "exactly" if result.towers == 0 else f"to {words.number(result.towers)}"
        page.line(f"towers agree with each other: {equal}")
    _where(result, page)
    for note in result.notes:
        page.paragraph(Styled("note:", "cyan"), note)


def _row(output: OutputComparison) -> tuple[Cell, ...]:
    tolerance = words.number(output.atol)
    if output.rtol:
        tolerance += f" + {words.number(output.rtol)}·|a|"
    remarks = []
    if not output.passed:
        remarks.append(f"✗ at {list(output.index)}" if output.index else "✗")
    if output.top1 is not None:
        remarks.append(f"same class {output.top1:.0%}")
    return (
        output.name,
        words.number(output.max_abs),
        words.number(output.floor),
        tolerance,
        words.number(output.rms),
        "" if output.cosine is None else f"{output.cosine:.6f}",
        Styled(" · ".join(remarks), "" if output.passed else "red"),
    )


def _where(result: VerifyResult, page: Page) -> None:
    found = result.first_divergence
    if found is None:
        if not result.passed and not any("layer" in note for note in result.notes):
            asked = page.advice(option="--layers", attribute="layers=True")
            page.line(Styled(f"{asked} says at which layer they part", "dim"))
        return
    name = found.target if found.source == found.target else f"{found.source} → {found.target}"
    page.paragraph(
        Styled("first apart:", "red"),
        f"layer {name} ({found.kind}): its input agrees ({words.number(found.input_difference)}), its output does not "
        f"({words.number(found.output_difference)}).",
        f"{found.reason[:1].upper()}{found.reason[1:]}." if found.reason else "No reason could be established.",
    )
