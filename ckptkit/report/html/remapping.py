"""`remap` as a report: what goes where, and what is done to it on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptkit.plans import NO_SLOT, Read, reads
from ckptkit.report import words
from ckptkit.report.grounds import ground, tally
from ckptkit.report.html.cells import Badge, Text, Tone
from ckptkit.report.html.document import JSON, Column, Document, Fact, Section, Verdict, listed
from ckptkit.report.html.flow import Way, flow, layer_of
from ckptkit.report.remapping import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.api.proposal import Remapped
    from ckptkit.errors import RefusedError
    from ckptkit.plans import Choice, Open, Plan, Step

_ADVICE = "--plan-out FILE has all"


def document(
    result: Remapped,
    layers: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
    refusal: RefusedError | None = None,
) -> Document:
    """The report.

    Args:
        result: the plan, and what became of it.
        layers: canonical name of a variable -> its layer, in the order of the file, of the source and of the template.
        refusal: why nothing is moved, where the plan has open places.
    """
    plan = result.plan
    complete = not (plan.missing or plan.unexpected or plan.open)
    wanted = len(plan.steps) + len(plan.missing) + len(plan.open)
    sentence = f"{words.count(len(plan.steps))} of {words.count(wanted, 'target variable')} found"
    sentence += "; nothing written (dry run)." if result.output is None else "; read back and equal."
    if refusal is not None:
        sentence += f" {refusal.problem}."
    word = "MOVED" if result.output is not None else "REFUSED" if refusal is not None else "PLAN"
    tone: Tone = "bad" if refusal is not None else "good" if complete else "warn"
    verdict = Verdict(word, tone, sentence)
    subjects = [("source", plan.source), ("template", plan.target)]
    if result.output is not None:
        subjects.append(("output", result.output))
    sections = (_groups(refusal), _ways(plan, layers), _open(plan), _steps(plan), _kept(plan), _left(plan))
    doubts: dict[str, list[str]] = {}
    for step in plan.steps:
        for doubt in step.doubts:
            doubts.setdefault(doubt, []).append(step.target.name)
    notes: tuple[tuple[Tone, str], ...] = tuple(
        ("warn", f"{words.listing(names, 8)}: {doubt}") for doubt, names in doubts.items()
    )
    facts = [
        Fact(words.count(len(plan.steps)), "found", tally(step.evidence for step in plan.steps) or f"by {plan.by}"),
        Fact(words.count(len(plan.missing)), "missing", "", "warn" if plan.missing else "calm"),
        Fact(words.count(len(plan.unexpected)), "unexpected", "", "warn" if plan.unexpected else "calm"),
        Fact(words.count(len(plan.open)), "open", "", "warn" if plan.open else "calm"),
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
        ways += [Way(source, target, ground(step.evidence)) for source in sources]
    ways += [Way(None, layer_of(name, layers[1]), "") for name in plan.missing]
    ways += [Way(layer_of(name, layers[0]), None, "") for name in plan.unexpected]
    order = tuple(layers[0].values()), tuple(layers[1].values())
    drawn = flow(ways, order, ("source layers", "template layers"), _ADVICE)
    intro = "Each line is a layer's way; its colour and dashes say on what ground."
    return Section("ways", "What goes where", (drawn,) if drawn else (), intro)


def _steps(plan: Plan) -> Section:
    columns = ("target", "made of", "as it is?", "because", Column("margin in bits", right=True))
    intro = "The margin: by how much names speak for this pairing rather than for the next best."
    return listed("steps", "Step by step", columns, plan.steps, _row, "step", _ADVICE, intro)


def _row(step: Step) -> tuple[Text, Text, Badge, Text, Text]:
    made_of = describe(step.op) + "".join(f" = {describe(copy)}" for copy in step.copies)
    plain = isinstance(step.op, Read)
    return (
        Text(step.target.name, f"{words.shape(step.target.shape)} {words.dtype(step.target.dtype)}", name=True),
        Text(made_of, name=True),
        Badge("as it is", "calm", 1.0) if plain else Badge("converted", "warn", 0.0),
        Text(" · ".join(step.evidence)),
        Text("" if step.confidence is None else words.number(step.confidence)),
    )


def _groups(refusal: RefusedError | None) -> Section:
    """What a person has to settle, with the option that would."""

    def row(group: Mapping[str, Any]) -> tuple[Badge, Text, Text, Text]:
        return (
            Badge(group["kind"], "bad" if group["kind"] == "ambiguous" else "warn", 0.0),
            Text(words.listing(group["target"] or group["source"], 8), name=True),
            Text(group["why"]),
            Text(group["settle"], name=True),
        )

    columns = ("what", "variables", "why", "what would settle it")
    groups = refusal.groups if refusal is not None else ()
    return listed("open-groups", "To be settled", columns, groups, row, "group", JSON)


def _open(plan: Plan) -> Section:
    """The open places, each with what could fill it."""

    def row(candidate: tuple[Open, Choice | None]) -> tuple[Text, Text, Text, Text]:
        place, choice = candidate
        return (
            Text(place.target.name, f"{words.shape(place.target.shape)} {words.dtype(place.target.dtype)}", name=True),
            Text(choice.source.name if choice else "nothing came near", name=choice is not None),
            Text("; ".join(choice.speaks_for) if choice else ""),
            Text("; ".join(choice.against) if choice else place.why),
        )

    candidates = [(place, choice) for place in plan.open for choice in (place.candidates or (None,))]
    columns = ("target", "candidate", "for", "against")
    return listed("open", "Open places", columns, candidates, row, "candidate", _ADVICE)


def _kept(plan: Plan) -> Section:
    missing = set(plan.missing)
    ordered = sorted(plan.kept, key=lambda kept: (kept.target not in missing, kept.why != NO_SLOT))
    facts = [(kept.target, kept.why) for kept in ordered]
    return listed("kept", "Keeps the template's value", ("target", "why"), facts, _why, "variable", _ADVICE)


def _left(plan: Plan) -> Section:
    groups = (plan.unexpected, "nothing wants it"), (plan.ambiguous, "fits in several ways")
    facts = [(name, why) for names, why in groups for name in names]
    return listed("left", "Goes nowhere", ("variable", "why"), facts, _why, "variable", _ADVICE)


def _why(fact: tuple[str, str]) -> tuple[Text, Text]:
    name, why = fact
    return Text(name, name=True), Text(why)
