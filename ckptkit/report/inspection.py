"""How `inspect` shows a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ckptkit.report import words
from ckptkit.report.page import Cell, Column, Page, Styled

if TYPE_CHECKING:
    from ckptkit.api.inspection import Inspection
    from ckptkit.compare import TensorStatistics
    from ckptkit.model import Checkpoint, CheckpointSpec, Layer, Variable

SCHEMA = "ckptkit.inspect/1"

# What stands behind "order:" for each origin, in words that tell how far it can be trusted.
ORDER = {
    "stored": "layer_names",
    "config": "architecture in the file",
    "object-graph": "object graph",
    "meta-graph": "meta graph (creation)",
    "file-layout": "order of writing in the file",
    "natural": "numbered names",
    "sorted": "alphabetical, nothing better known",
}

FORMATS = {
    "keras-h5": "Keras HDF5",
    "keras-weights-h5": "Keras 3 weights (HDF5)",
    "keras": "Keras archive",
    "keras-sharded": "Keras 3 sharded weights",
    "tensor-bundle": "TensorFlow checkpoint",
    "tf-v1": "TensorFlow V1 checkpoint",
    "saved-model": "SavedModel",
    "safetensors": "safetensors",
    "safetensors-sharded": "safetensors in shards",
    "npz": "NumPy archive",
    "hdf5": "HDF5 datasets",
}

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


Inspected: TypeAlias = "Inspection | _Unread"


def to_json(inspection: Inspected) -> dict[str, Any]:
    """The plain data of `inspect --json`, fields as documented in `docs/inspect.md`."""
    spec = inspection.spec
    variables = []
    for variable in inspection.variables:
        row: dict[str, Any] = {
            "name": variable.name,
            "key": variable.key,
            "aliases": list(variable.aliases),
            "layer": variable.layer,
            "role": variable.role,
            "kind": variable.kind,
            "slot_of": variable.slot_of,
            "shape": list(variable.shape),
            "dtype": variable.dtype,
            "bytes": variable.nbytes,
        }
        if variable.trainable is not None:
            row["trainable"] = variable.trainable
        problem = inspection.problems.get(variable.name)
        if problem:
            row["problem"] = problem
        if variable.name in inspection.statistics:
            row["stats"] = asdict(inspection.statistics[variable.name])
        if variable.name in inspection.hashes:
            row["sha256"] = inspection.hashes[variable.name]
        variables.append(row)
    shown = {variable.name for variable in inspection.variables}
    return {
        "schema": SCHEMA,
        "path": spec.path,
        "format": spec.format,
        "producer": spec.producer,
        "order_source": spec.order_source,
        "layers": [
            {"name": layer.name, "kind": layer.kind, "calls": layer.calls, "variables": list(layer.variables)}
            for layer in spec.layers
            if not shown.isdisjoint(layer.variables)
        ],
        "variables": variables,
        "totals": totals_of(inspection),
        "notes": list(spec.notes),
        "damage": list(spec.damage),
    }


def totals_of(inspection: Inspected) -> dict[str, int]:
    """Counts over what the filter let through; parameters are elements of weights."""
    weights = [variable for variable in inspection.variables if variable.kind == "weight"]
    return {
        "layers": len({variable.layer for variable in weights if variable.layer}),
        "variables": len(inspection.variables),
        "parameters": sum(variable.size for variable in weights),
        "bytes": sum(variable.nbytes for variable in inspection.variables),
    }


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
    _remarks(inspection, page)


def show_checkpoint(checkpoint: Checkpoint, page: Page) -> None:
    """Write the page of an open checkpoint; nothing is read for it."""
    variables = checkpoint.spec.variables
    problems = {variable.name: variable.problem for variable in variables if variable.problem}
    show(_Unread(checkpoint.spec, variables, problems), page)


def _header(inspection: Inspected, page: Page) -> None:
    spec = inspection.spec
    totals = totals_of(inspection)
    size = words.size(totals["bytes"])
    facts = [
        " ".join(filter(None, [FORMATS.get(spec.format, spec.format), spec.producer and f"({spec.producer})"])),
        f"order: {ORDER[spec.order_source]}",
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
