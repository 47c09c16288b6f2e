"""Two checkpoints and a match -> `Diff`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ckptkit.assets import compare_assets
from ckptkit.compare import Comparison, Statistics, Tolerance, Workspace
from ckptkit.differences.pairs import PairWork, Task, plan_tasks
from ckptkit.differences.reading import compare_variables, readable
from ckptkit.differences.rearranged import name_rearrangements
from ckptkit.differences.result import AmbiguousGroup, Diff, LayerChange, PairDiff, Totals, Verdict
from ckptkit.differences.swaps import find_swaps
from ckptkit.engines import THREADS, Engine, Told, unwatched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ckptkit.differences.pairs import Counterpart
    from ckptkit.matching.result import Ambiguous, Match
    from ckptkit.model import Checkpoint

_WORST_FIRST: tuple[Verdict, ...] = ("different", "within", "identical")


def diff_checkpoints(
    a: Checkpoint,
    b: Checkpoint,
    match: Match,
    *,
    tolerance: Tolerance,
    converted: Mapping[str, Counterpart] | None = None,
    known: Mapping[tuple[str, str], Comparison] | None = None,
    slots: bool = False,
    assets: Iterable[str] | None = None,
    engine: Engine = THREADS,
    progress: Told = unwatched,
) -> Diff:
    """Compare what `match` pairs, in one pass over each file and in bounded memory.

    Args:
        a: one checkpoint.
        b: the reference.
        match: which variable belongs to which.
        tolerance: what counts as equal enough.
        converted: target variable name -> a's values in b's layout, for pairs whose layouts differ.
        known: (name in a, name in b) -> comparison made already, as `search_contents` gives.
        slots: whether slots and state count in the verdict too, and metadata where both have one format.
        assets: names of the vocabularies, tables and settings that are compared; all for None.
        engine: who compares.
        progress: told the bytes done, of both sides together, from any thread.

    Raises:
        CkptkitError: a variable cannot be read or does not match its checksum; nothing is concluded then.
    """
    tasks = plan_tasks(a, b, match, converted or {})
    settled = {number: found for number, task in enumerate(tasks) if (found := _settled(task, known or {}))}
    rest = [task for number, task in enumerate(tasks) if number not in settled]
    compared = iter(
        engine.run(
            rest, PairWork(a, b, tolerance, match.by == "value"), cost=lambda task: task.nbytes, progress=progress
        )
    )
    pairs = tuple(settled.get(number) or next(compared) for number in range(len(tasks)))
    swaps = find_swaps(a, b, pairs, engine)
    if match.by != "value":
        pairs = name_rearrangements(a, b, tasks, pairs)
    ambiguous = tuple(_ambiguous_group(a, b, group) for group in match.ambiguous)
    counted = [pair for pair in pairs if slots or pair.is_weight]
    layers = {pair.target[0].layer: pair.source[0].layer for pair in pairs}
    beside = compare_assets(a, b, layers, assets)
    return Diff(
        a=a.path,
        b=b.path,
        by=match.by,
        order_sources=match.order_sources,
        tolerance=tolerance,
        verdict="different"
        if any(asset.differs for asset in beside)
        else _verdict(a, b, counted, match, ambiguous, slots),
        pairs=pairs,
        only_a=match.unexpected,
        only_b=match.missing,
        ambiguous=ambiguous,
        swaps=swaps,
        layers=tuple(_layer_changes(counted)),
        totals=_totals(pairs, match),
        others=frozenset(
            each.name
            for checkpoint, found in ((a, match.unexpected), (b, match.missing))
            for each in found
            if checkpoint.find(each.name).kind != "weight"
        ),
        assets=beside,
    )


def _settled(task: Task, known: Mapping[tuple[str, str], Comparison]) -> PairDiff | None:
    """The outcome of a pair that has been compared already."""
    if task.converted is not None or not len(task.source) == len(task.target) == 1:
        return None
    found = known.get((task.source[0].name, task.target[0].name))
    if found is None:
        return None
    return PairDiff(task.source, task.target, task.evidence, found.status, found.statistics, task.note)


def _ambiguous_group(a: Checkpoint, b: Checkpoint, group: Ambiguous) -> AmbiguousGroup:
    """The group with whether its contents are all equal."""
    sources, targets = readable(a, group.source), readable(b, group.target)
    equal = len(sources) == len(targets)
    work = Workspace()
    for checkpoint, variable in (*((a, each) for each in sources), *((b, each) for each in targets[1:])):
        if not equal:
            break
        found = compare_variables(checkpoint, variable, b, targets[0], Tolerance(), work)
        equal = found.status == "identical"
    return AmbiguousGroup(group.source, group.target, group.why, equal)


def _verdict(
    a: Checkpoint,
    b: Checkpoint,
    pairs: Iterable[PairDiff],
    match: Match,
    ambiguous: Iterable[AmbiguousGroup],
    slots: bool,
) -> Verdict:
    # What a container says of itself, such as an object graph, another has no place for.
    asked = {"weight"} if not slots else {"weight", "slot", "state", *(["metadata"] if a.format == b.format else [])}

    def counts(checkpoint: Checkpoint, names: Iterable[str]) -> bool:
        return any(checkpoint.find(name).kind in asked for name in names)

    unpaired = any(
        counts(checkpoint, [each.name])
        for checkpoint, found in ((a, match.unexpected), (b, match.missing))
        for each in found
    )
    undecided = any(not group.equal and (counts(a, group.source) or counts(b, group.target)) for group in ambiguous)
    return "different" if unpaired or undecided else _worst(pairs)


def _worst(pairs: Iterable[PairDiff]) -> Verdict:
    found = {pair.verdict for pair in pairs}
    return next((verdict for verdict in _WORST_FIRST if verdict in found), "identical")


def _layer_changes(pairs: Iterable[PairDiff]) -> list[LayerChange]:
    """One entry a layer, in the order in which b has them."""
    layers: dict[tuple[str, str], list[PairDiff]] = defaultdict(list)
    for pair in pairs:
        layers[pair.source[0].layer, pair.target[0].layer].append(pair)
    changes = []
    for (name_a, name_b), members in layers.items():
        statistics = [pair.statistics for pair in members if pair.statistics is not None]
        together = sum(statistics[1:], statistics[0]) if statistics else Statistics()
        apart = [pair for pair in members if pair.status != "identical"]
        worst = max(apart, key=_distance) if len(apart) > 1 else apart[0] if apart else None
        changes.append(
            LayerChange(
                a=name_a,
                b=name_b,
                verdict=_worst(apart),
                change=together.change if len(statistics) == len(members) else None,
                max_abs=together.max_abs,
                worst=worst.b_name if worst else None,
                variables=len(members),
            )
        )
    return changes


def _distance(pair: PairDiff) -> float:
    return pair.statistics.max_abs if pair.statistics else float("inf")


def _totals(pairs: tuple[PairDiff, ...], match: Match) -> Totals:
    statuses = [pair.status for pair in pairs]
    return Totals(
        pairs=len(pairs),
        identical=statuses.count("identical"),
        within=statuses.count("within"),
        different=statuses.count("different"),
        shape=statuses.count("shape"),
        dtype=statuses.count("dtype"),
        only_a=len(match.unexpected),
        only_b=len(match.missing),
        ambiguous=len(match.ambiguous),
        elements=sum(pair.statistics.count for pair in pairs if pair.statistics),
        rearranged=statuses.count("rearranged"),
    )
