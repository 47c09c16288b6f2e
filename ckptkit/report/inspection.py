"""How `inspect` shows a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ckptkit.formats.registry import named
from ckptkit.model.selection import totals_of
from ckptkit.report import words
from ckptkit.report.page import Cell, Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.api.inspect import Inspection
    from ckptkit.assets import AssetContent
    from ckptkit.compare import TensorStatistics
    from ckptkit.model import Checkpoint, CheckpointSpec, Layer, Variable

# What stands behind "order:" for each origin, in words that tell how far it can be trusted.
ORDER = {
    "stored": "layer_names",
    "config": "architecture in the file",
    "object-graph": "object graph",
    "meta-graph": "meta graph (creation)",
    "file-layout": "order of writing in the file",
    "registration": "registration of modules",
    "natural": "numbered names",
    "attributes": "alphabet of attributes, not an order of layers",
    "sorted": "alphabetical, nothing better known",
}

_WITH_LAYER_NAMES = ("keras-h5", "hdf5")

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class _Unread:
    """An open checkpoint of which no tensor was read."""

    spec: CheckpointSpec
    variables: tuple[Variable, ...]
    problems: Mapping[str, str]
    statistics: Mapping[str, TensorStatistics] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    assets: tuple[AssetContent, ...] = ()


Inspected: TypeAlias = "Inspection | _Unread"


def order_words(spec: CheckpointSpec) -> str:
    """Where the order of the layers comes from."""
    travelled = spec.order_source == "stored" and spec.format not in _WITH_LAYER_NAMES
    return "kept from the container before" if travelled else ORDER[spec.order_source]


def show(inspection: Inspected, page: Page, *, slots: bool = False) -> None:
    """Write the page: header, layers, what is folded, notes and damage."""
    _header(inspection, page)
    by_name = {variable.name: variable for variable in inspection.variables}
    detailed = bool(inspection.statistics or inspection.hashes)
    rows = []
    for number, layer in enumerate(inspection.spec.layers, 1):
        variables = [
            by_name[name] for name in layer.variables if name in by_name and (slots or by_name[name].kind == "weight")
        ]
        if variables:
            rows.append((number, layer, variables))
    if rows:
        page.line()
        if detailed:
            _variables_table(inspection, page, [variable for _, _, variables in rows for variable in variables])
        else:
            _layers_table(page, rows)
    loose = [variable for variable in inspection.variables if not variable.layer or variable.kind != "weight"]
    listed = {variable.name for _, _, variables in rows for variable in variables}
    loose = [variable for variable in loose if variable.name not in listed]
    _loose(inspection, page, loose, slots=slots, detailed=detailed)
    _assets(inspection, page)
    _remarks(inspection, page)


def show_checkpoint(checkpoint: Checkpoint, page: Page) -> None:
    """Write the page of an open checkpoint; nothing is read for it."""
    variables = checkpoint.spec.variables
    problems = {variable.name: variable.problem for variable in variables if variable.problem}
    show(_Unread(checkpoint.spec, variables, problems), page)


def _header(inspection: Inspected, page: Page) -> None:
    spec = inspection.spec
    totals = totals_of(inspection.variables)
    size = words.size(totals["bytes"])
    facts = [
        " ".join(filter(None, [named(spec.format).title, spec.producer and f"({spec.producer})"])),
        f"order: {order_words(spec)}",
        f"{words.count(totals['layers'], 'layer')} with weights, {words.count(totals['parameters'], 'parameter')}, {size}",
    ]
    page.paragraph(Styled(spec.path, "bold"), "  " + " · ".join(facts))


def _layers_table(page: Page, rows: list[tuple[int, Layer, list[Variable]]]) -> None:
    columns = (
        Column("#", "right", style="dim"),
        Column("layer", style="bold", wrap=True),
        Column("kind", style="cyan"),
        Column("variables", wrap=True),
        Column("parameters", "right"),
    )
    page.table(
        columns,
        (
            (
                str(number),
                f"{layer.name}  ×{layer.calls}" if layer.calls > 1 else layer.name,
                layer.kind or "",
                " · ".join(brief(variable, layer) for variable in variables),
                words.count(sum(variable.size for variable in variables)),
            )
            for number, layer, variables in rows
        ),
    )
    if any(layer.calls > 1 for _, layer, _ in rows):
        page.line(Styled("  ×n: called n times with one set of weights", "dim"))


def brief(variable: Variable, layer: Layer) -> str:
    """`kernel [100, 64] f32`; non-breaking inside, so that a narrow page breaks between variables."""
    word = variable.name.removeprefix(layer.name + "/")
    unread = "  (unreadable)" if variable.problem else ""
    return f"{word} {words.shape(variable.shape)} {words.dtype(variable.dtype)}{unread}"


def _variables_table(inspection: Inspected, page: Page, variables: list[Variable]) -> None:
    columns = [Column("variable", style="bold", wrap=True), Column("shape", wrap=True), Column("dtype")]
    if inspection.statistics:
        columns += [Column(title, "right") for title in ("min", "max", "mean", "std", "zeros")]
        columns += [Column("histogram"), Column("remarks", wrap=True)]
    if inspection.hashes:
        columns.append(Column("sha256"))
    page.table(columns, (tuple(_detailed(inspection, variable)) for variable in variables))


def _detailed(inspection: Inspected, variable: Variable) -> Iterator[Cell]:
    yield variable.name
    yield words.shape(variable.shape)
    yield words.dtype(variable.dtype)
    problem = inspection.problems.get(variable.name, "")
    if inspection.statistics:
        statistics = inspection.statistics.get(variable.name)
        if statistics is None:
            yield from ("", "", "", "", "", "", Styled(problem, "red"))
        else:
            for value in (statistics.minimum, statistics.maximum, statistics.mean, statistics.std):
                yield "" if value is None else words.number(value)
            yield words.count(statistics.zeros)
            yield bars(statistics.histogram)
            yield Styled(" · ".join(inspection.flags.get(variable.name, ())), "yellow")
    if inspection.hashes:
        yield inspection.hashes.get(variable.name) or Styled(problem, "red")


def bars(counts: tuple[int, ...]) -> str:
    """A histogram as one bar per bin, the highest full."""
    most = max(counts, default=0)
    if not most:
        return ""
    return "".join(_BARS[round(count / most * (len(_BARS) - 1))] for count in counts)


def _loose(inspection: Inspected, page: Page, variables: list[Variable], *, slots: bool, detailed: bool) -> None:
    """What belongs to no layer, and what is not a weight: listed with `--slots`, else counted."""
    weights = [variable for variable in variables if variable.kind == "weight"]
    others = [variable for variable in variables if variable.kind != "weight"]
    listed = variables if slots else weights
    if listed:
        page.line()
        page.line(Styled("not part of a layer" if not slots else "not part of a layer, slots and state", "dim"))
        if detailed:
            _variables_table(inspection, page, listed)
        else:
            page.table(
                (
                    Column(style="bold", wrap=True),
                    Column(),
                    Column(),
                    Column(style="dim"),
                    Column(style="dim", wrap=True),
                ),
                (
                    (
                        variable.name,
                        words.shape(variable.shape),
                        words.dtype(variable.dtype),
                        "" if variable.kind == "weight" else variable.kind,
                        variable.problem or (f"of {variable.slot_of}" if variable.slot_of else ""),
                    )
                    for variable in listed
                ),
            )
    folded = []
    if inspection.spec.weightless:
        folded.append(words.count(len(inspection.spec.weightless), "layer") + " without weights")
    if others and not slots:
        counts: Mapping[str, int] = {
            kind: sum(variable.kind == kind for variable in others) for kind in ("slot", "state", "metadata")
        }
        nouns = {"slot": "optimizer slot", "state": "state variable", "metadata": "metadata entry"}
        plurals = {"metadata": "metadata entries"}
        folded += [words.count(n, nouns[kind], plurals.get(kind)) for kind, n in counts.items() if n]
    if folded:
        page.line()
        advice = page.advice(option="--slots", attribute=".spec.variables has all")
        hint = f" ({advice})" if others and not slots else ""
        page.line(Styled(f"  not shown: {', '.join(folded)}{hint}", "dim"))


def _assets(inspection: Inspected, page: Page) -> None:
    """What the file holds beside tensors. Of settings one line tells how many there are: the architecture has them."""
    shown = [each for each in inspection.assets if each.asset.kind != "settings"]
    if shown:
        page.line()
        page.table(
            (
                Column("asset", style="bold", wrap=True), Column("of layer", wrap=True), Column("kind", style="cyan"),
                Column("entries", "right"), Column("size", "right"), Column("sha256", style="dim"),
            ),
            (
                (
                    each.asset.name,
                    each.asset.layer,
                    each.asset.kind,
                    "" if each.entries is None else words.count(len(each.entries)),
                    words.size(each.asset.nbytes),
                    Styled("unreadable", "red") if each.sha256 is None else each.sha256[:12],
                )
                for each in shown
            ),
        )  # fmt: skip
        for each in shown:
            if each.problem:
                page.paragraph(Styled("unreadable:", "red"), each.problem)


def _remarks(inspection: Inspected, page: Page) -> None:
    for note in inspection.spec.notes:
        page.paragraph(Styled("note:", "cyan"), note)
    for damage in inspection.spec.damage:
        page.paragraph(Styled("damaged:", "red"), damage)
    unread = sorted(inspection.problems)
    if unread:
        page.paragraph(
            Styled("unreadable:", "red"),
            f"{words.count(len(unread), 'variable')} ({words.listing(unread)}): {inspection.problems[unread[0]]}",
        )
