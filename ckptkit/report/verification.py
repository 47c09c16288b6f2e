"""How `verify` shows whether two models compute the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.page import Cell, Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.verification.coverage import Untested
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
    page.paragraph(_verdict(result), "  " + " · ".join(facts))
    if result.untested:
        page.paragraph(Styled(f"       {untested(result)}", "yellow"), indent="       ")
    if result.passed and not result.pairing_proven:
        page.paragraph(Styled(f"       {PAIRING_NOT_PROVEN}", "yellow"), indent="       ")
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
    if result.loaded_by != ("live", "live"):
        page.paragraph(Styled(f"  loaded by: {' against '.join(dict.fromkeys(result.loaded_by))}", "dim"))
    if result.towers is not None:
        equal = "exactly" if result.towers == 0 else f"to {words.number(result.towers)}"
        page.line(f"towers agree with each other: {equal}")
    _where(result, page)
    for note in result.notes:
        page.paragraph(Styled("note:", "cyan"), note)


PAIRING_NOT_PROVEN = "the pairing of weights itself is not proven: ckptkit's own matching filled a model"

_MOST_NAMES = 6


def _verdict(result: VerifyResult) -> Styled:
    if not result.passed:
        return Styled("FAIL", "bold red")
    return Styled(verdict_word(result), "bold green" if result.complete and result.pairing_proven else "bold yellow")


def verdict_word(result: VerifyResult) -> str:
    """`PASS`, `FAIL`, or how much of the weights a PASS says nothing about."""
    if not result.passed:
        return "FAIL"
    if result.coverage is None or not result.untested:
        return "PASS"
    sides = {variable.side for variable in result.coverage.untested}
    ours, theirs = result.coverage.weights
    total = theirs if sides == {"destination"} else ours if sides == {"source"} else ours + theirs
    noun = "weight" if total == 1 else "weights"
    return f"PASS, {len(result.untested):,} of {total:,} {noun} untested"


def untested(result: VerifyResult) -> str:
    """The weights that a PASS says nothing about, and what is known of them."""
    if result.coverage is None:
        return ""
    return "untested: " + words.listing([_told(variable) for variable in result.coverage.untested], _MOST_NAMES)


def _told(variable: Untested) -> str:
    known = "its value differs" if variable.differs else "nothing to compare its value with"
    whose = "source's " if variable.side == "source" else ""
    part = f"{1 - variable.reached:.0%} of it, " if variable.reached else ""
    return f"{whose}{variable.name} {words.shape(variable.shape)} ({part}{known})"


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
