"""A plan with what it is for, and what came of it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ckptkit.api.open import open_for
from ckptkit.display import Displayed
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import RefusedError
from ckptkit.model import Checkpoint, TensorSpec
from ckptkit.model.selection import refuse_unfit
from ckptkit.planner.fingerprints import only_sampled, what_differs
from ckptkit.plans import Plan, check_plan, encode_plan, reads, refuse_open

if TYPE_CHECKING:
    from ckptkit.casting import Loss

Path = str | os.PathLike[str]

_NO_FINGERPRINTS = "the plan has no fingerprints: nothing shows that it was made for these files"
_SAMPLED = (
    "the plan knows the files by samples, of {count:,} tensors by a part of their bytes; --fingerprint full takes all"
)


@dataclass(frozen=True, slots=True)
class Remapped(Displayed):
    """What a remap did, or would do.

    Attributes:
        plan: the plan that was applied.
        output: path of what was written; None after a dry run.
        moved: number of variables that got a value of the source; a fill takes none.
        kept: number that keep the template's.
        lossy: casts that made numbers infinite or zero, which were allowed to.
        notes: what is to be known of the plan and the files that it was applied to.
    """

    plan: Plan
    output: str | None
    moved: int
    kept: int
    lossy: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The plain data of `remap --json`: the plan, and what became of it."""
        done = {"output": self.output, "moved": self.moved, "lossy": [asdict(loss) for loss in self.lossy]}
        return {**encode_plan(self.plan), **done, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Proposal(Displayed):
    """A plan with the paths it was made for: `apply` writes it.

    Attributes:
        plan: the plan.
        from_file: it was read, so that the files may have become others since.
    """

    plan: Plan
    from_file: bool = False

    def apply(
        self,
        output: Path,
        *,
        force: bool = False,
        allow_lossy: bool = False,
        engine: str | Engine | None = None,
        progress: Progress = silent,
    ) -> Remapped:
        """Write the target: the template with the plan's values, read back before it gets its name.

        Args:
            output: where to; complete, or not there.
            force: whether an existing output is replaced, and files are taken that are not those the plan was made for.
            allow_lossy: whether casts may make numbers infinite or zero.
            engine: who writes (see `ckptkit.engines.open_engine`); Dask writes formats that have shards.
            progress: called while tensors are written and read back.

        Raises:
            RefusedError: a cast would make numbers infinite or zero, the plan has open places, or the source or the
                template holds other contents than the one that the plan was made for.
            CkptkitError: the plan is stale, the output may not be written, a tensor cannot be read.
        """
        from ckptkit.casting import find_losses, refuse_losses
        from ckptkit.execute import PlannedSource
        from ckptkit.formats.naming import output_address
        from ckptkit.output.writing import Output

        with (
            open_engine(engine) as workers,
            open_for(workers, self.plan.source) as source,
            open_for(workers, self.plan.target) as template,
        ):
            refuse_unfit(source.spec)
            refuse_unfit(template.spec)
            refuse_open(self.plan)
            check_plan(self.plan, source.spec, template.spec)
            notes = self._notes(source, template, force=force)
            losses = find_losses(self.plan, source, template)
            if not allow_lossy:
                refuse_losses(losses)
            at = output_address(template.format, str(output))
            tensors = {step.key: TensorSpec(step.key, step.target.shape, step.target.dtype) for step in self.plan.steps}
            planned = PlannedSource(self.plan, source, template)
            Output(at, (source, template), workers, force, progress).write_like(template, tensors, planned)
        return replace(self.dry_run(), output=at.text, lossy=losses, notes=notes)

    def dry_run(self) -> Remapped:
        """What `apply` would do, without anything being written."""
        return Remapped(self.plan, None, sum(bool(reads(step.op)) for step in self.plan.steps), len(self.plan.kept))

    def _notes(self, source: Checkpoint, template: Checkpoint, *, force: bool) -> tuple[str, ...]:
        """What is to be said of the files.

        Raises:
            RefusedError: one of them is not what the plan was made for, and nobody said that this is meant.
        """
        if self.plan.fingerprints is None:
            return (_NO_FINGERPRINTS,) if self.from_file else ()
        differing = what_differs(self.plan, source, template)
        if differing and not force:
            raise RefusedError("; ".join(differing), path=source.path, hint="--force applies it all the same")
        if self.from_file and not differing and (count := only_sampled(self.plan, (source, template))):
            return (_SAMPLED.format(count=count),)
        return differing

    def check(self) -> None:
        """Raise where the plan cannot be applied yet.

        Raises:
            RefusedError: it has open places.
        """
        refuse_open(self.plan)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON data, as `--plan-out` writes it."""
        return encode_plan(self.plan)
