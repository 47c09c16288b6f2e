"""`verify` as a report: whether two models compute the same, and where they part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.html.cells import Badge, Cell, Meter, Number, Text, Tone
from ckptkit.report.html.document import Card, Cards, Column, Document, Fact, Section, Table, Verdict
from ckptkit.report.verification import PAIRING_NOT_PROVEN, verdict_word

if TYPE_CHECKING:
    from ckptkit.verification.result import OutputComparison, VerifyResult

# Where the tolerance stands on the scale, and how many decades the scale has.
_TOLERANCE_AT = 0.7
_DECADES = 9
_SCALE = "On a scale of powers of ten; the line is the tolerance, the dashed one the noise floor; 0 has no bar"


def document(result: VerifyResult) -> Document:
    """The report."""
    failed = sum(not output.passed for output in result.outputs)
    if result.passed:
        sentence = f"{_outputs(len(result.outputs))} within tolerance on the same inputs."
    else:
        sentence = f"{words.count(failed)} of {words.count(len(result.outputs), 'output')} out of tolerance."
    sure = result.complete and result.pairing_proven
    if result.passed and not result.pairing_proven:
        sentence += f" {PAIRING_NOT_PROVEN[:1].upper()}{PAIRING_NOT_PROVEN[1:]}."
    verdict = Verdict(verdict_word(result), ("good" if sure else "warn") if result.passed else "bad", sentence)
    sections = (_divergence(result), _untested(result), _compared(result))
    return Document(
        "verify",
        verdict,
        (
            ("source, the reference", f"{result.source} ({result.loaded_by[0]})"),
            ("destination", f"{result.destination} ({result.loaded_by[1]})"),
        ),
        tuple(_facts(result)),
        tuple(section for section in sections if section.blocks),
        tuple(("calm", note) for note in result.notes),
    )


def _outputs(number: int) -> str:
    return "The output is" if number == 1 else f"All of {words.count(number, 'output')} are"


def _facts(result: VerifyResult) -> list[Fact]:
    conditions = result.conditions
    inputs = "inputs from a file" if conditions.seed is None else f"seed {conditions.seed}"
    facts = [
        Fact(
            words.count(conditions.samples),
            "samples",
            f"{words.count(conditions.batches, 'batch', 'batches')}, {inputs}",
        ),
        Fact(
            "TPU, emulated" if conditions.emulated else " against ".join(dict.fromkeys(conditions.devices)),
            "computed on",
            "bfloat16 operands, float32 sums" if conditions.emulated else "",
        ),
    ]
    if conditions.factor is not None:
        facts.append(Fact(f"{conditions.factor:g} ×", "the noise floor is the tolerance", "measured, not guessed"))
    if result.coverage is not None:
        tested = result.coverage.weights[1] - sum(v.side == "destination" for v in result.coverage.untested)
        by_value = f"{words.count(len(result.coverage.by_value))} of them by value" if result.coverage.by_value else ""
        facts.append(Fact(f"{tested:,} of {result.coverage.weights[1]:,}", "weights tested", by_value))
    if result.towers is not None:
        equal = result.towers == 0
        facts.append(Fact("exactly" if equal else f"to {words.number(result.towers)}", "towers agree with each other"))
    return facts


def _untested(result: VerifyResult) -> Section:
    if result.coverage is None or not result.coverage.untested:
        return Section("untested", "Untested weights", ())
    columns = (
        Column("weight"),
        Column("side"),
        Column("outputs follow", "Share of its elements whose change moves an output that was compared", right=True),
        Column("its value"),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            Text(variable.name, words.shape(variable.shape), name=True),
            Text(variable.side),
            Number(f"{variable.reached:.1%}", variable.reached),
            Badge("differs", "bad") if variable.differs else Text("has no counterpart"),
        )
        for variable in result.coverage.untested
    )
    intro = "No output that was compared follows these; a wrong value in them would not have been seen."
    return Section("untested", "Untested weights", (Table(columns, rows, "weights"),), intro)


def _compared(result: VerifyResult) -> Section:
    columns = (
        Column("output"),
        Column("verdict"),
        Column("difference against tolerance", _SCALE),
        Column("max |a−b|", right=True),
        Column("noise floor", "What rounding alone changes in the source's own output", right=True),
        Column("tolerance", right=True),
        Column("rms", right=True),
        Column("cosine", right=True),
        Column("same class", "Rows whose largest element is at the same place", right=True),
    )
    rows = tuple(tuple(_row(output)) for output in result.outputs)
    intro = ""
    if result.conditions.factor is not None:
        what = (
            "bfloat16 operands change"
            if result.conditions.emulated
            else "one unit in the last place of weights and inputs changes"
        )
        intro = (
            f"Noise floor: what {what} in the source's own output. Tolerance: {result.conditions.factor:g} times that."
        )
    return Section("outputs", "Outputs", (Table(columns, rows, "outputs"),) if rows else (), intro)


def _row(output: OutputComparison) -> list[Cell]:
    tone: Tone = "good" if output.passed else "bad"
    tolerance = words.number(output.atol) + (f" + {words.number(output.rtol)}·|a|" if output.rtol else "")
    where = f" · farthest at {list(output.index)}" if output.index and output.max_abs else ""
    return [
        Text(output.name, words.shape(output.shape) + where, name=True),
        Badge("✓ pass" if output.passed else "✗ fail", tone, float(output.passed)),
        _scale(output, tone),
        Number(words.number(output.max_abs), output.max_abs if math.isfinite(output.max_abs) else math.inf, tone),
        Number(words.number(output.floor), output.floor),
        Number(tolerance, output.atol),
        Number(words.number(output.rms), output.rms),
        Number("" if output.cosine is None else f"{output.cosine:.6f}", output.cosine),
        Number("" if output.top1 is None else f"{output.top1:.0%}", output.top1),
    ]


def _scale(output: OutputComparison, tone: Tone) -> Meter:
    """The largest difference, the floor and the tolerance; relative tolerances differ by element and have no place."""
    if not output.atol or output.rtol:
        return Meter("", output.max_abs, 0.0, tone)
    marks = [(_TOLERANCE_AT, f"tolerance {words.number(output.atol)}")]
    if output.floor:
        marks.append((_place(output.floor, output.atol), f"floor {words.number(output.floor)}"))
    return Meter("", output.max_abs, _place(output.max_abs, output.atol), tone, tuple(marks))


def _place(value: float, tolerance: float) -> float:
    if value == 0:
        return 0.0
    if not math.isfinite(value):
        return 1.0
    return min(1.0, max(0.02, _TOLERANCE_AT + math.log10(value / tolerance) / _DECADES))


def _divergence(result: VerifyResult) -> Section:
    found = result.first_divergence
    if found is None:
        return Section("apart", "Where they part", ())
    name = found.target if found.source == found.target else f"{found.source} → {found.target}"
    reason = f"{found.reason[:1].upper()}{found.reason[1:]}." if found.reason else "No reason could be established."
    card = Card(
        Badge("first apart", "bad"),
        f"layer {name}",
        (),
        found.kind,
        (),
        f"Its input agrees ({words.number(found.input_difference)}), its output does not "
        f"({words.number(found.output_difference)}).",
        reason,
    )
    return Section("apart", "Where they part", (Cards((card,)),))
