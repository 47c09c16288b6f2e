"""What `ckptkit remap` does: match, plan, apply, read back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.api.comparing import check_method
from ckptkit.api.opening import Progress, open, refuse_damaged, silent  # noqa: A004
from ckptkit.api.pairing import match_contents
from ckptkit.api.rearranging import expressions
from ckptkit.api.reopening import open_for
from ckptkit.api.sharding import like_sharding, write_shards
from ckptkit.api.writing import written
from ckptkit.conventions import read_forms
from ckptkit.display import Displayed
from ckptkit.engines import THREADS, Engine, open_engine
from ckptkit.errors import UsageError
from ckptkit.model import Checkpoint, TensorSpec
from ckptkit.plans import Plan, check_plan, encode_plan, parse_plan, reads

if TYPE_CHECKING:
    from ckptkit.differences import Contents
    from ckptkit.matching.result import Match
    from ckptkit.model import By

Path = str | os.PathLike[str]

# A plan is text that people edit; one of a million variables stays below this.
LARGEST_PLAN = 1 << 30


@dataclass(frozen=True, slots=True)
class Remapped(Displayed):
    """What a remap did, or would do.

    Attributes:
        plan: the plan that was applied.
        output: path of what was written; None after a dry run.
        moved: number of variables that got a value of the source.
        kept: number that keep the template's.
    """

    plan: Plan
    output: str | None
    moved: int
    kept: int

    def to_json(self) -> dict[str, Any]:
        """The plain data of `remap --json`: the plan, and what became of it."""
        return {**encode_plan(self.plan), "output": self.output, "moved": self.moved}


@dataclass(frozen=True, slots=True)
class Proposal(Displayed):
    """A plan with the paths it was made for: `apply` writes it."""

    plan: Plan

    def apply(
        self,
        output: Path,
        *,
        force: bool = False,
        engine: str | Engine | None = None,
        progress: Progress = silent,
    ) -> Remapped:
        """Write the target: the template with the plan's values, read back before it gets its name.

        Args:
            output: where to; complete, or not there.
            force: whether an existing output is replaced.
            engine: who writes (see `ckptkit.engines.open_engine`); Dask writes formats that have shards.
            progress: called while tensors are written and read back.

        Raises:
            CkptkitError: the plan is stale, the output may not be written, a tensor cannot be read.
        """
        with (
            open_engine(engine) as workers,
            open_for(workers, self.plan.source) as source,
            open_for(workers, self.plan.target) as template,
        ):
            return _apply(self.plan, source, template, str(output), force=force, engine=workers, progress=progress)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON data, as `--plan-out` writes it."""
        return encode_plan(self.plan)


def match(
    source: Path,
    target: Path,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    slots: bool = False,
) -> Match:
    """Which variables of `source` hold what those of `target` want; never raises for what does not fit.

    Args:
        source: checkpoint that has the values.
        target: checkpoint in the wanted shape.
        by: `auto`, `name`, `order`, `scope`, or `value` (the target is a sibling that was converted already).
        rename: `REGEX=REPLACEMENT` rules for the source's layer paths, in order.
        fan_out: whether one source variable may fill several targets, and equal ones feed one.
        assume: what the files do not tell (`{"forget_bias": "0"}`).
        slots: whether optimizer slots are matched too.
    """
    with open(source) as a, open(target) as b:
        return _match(a, b, by=by, rename=rename, fan_out=fan_out, assume=assume, slots=slots)[0]


def _match(
    a: Checkpoint,
    b: Checkpoint,
    *,
    by: By,
    rename: Sequence[str],
    fan_out: bool,
    assume: Mapping[str, str] | None,
    slots: bool,
    engine: Engine = THREADS,
) -> tuple[Match, Contents | None]:
    """The match, and by value also what is known of the contents."""
    from ckptkit import matching

    check_method(by)
    if by == "value":
        if rename or fan_out:
            raise UsageError("names play no part in matching by value", key="--rename and --fan-out")
        return match_contents(a, b, slots=slots, engine=engine)
    forms_a, forms_b = read_forms(a.spec, assume or {}), read_forms(b.spec, assume or {})
    return matching.match(forms_a, forms_b, by=by, rename=rename, fan_out=fan_out, slots=slots), None


