"""A result as the report that `--html` writes, with what of its files is to be seen there."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import ckptkit
from ckptkit.api.open import open  # noqa: A004
from ckptkit.api.proposal import Proposal
from ckptkit.engines import Progress, silent
from ckptkit.report.html.render import render
from ckptkit.report.pages import class_of, shown_as

if TYPE_CHECKING:
    from ckptkit.differences import Diff
    from ckptkit.errors import RefusedError
    from ckptkit.model import Checkpoint, CheckpointSpec
    from ckptkit.plans import Plan


def html(
    result: object, *, slots: bool = False, refusal: RefusedError | None = None, progress: Progress | None = None
) -> str:
    """The page.

    Args:
        result: of a class in `report.pages`.
        slots: of an inspection, whether slots and state are listed too.
        refusal: of a plan, why nothing is moved.
        progress: called while values are read once more for pictures.

    Raises:
        CkptkitError: a file of the result cannot be read any more.
    """
    made: Any = result
    more: dict[str, Any] = {}
    name = class_of(result)
    if name == "Diff":
        more = _of_diff(made, progress or silent)
    elif name in ("Plan", "Proposal", "Remapped"):
        plan: Plan = made if name == "Plan" else made.plan
        made = made if name == "Remapped" else Proposal(plan).dry_run()
        more = {"layers": (_layers(plan.source), _layers(plan.target)), "refusal": refusal}
    elif name == "Checkpoint":
        made = _unread(made)
    elif name == "Inspection":
        more = {"slots": slots}
    return render(shown_as(result).document(made, **more), ckptkit.__version__)


def _of_diff(diff: Diff, progress: Progress) -> dict[str, Any]:
    """How the values of the pairs that are shown are spread, and where they stand."""
    from ckptkit.compare.spreads import Sought, spreads
    from ckptkit.report.html.difference import shown_pairs

    sought = [Sought(pair.source, pair.target, pair.status == "identical") for pair in shown_pairs(diff)]
    with ExitStack() as stack:
        sides = stack.enter_context(open(diff.a)), stack.enter_context(open(diff.b))
        return {
            "spreads": spreads(sides, sought, progress),
            "layers": (_by_layer(sides[0].spec), _by_layer(sides[1].spec)),
        }


def _unread(checkpoint: Checkpoint) -> Any:
    from ckptkit.api.inspect import Inspection

    variables = checkpoint.spec.variables
    problems = {variable.name: variable.problem for variable in variables if variable.problem}
    return Inspection(checkpoint.spec, variables, problems=problems)


def _layers(path: str) -> dict[str, str]:
    with open(path) as checkpoint:
        return _by_layer(checkpoint.spec)


def _by_layer(spec: CheckpointSpec) -> dict[str, str]:
    """Canonical name of each variable -> name of its layer, "" for none, in the order of the file."""
    return {variable.name: variable.layer for variable in spec.variables}
