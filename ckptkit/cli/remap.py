"""`ckptkit remap`."""

from __future__ import annotations

import json as json_text
import sys
from typing import Annotated, Optional

import typer

from ckptkit.cli.options import STREAM, Engine, Force, Html, Json, Quiet, Slots, no_stream, refuse_quiet_json
from ckptkit.errors import UsageError
from ckptkit.model import By

# Headings of the help page.
_PAIRING, _PLAN = "Pairing", "Plans"


def remap(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="The checkpoint that has the weights.", callback=no_stream)
    ],
    like: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="TEMPLATE",
            help="A checkpoint in the wanted shape; all but the weights is kept of it.",
            callback=no_stream,
        ),
    ] = None,
    output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("-o", "--output", metavar="OUT", help="Where to.", callback=no_stream),
    ] = None,
    by: Annotated[By, typer.Option(help="How variables are paired.", rich_help_panel=_PAIRING)] = "auto",
    rename: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="REGEX=REPLACEMENT",
            help="Rename SRC's layer paths first; repeatable, in order.",
            rich_help_panel=_PAIRING,
        ),
    ] = None,
    fan_out: Annotated[
        bool,
        typer.Option(
            "--fan-out",
            help="One source variable may fill several targets, equal ones may feed one.",
            rich_help_panel=_PAIRING,
        ),
    ] = False,
    assume: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="KEY=VALUE",
            help="What the files do not tell, such as forget_bias=0; repeatable.",
            rich_help_panel=_PAIRING,
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Weights that SRC lacks keep TEMPLATE's values.", rich_help_panel=_PAIRING
        ),
    ] = False,
    allow_unexpected: Annotated[
        bool,
        typer.Option(
            "--allow-unexpected", help="Weights that TEMPLATE lacks are left behind.", rich_help_panel=_PAIRING
        ),
    ] = False,
    slots: Slots = False,
    plan: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="FILE", help="Apply this plan instead of making one; - is stdin.", rich_help_panel=_PLAN),
    ] = None,
    plan_out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="Write the plan, to read, edit and apply with --plan; - is stdout, in place of the page.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go where; write no checkpoint.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run both models on the same inputs afterwards (see `verify`).")
    ] = False,
    engine: Engine = None,
    force: Force = False,
    silent: Quiet = False,
    html: Html = None,
    json: Json = False,
) -> int:
    """Move the weights of SRC into the shape of TEMPLATE, and read back what was written.

    Refuses (exit code 2) when a weight is missing, left over or ambiguous, and says
    which and what came near.

    Example: ckptkit remap old.ckpt --like new.weights.h5 --dry-run
             ckptkit remap old.h5 --like new.h5 --rename '^tower=encoder' -o out.h5
             ckptkit remap old.h5 --like new.h5 --dry-run --plan-out plan.json
             ckptkit remap old.h5 --plan plan.json -o out.h5
    """
    refuse_quiet_json(silent, json)
    if html is not None:
        from ckptkit.cli.html import check

        check(html)
    if plan_out == STREAM and json:
        raise UsageError("both go to stdout", key="--plan-out - and --json")
    from ckptkit.api import moving as api
    from ckptkit.cli.progress import progress

    if output is None and not dry_run:
        raise UsageError("where to is not said", key="-o OUT", hint="Or look first with --dry-run.")
    if plan == STREAM:
        text = sys.stdin.buffer.read(api.LARGEST_PLAN + 1)
        api.check_plan_size(len(text), "standard input")
        proposal = api.parse_proposal(text, "standard input", source, like)
    elif plan is not None:
        proposal = api.read_plan(plan, source, like)
    elif like is None:
        raise UsageError("the wanted shape is not said", key="--like TEMPLATE")
    else:
        proposal = api.plan(
            source, like, by=by, rename=rename or (), fan_out=fan_out, assume=_pairs(assume or []),
            allow_missing=allow_missing, allow_unexpected=allow_unexpected, slots=slots, engine=engine,
        )  # fmt: skip
    if plan_out is not None:
        from ckptkit.cli.output import write_text

        written = json_text.dumps(proposal.to_json(), indent=1) + "\n"
        write_text(plan_out, written, force=force, inputs=[source, *filter(None, (like, plan))])
    if dry_run or output is None:
        result = api.Remapped(proposal.plan, None, api.moved(proposal.plan), len(proposal.plan.kept))
    else:
        with progress(enabled=not silent) as advance:
            result = proposal.apply(output, force=force, engine=engine, progress=advance)
    proof = None
    if verify and result.output is not None:
        from ckptkit.api.proving import verify as prove
        from ckptkit.cli.quiet import quiet

        with quiet("loading TensorFlow and running both models", spinner=not silent):
            proof = prove(source, result.output)
    if html is not None:
        from ckptkit.api.outlining import layers_of
        from ckptkit.cli.html import tell, write
        from ckptkit.report.html import remapping as page_of

        layers = layers_of(result.plan.source), layers_of(result.plan.target)
        write(html, page_of.document(result, layers))
    if json:
        from ckptkit.cli.output import write_json

        write_json({**result.to_json(), **({"verify": proof.to_json()} if proof else {})})
    elif not silent and plan_out != STREAM:
        from ckptkit.report import remapping
        from ckptkit.report.terminal import Page

        page = Page()
        remapping.show(result, page)
        if proof is not None:
            from ckptkit.report import verification

            page.line()
            verification.show(proof, page)
    if html is not None and not silent:
        tell(html)
    return 0 if proof is None or proof.passed else 1


def _pairs(assumptions: list[str]) -> dict[str, str]:
    pairs = {}
    for assumption in assumptions:
        key, equals, value = assumption.partition("=")
        if not equals or not key:
            raise UsageError("not an assumption", key=f"--assume {assumption}", expected="KEY=VALUE")
        pairs[key] = value
    return pairs
