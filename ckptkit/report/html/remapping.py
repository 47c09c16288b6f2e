"""`remap` as a report: what goes where, and what is done to it on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.plans import NO_SLOT, Read, reads
from ckptkit.report import words
from ckptkit.report.html.cells import Badge, Text, Tone
from ckptkit.report.html.document import MOST_ROWS, Column, Document, Fact, Section, Table, Verdict, more
from ckptkit.report.html.flow import Way, flow, layer_of
from ckptkit.report.remapping import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.api.moving import Remapped
    from ckptkit.plans import Plan, Step

_ADVICE = "--plan-out FILE has all"


def document(result: Remapped, layers: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})) -> Document:
    """The report.

    Args:
        result: the plan, and what became of it.
        layers: canonical name of a variable -> its layer, in the order of the file, of the source and of the template.
    """
    plan = result.plan
    complete = not (plan.missing or plan.unexpected or plan.ambiguous)
    wanted = len(plan.steps) + len(plan.missing)
    sentence = f"{words.count(len(plan.steps))} of {words.count(wanted, 'target variable')} found"
    sentence += "; nothing written (dry run)." if result.output is None else "; read back and equal."
    verdict = Verdict("PLAN" if result.output is None else "MOVED", "good" if complete else "warn", sentence)
    subjects = [("source", plan.source), ("template", plan.target)]
    if result.output is not None:
        subjects.append(("output", result.output))
    sections = (_ways(plan, layers), _steps(plan), _kept(plan), _left(plan))
    doubts: dict[str, list[str]] = {}
    for step in plan.steps:
        for doubt in step.doubts:
            doubts.setdefault(doubt, []).append(step.target.name)
    notes: tuple[tuple[Tone, str], ...] = tuple(
        ("warn", f"{words.listing(names, 8)}: {doubt}") for doubt, names in doubts.items()
    )
    facts = [
        Fact(words.count(len(plan.steps)), "found", f"by {plan.by}"),
        Fact(words.count(len(plan.missing)), "missing", "", "warn" if plan.missing else "calm"),
        Fact(words.count(len(plan.unexpected)), "unexpected", "", "warn" if plan.unexpected else "calm"),
        Fact(words.count(len(plan.ambiguous)), "ambiguous", "", "warn" if plan.ambiguous else "calm"),
        Fact(
            words.count(sum(not isinstance(step.op, Read) for step in plan.steps)),
            "converted",
            "layout, gates or dtype",
        ),
    ]
    if plan.order_source:
        facts.append(Fact(" and ".join(dict.fromkeys(plan.order_source)), "order of layers from"))
    shown = tuple(section for section in sections if section.blocks)
    return Document("remap", verdict, tuple(subjects), tuple(facts), shown, notes)


def _ways(plan: Plan, layers: tuple[Mapping[str, str], Mapping[str, str]]) -> Section:
    ways = []
    for step in plan.steps:
        target = layer_of(step.target.name, layers[1])
        sources = dict.fromkeys(layer_of(name, layers[0]) for op in (step.op, *step.copies) for name in reads(op))
        ways += [Way(source, target, step.evidence[0] if step.evidence else "other") for source in sources]
    ways += [Way(None, layer_of(name, layers[1]), "") for name in plan.missing]
    ways += [Way(layer_of(name, layers[0]), None, "") for name in plan.unexpected]
    order = tuple(layers[0].values()), tuple(layers[1].values())
    drawn = flow(ways, order, ("source layers", "template layers"), _ADVICE)
    intro = "Each line is a layer's way; its colour and dashes say on what ground."
    return Section("ways", "What goes where", (drawn,) if drawn else (), intro)


def _steps(plan: Plan) -> Section:
    shown = plan.steps[:MOST_ROWS]
    columns = (Column("target"), Column("made of"), Column("as it is?"), Column("because"))
    table = Table(columns, tuple(map(_row, shown)), "variables", more(len(plan.steps) - len(shown), "step", _ADVICE))
    return Section("steps", "Step by step", (table,) if shown else ())


def _row(step: Step) -> tuple[Text, Text, Badge, Text]:
    made_of = describe(step.op) + "".join(f" = {describe(copy)}" for copy in step.copies)
    plain = isinstance(step.op, Read)
    return (
        Text(step.target.name, f"{words.shape(step.target.shape)} {words.dtype(step.target.dtype)}", name=True),
        Text(made_of, name=True),
        Badge("as it is", "calm", 1.0) if plain else Badge("converted", "warn", 0.0),
        Text(", ".join(step.evidence)),
    )


def _kept(plan: Plan) -> Section:
    missing = set(plan.missing)
    ordered = sorted(plan.kept, key=lambda kept: (kept.target not in missing, kept.why != NO_SLOT))
    rows = tuple((Text(kept.target, name=True), Text(kept.why)) for kept in ordered[:MOST_ROWS])
    left = more(len(ordered) - len(rows), "variable", _ADVICE)
    table = Table((Column("target"), Column("why")), rows, "variables", left)
    return Section("kept", "Keeps the template's value", (table,) if rows else ())


def _left(plan: Plan) -> Section:
    rows = tuple(
        (Text(name, name=True), Text(why))
        for names, why in ((plan.unexpected, "nothing wants it"), (plan.ambiguous, "fits in several ways"))
        for name in names
    )[:MOST_ROWS]
    left = more(len(plan.unexpected) + len(plan.ambiguous) - len(rows), "variable", _ADVICE)
    table = Table((Column("variable"), Column("why")), rows, "variables", left)
    return Section("left", "Goes nowhere", (table,) if rows else ())
