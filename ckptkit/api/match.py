"""What fits what in two checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.api.open import open_for
from ckptkit.conventions import Expanded, expand, read_forms
from ckptkit.conventions.flattening import flattened_by
from ckptkit.engines import Counter, Engine, Progress, open_engine, silent
from ckptkit.errors import UsageError
from ckptkit.matching import Pairing, match_as
from ckptkit.matching.options import check_method
from ckptkit.matching.within import Within, restrict, within
from ckptkit.model import Checkpoint

if TYPE_CHECKING:
    from ckptkit.differences import FoundContents
    from ckptkit.matching.result import Match
    from ckptkit.model import By

Path = str | os.PathLike[str]


def match(
    source: Path,
    target: Path,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    pairs: Mapping[str, str] | None = None,
    source_scope: str | None = None,
    target_scope: str | None = None,
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    slots: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Match:
    """Which variables of `source` hold what those of `target` want; never raises for what does not fit by itself.

    Where one side has query, key and value in one layer and the other a layer for each, the one stands as three, whose
    names end in `query`, `key` and `value`.

    Args:
        source: checkpoint that has the values.
        target: checkpoint in the wanted shape.
        by: `auto`, `name`, `order`, `scope`, or `value` (the target is a sibling that was converted already).
        rename: `REGEX=REPLACEMENT` rules for the source's layer paths and variable names, in order.
        pairs: name in the target -> name in the source, of layers or variables (canonical, native key or alias), which are
            settled before anything else.
        source_scope: only what lies below this scope of the source takes part, and the scope is taken off its names.
        target_scope: likewise of the target; the rest of it keeps its values.
        fan_out: whether one source variable may fill several targets, and equal ones feed one.
        assume: what the files do not tell (`{"forget_bias": "0"}`).
        slots: whether optimizer slots are matched too.
        engine: who reads contents, for `by="value"` (see `ckptkit.engines.open_engine`).
        progress: called while contents are read.
    """
    pairing = Pairing(by, rename, pairs or {}, (source_scope, target_scope), fan_out, assume or {}, slots)
    with open_engine(engine) as workers, open_for(workers, source) as a, open_for(workers, target) as b:
        return find_match(a, b, parts_of(a, b, pairing), pairing, workers, progress).match


@dataclass(frozen=True, slots=True)
class Found:
    """A match, and what it was made of.

    Attributes:
        match: it.
        contents: what is known of the contents; None unless it is by value.
        expanded: the maps that were matched; None if it is by value.
    """

    match: Match
    contents: FoundContents | None = None
    expanded: tuple[Expanded, Expanded] | None = None


def parts_of(a: Checkpoint, b: Checkpoint, pairing: Pairing) -> tuple[Within, Within]:
    """What takes part of the source and of the target."""
    ours, theirs = pairing.scopes
    return within(a.spec, ours, "--source-scope"), within(b.spec, theirs, "--target-scope")


def find_match(
    a: Checkpoint, b: Checkpoint, parts: tuple[Within, Within], pairing: Pairing, engine: Engine, progress: Progress
) -> Found:
    """Match what takes part of two open checkpoints."""
    check_method(pairing.by)
    if pairing.by == "value":
        if pairing.rename or pairing.pairs or pairing.fan_out:
            raise UsageError("names play no part in matching by value", key="--rename, --map and --fan-out")
        return _match_contents(a, b, parts, pairing, engine, progress)
    forms_a, forms_b = (
        read_forms(part.spec.with_flow(), {**flattened_by(other.spec), **pairing.assume})
        for part, other in (parts, parts[::-1])
    )
    expanded = expand(forms_a, forms_b, pairing.assume), expand(forms_b, forms_a, pairing.assume)
    ours, theirs = (side.spec for side in expanded)
    return Found(match_as(ours, theirs, pairing, (parts[0].scope, parts[1].scope)), expanded=expanded)


def _match_contents(
    a: Checkpoint, b: Checkpoint, parts: tuple[Within, Within], pairing: Pairing, engine: Engine, progress: Progress
) -> Found:
    """Match by value alone; both are read once."""
    from ckptkit.differences import search_contents
    from ckptkit.matching.pairing import by_value

    ours, theirs = (
        part.spec if pairing.slots else restrict(part.spec, (v.name for v in part.spec.variables if v.kind == "weight"))
        for part in parts
    )
    counter = Counter(progress, sum(variable.nbytes for spec in (ours, theirs) for variable in spec.variables))
    names = [[variable.name for variable in spec.variables] for spec in (ours, theirs)]
    contents = search_contents(a, b, *names, engine=engine, progress=counter)
    return Found(by_value((ours, theirs), contents), contents)
