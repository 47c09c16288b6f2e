"""`ckptkit remap`."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Force, Json, Slots
from ckptkit.errors import UsageError
from ckptkit.model import By


def remap(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The checkpoint that has the weights.")],
    like: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="TEMPLATE", help="A checkpoint in the wanted shape; all but the weights is kept of it."),
    ] = None,
    output: Annotated[Optional[str], typer.Option("-o", "--output", metavar="OUT", help="Where to.")] = None,  # noqa: UP045
    by: Annotated[By, typer.Option(help="How variables are paired.")] = "auto",
    rename: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="REGEX=REPLACEMENT", help="Rename SRC's layer paths first; repeatable, in order."),
    ] = None,
    fan_out: Annotated[
        bool, typer.Option("--fan-out", help="One source variable may fill several targets, equal ones may feed one.")
    ] = False,
    assume: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="KEY=VALUE", help="What the files do not tell, such as forget_bias=0; repeatable."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Weights that SRC lacks keep TEMPLATE's values.")
    ] = False,
    allow_unexpected: Annotated[
        bool, typer.Option("--allow-unexpected", help="Weights that TEMPLATE lacks are left behind.")
    ] = False,
    slots: Slots = False,
    plan: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="FILE", help="Apply this plan instead of making one."),
    ] = None,
    plan_out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="FILE", help="Write the plan, to read, edit and apply with --plan."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go where; write no checkpoint.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run both models on the same inputs afterwards (see `verify`).")
    ] = False,
    force: Force = False,
    json: Json = False,
) -> int:
    """Move the weights of SRC into the shape of TEMPLATE, and read back what was written.

    Refuses (exit code 2) when a weight is missing, left over or ambiguous, and says which and what came near.
    Example: ckptkit remap trained.ckpt --like new.weights.h5 -o out.weights.h5 --dry-run
    """
    from ckptkit.api import moving as api
    from ckptkit.cli.progress import progress

    if output is None and not dry_run:
        raise UsageError("where to is not said", key="-o OUT", hint="Or look first with --dry-run.")
    if plan is not None:
        proposal = api.read_plan(plan, source, like)
    elif like is None:
        raise UsageError("the wanted shape is not said", key="--like TEMPLATE")
    else:
        proposal = api.plan(
            source, like, by=by, rename=rename or (), fan_out=fan_out, assume=_pairs(assume or []),
            allow_missing=allow_missing, allow_unexpected=allow_unexpected, slots=slots,
        )  # fmt: skip
    if plan_out is not None:
        from ckptkit.cli.output import write_text

        text = json_text.dumps(proposal.to_json(), indent=1) + "\n"
        write_text(plan_out, text, force=force, inputs=[source, *filter(None, (like, plan))])
    if dry_run or output is None:
        result = api.Remapped(proposal.plan, None, api.moved(proposal.plan), len(proposal.plan.kept))
    else:
        with progress() as advance:
            result = proposal.apply(output, force=force, progress=advance)
    proof = None
    if verify and result.output is not None:
        from ckptkit.api.proving import verify as prove
        from ckptkit.cli.quiet import quiet

        with quiet("loading TensorFlow and running both models"):
            proof = prove(source, result.output)
    if json:
        from ckptkit.cli.output import write_json

        write_json({**result.to_json(), **({"verify": proof.to_json()} if proof else {})})
    else:
        from ckptkit.report import remapping
        from ckptkit.report.terminal import Page

        page = Page()
        remapping.show(result, page)
        if proof is not None:
            from ckptkit.report import verification

            page.line()
            verification.show(proof, page)
    return 0 if proof is None or proof.passed else 1


def _pairs(assumptions: list[str]) -> dict[str, str]:
    pairs = {}
    for assumption in assumptions:
        key, equals, value = assumption.partition("=")
        if not equals or not key:
            raise UsageError("not an assumption", key=f"--assume {assumption}", expected="KEY=VALUE")
        pairs[key] = value
    return pairs