def plan(
    source: Path,
    like: Path,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    slots: bool = False,
    engine: str | Engine | None = None,
) -> Proposal:
    """How to make a checkpoint in the shape of `like` that holds the weights of `source`, proven on shapes.

    Args:
        source: as for `match`.
        like: the template.
        by: as for `match`.
        rename: as for `match`.
        fan_out: as for `match`.
        assume: as for `match`.
        allow_missing: whether weights that the source lacks may keep the template's values.
        allow_unexpected: whether weights of the source may be left behind.
        slots: whether optimizer slots are moved too.
        engine: who reads contents, for `by="value"` (see `ckptkit.engines.open_engine`).

    Raises:
        RefusedError: something is missing, unexpected or ambiguous; names it and its nearest candidates.
        CkptkitError: a file cannot be read.
    """
    from ckptkit.planner import make_plan

    with open_engine(engine) as workers, open_for(workers, source) as a, open_for(workers, like) as b:
        found, contents = _match(
            a, b, by=by, rename=rename, fan_out=fan_out, assume=assume, slots=slots, engine=workers
        )
        made = make_plan(
            found, a.spec, b.spec, allow_missing=allow_missing, allow_unexpected=allow_unexpected, slots=slots,
            rearranged=expressions(a, b, found, contents) if contents else {},
        )  # fmt: skip
    return Proposal(made)


def read_plan(path: Path, source: Path | None = None, like: Path | None = None) -> Proposal:
    """A plan from a file, for the paths in it unless others are named.

    Raises:
        UsageError: it is no plan, or does not fit the files.
    """
    from ckptkit.formats.storage import open_storage, read

    storage = open_storage(path)
    try:
        check_plan_size(storage.size, path)
        text = bytes(read(storage, 0, storage.size))
    finally:
        storage.close()
    return parse_proposal(text, path, source, like)


def check_plan_size(size: int, path: Path) -> None:
    """Raise `UsageError` when `size` bytes at `path` are more than any plan has."""
    if size > LARGEST_PLAN:
        raise UsageError("too large for a plan", path=path, expected=f"at most {LARGEST_PLAN} bytes", found=size)


def parse_proposal(text: bytes, path: Path, source: Path | None = None, like: Path | None = None) -> Proposal:
    """The plan that `text` holds, which came from `path`; otherwise as `read_plan`.

    Raises:
        UsageError: it is no plan, or does not fit the files.
    """
    from dataclasses import replace

    try:
        found = parse_plan(text)
    except UsageError as error:
        raise UsageError(
            error.problem, path=path, key=error.key, expected=error.expected, found=error.found, hint=error.hint
        ) from error
    return Proposal(replace(found, source=str(source or found.source), target=str(like or found.target)))


def remap(
    source: Path,
    like: Path,
    output: Path,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    slots: bool = False,
    force: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Remapped:
    """Write `output`: the template `like` with the weights of `source`. Arguments as for `plan`.

    Args:
        source: checkpoint that has the values.
        like: checkpoint whose shape, names and everything but the weights the output has.
        output: where to; complete, or not there.
        by: as for `plan`.
        rename: as for `plan`.
        fan_out: as for `plan`.
        assume: as for `plan`.
        allow_missing: as for `plan`.
        allow_unexpected: as for `plan`.
        slots: as for `plan`.
        force: whether an existing output is replaced.
        engine: as for `Proposal.apply`.
        progress: called while tensors are written and read back.

    Raises:
        RefusedError: the match is not complete.
        CkptkitError: a file cannot be read or written.
    """
    with open_engine(engine) as workers:
        proposal = plan(
            source, like, by=by, rename=rename, fan_out=fan_out, assume=assume, allow_missing=allow_missing,
            allow_unexpected=allow_unexpected, slots=slots, engine=workers,
        )  # fmt: skip
        return proposal.apply(output, force=force, engine=workers, progress=progress)


def moved(plan: Plan) -> int:
    """Number of variables that get a value of the source; a fill takes none."""
    return sum(bool(reads(step.op)) for step in plan.steps)


def _apply(
    plan: Plan,
    source: Checkpoint,
    template: Checkpoint,
    output: str,
    *,
    force: bool,
    engine: Engine,
    progress: Progress,
) -> Remapped:
    from ckptkit.execute import PlannedSource
    from ckptkit.formats.writers import rewrite

    refuse_damaged(source.spec)
    refuse_damaged(template.spec)
    check_plan(plan, source.spec, template.spec)
    tensors = {step.key: TensorSpec(step.key, step.target.shape, step.target.dtype) for step in plan.steps}
    planned = PlannedSource(plan, source)
    total = sum(spec.nbytes for spec in tensors.values())
    inputs = [source.path, template.path]
    sharding = like_sharding(template, tensors, output, engine)
    if sharding is not None:
        write_shards(sharding, planned, output, inputs, engine, force=force, progress=progress)
        return Remapped(plan, output, moved(plan), len(plan.kept))
    with written(template.format, output, planned, inputs, total, force, progress) as (path, feed):
        rewrite(template.format, path, template.path, tensors, feed, output)
    return Remapped(plan, output, moved(plan), len(plan.kept))
