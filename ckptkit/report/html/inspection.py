"""`inspect` as a report: what a checkpoint holds, and what looks wrong with it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ckptkit.formats.registry import named
from ckptkit.model.selection import totals_of
from ckptkit.report import words
from ckptkit.report.html.cells import Badge, Cell, Curve, Meter, Number, Text, Tone
from ckptkit.report.html.document import NARROW, Column, Document, Fact, Node, Section, Verdict, listed
from ckptkit.report.html.drawing import steps
from ckptkit.report.html.layers import Leaf, tree
from ckptkit.report.inspection import brief, order_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.api.inspect import Inspection
    from ckptkit.assets import AssetContent
    from ckptkit.compare import TensorStatistics
    from ckptkit.model import Variable


def document(inspection: Inspection, *, slots: bool = False) -> Document:
    """The report; `slots`: whether slots and state are listed too."""
    spec = inspection.spec
    chosen = [variable for variable in inspection.variables if slots or variable.kind == "weight"]
    by_name = {variable.name: variable for variable in chosen}
    total = sum(variable.size for variable in chosen if variable.kind == "weight")
    leaves = []
    for layer in spec.layers:
        own = [by_name[name] for name in layer.variables if name in by_name]
        if own:
            size = sum(variable.size for variable in own if variable.kind == "weight")
            calls = [f"called {layer.calls} times"] if layer.calls > 1 else []
            detail = " · ".join([layer.kind or "unknown kind", *calls, *(brief(variable, layer) for variable in own)])
            leaves.append(Leaf(layer.name, _node(size, total, detail), float(size)))
    notes: list[tuple[Tone, str]] = [("bad", f"damaged: {damage}") for damage in spec.damage]
    notes += [("bad", f"unreadable: {name}: {problem}") for name, problem in list(inspection.problems.items())[:20]]
    notes += [("calm", note) for note in spec.notes]
    notes += [("calm", each) for each in _folded(inspection, slots=slots)]
    sections = [
        _doubts(inspection),
        Section(
            "layers",
            "Layers",
            (tree(leaves, partial(_scope, total), ("parameters", "share"), NARROW),) if leaves else (),
        ),
        _variables(inspection, chosen),
        _assets(inspection),
    ]
    return Document(
        "inspect",
        _verdict(inspection),
        (("checkpoint", spec.path),),
        tuple(_facts(inspection)),
        tuple(section for section in sections if section.blocks),
        tuple(notes),
    )


def _verdict(inspection: Inspection) -> Verdict:
    totals = totals_of(inspection.variables)
    what = f"{words.count(totals['layers'], 'layer')} with weights, {words.count(totals['parameters'], 'parameter')}"
    if inspection.spec.damage or inspection.problems:
        return Verdict("DAMAGED", "bad", f"{what}; not all of the data can be read.")
    doubtful = sum(map(bool, inspection.flags.values()))
    if doubtful:
        verb = "looks" if doubtful == 1 else "look"
        return Verdict("DOUBTS", "warn", f"{what}; {words.count(doubtful, 'variable')} {verb} doubtful.")
    if inspection.statistics:
        return Verdict("NO DOUBTS", "good", f"{what}; every value was read, and nothing looks wrong.")
    return Verdict("LISTED", "calm", f"{what}; values were not looked at (--stats does).")


def _facts(inspection: Inspection) -> list[Fact]:
    spec = inspection.spec
    totals = totals_of(inspection.variables)
    dtypes = Counter(words.dtype(variable.dtype) for variable in inspection.variables if variable.kind == "weight")
    return [
        Fact(named(spec.format).title, "format", spec.producer or ""),
        Fact(words.count(totals["parameters"]), "parameters", ", ".join(name for name, _ in dtypes.most_common(4))),
        Fact(
            words.count(totals["variables"]),
            "variables",
            f"weights in {words.count(totals['layers'], 'layer')}",
        ),
        Fact(words.size(totals["bytes"]), "of data"),
        Fact(spec.order_source, "order of layers from", order_words(spec)),
    ]


def _folded(inspection: Inspection, *, slots: bool) -> list[str]:
    folded = []
    if inspection.spec.weightless:
        folded.append(f"not shown: {words.count(len(inspection.spec.weightless), 'layer')} without weights")
    others = sum(variable.kind != "weight" for variable in inspection.variables)
    if others and not slots:
        folded.append(
            f"not shown: {words.count(others, 'slot or state variable', 'slots and state variables')} (--slots)"
        )
    return folded


def _node(size: int, total: int, detail: str) -> Node:
    share = size / total if total else 0.0
    return Node("", Meter(words.count(size), size, share), f"{share:.1%}", detail)


def _scope(total: int, leaves: Sequence[Leaf]) -> Node:
    return _node(int(sum(leaf.share for leaf in leaves)), total, words.count(len(leaves), "layer"))


def _doubts(inspection: Inspection) -> Section:
    doubtful = [variable for variable in inspection.variables if inspection.flags.get(variable.name)]

    def row(variable: Variable) -> tuple[Text, Text]:
        return (
            Text(variable.name, f"{words.shape(variable.shape)} {words.dtype(variable.dtype)}", name=True),
            Text(" · ".join(inspection.flags[variable.name]), tone="warn"),
        )

    intro = "A doubt is a hint, not an error: a bias may be zero for good."
    return listed("doubts", "Doubts", ("variable", "doubt"), doubtful, row, "variable", NARROW, intro)


def _variables(inspection: Inspection, variables: Sequence[Variable]) -> Section:
    columns = [Column("variable"), Column("kind"), Column("size", "Bytes of the value", right=True)]
    if inspection.statistics:
        columns += [Column(title, right=True) for title in ("min", "max", "mean")]
        columns += [Column("std", "Standard deviation of the population", right=True), Column("zeros", right=True)]
        columns += [Column("values", sortable=False), Column("remarks")]
    if inspection.hashes:
        columns.append(Column("sha256"))
    intro = ""
    if inspection.statistics:
        intro = "Statistics are over finite elements; heights in the pictures are square roots of counts."
    row = partial(_row, inspection)
    return listed("variables", "Variables", columns, variables, row, "variable", NARROW, intro)


def _assets(inspection: Inspection) -> Section:
    def row(each: AssetContent) -> tuple[Cell, ...]:
        return (
            Text(each.asset.name, f"of {each.asset.layer}" if each.asset.layer else "", name=True),
            Badge("unreadable", "bad", 0) if each.problem else Text(each.asset.kind),
            Number("" if each.entries is None else words.count(len(each.entries)), len(each.entries or ())),
            Number(words.size(each.asset.nbytes), each.asset.nbytes),
            Text(each.problem or each.sha256 or "", name=not each.problem, tone="bad" if each.problem else "calm"),
        )

    columns = ("asset", "kind", Column("entries", right=True), Column("size", "Bytes of it", right=True), "sha256")
    title = "Vocabularies, tables and settings"
    return listed("assets", title, columns, inspection.assets, row, "asset", NARROW)


def _row(inspection: Inspection, variable: Variable) -> list[Cell]:
    problem = inspection.problems.get(variable.name, "")
    second = f"{words.shape(variable.shape)} {words.dtype(variable.dtype)}"
    if variable.key != variable.name:
        second += f" · {variable.key}"
    kind = variable.role or variable.kind if variable.kind == "weight" else variable.kind
    cells: list[Cell] = [
        Text(variable.name, second, name=True),
        Badge("unreadable", "bad", 0) if problem else Text(kind),
        Number(words.size(variable.nbytes), variable.nbytes),
    ]
    if inspection.statistics:
        found = inspection.statistics.get(variable.name)
        if found is None:
            cells += [Number("", None)] * 5 + [Text(""), Text(problem, tone="bad")]
        else:
            cells += [
                Number("" if value is None else words.number(value), value)
                for value in (found.minimum, found.maximum, found.mean, found.std)
            ]
            cells += [Number(words.count(found.zeros), found.zeros), _curve(found)]
            cells.append(Text(" · ".join(inspection.flags.get(variable.name, ())), tone="warn"))
    if inspection.hashes:
        cells.append(Text(inspection.hashes.get(variable.name, ""), name=True))
    return cells


def _curve(found: TensorStatistics) -> Cell:
    if found.minimum is None or found.maximum is None:
        return Text("")
    counts = list(found.histogram)
    while len(counts) > 1 and not counts[-1]:
        counts.pop()  # bins of a whole power of two reach beyond the maximum
    low, high = words.number(found.minimum), words.number(found.maximum)
    return Curve((("area", steps(counts)),), len(counts), low=low, high=high)
