"""`ckptkit remap`."""

from __future__ import annotations

import json as json_text
import sys
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ckptkit.cli.options import (
    STREAM,
    Engine,
    Force,
    Html,
    Json,
    Quiet,
    Slots,
    assumptions,
    named_pairs,
    no_stream,
)
from ckptkit.cli.output import write_text
from ckptkit.cli.presenter import Presenter
from ckptkit.errors import RefusedError, UsageError
from ckptkit.model import By, Depth

if TYPE_CHECKING:
    from ckptkit.api.proposal import Proposal

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
            help="Rename SRC's layers and variables first; repeatable, in order.",
            rich_help_panel=_PAIRING,
        ),
    ] = None,
    pairs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--map",
            metavar="TARGET=SOURCE",
            help="Settle one pair of layers or variables by name; repeatable.",
            rich_help_panel=_PAIRING,
        ),
    ] = None,
    source_scope: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="SCOPE", help="Only what lies below this scope of SRC, without it.", rich_help_panel=_PAIRING
        ),
    ] = None,
    target_scope: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="SCOPE", help="Only what lies below this scope of TEMPLATE.", rich_help_panel=_PAIRING),
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
    allow_lossy: Annotated[
        bool,
        typer.Option(
            "--allow-lossy", help="Casts may make numbers infinite or zero; they are counted.", rich_help_panel=_PAIRING
        ),
    ] = False,
    slots: Slots = False,
    by_token: Annotated[
        bool,
        typer.Option(
            "--by-token",
            help="Rows of embeddings follow their tokens, where both sides hold vocabularies.",
            rich_help_panel=_PAIRING,
        ),
    ] = False,
    average: Annotated[
        bool,
        typer.Option("--average", help="Moving averages take the places of their variables.", rich_help_panel=_PAIRING),
    ] = False,
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
    fingerprint: Annotated[
        Depth,
        typer.Option(
            help="How the plan knows its files again where they store no checksums: a few bytes of each tensor, or all.",
            rich_help_panel=_PLAN,
        ),
    ] = "sample",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go where; write no checkpoint.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run both models on the same inputs afterwards (see `verify`).")
    ] = False,
    engine: Engine = None,
    force: Force = False,
    silent: Quiet = False,
    html: Html = None,
    json: Json = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every step; no list is folded.")] = False,
) -> int:
    """Move the weights of SRC into the shape of TEMPLATE, and read back what was written.

    Refuses (exit code 2) when a weight is missing, left over or ambiguous, and says
    which, what came near, and which option would settle it.

    Example: ckptkit remap old.ckpt --like new.weights.h5 --dry-run
             ckptkit remap old.h5 --like new.h5 --rename '^tower=encoder' -o out.h5
             ckptkit remap agent.ckpt --like q.weights.h5 --source-scope Online -o out.h5
             ckptkit remap old.h5 --like new.h5 --dry-run --plan-out plan.json
             ckptkit remap old.h5 --plan plan.json -o out.h5
             ckptkit remap old.keras --like new.keras --by-token -o out.keras
    """
    presenter = Presenter(silent=silent, html=html, json=json)
    if plan_out == STREAM and json:
        raise UsageError("both go to stdout", key="--plan-out - and --json")
    from ckptkit.api import plan as making
    from ckptkit.api.proposal import Proposal

    if output is None and not dry_run:
        raise UsageError("where to is not said", key="-o OUT", hint="Or look first with --dry-run.")
    if (by_token or average) and plan is not None:
        raise UsageError("a plan says already what goes where", key="--plan, and --by-token or --average")
    if plan is not None:
        proposal = _given(plan, source, like)
    elif like is None:
        raise UsageError("the wanted shape is not said", key="--like TEMPLATE")
    else:
        try:
            proposal = making.plan(
                source, like, by=by, rename=rename or (), pairs=named_pairs(pairs), source_scope=source_scope,
                target_scope=target_scope, fan_out=fan_out, assume=assumptions(assume), allow_missing=allow_missing,
                allow_unexpected=allow_unexpected, slots=slots, by_token=by_token, average=average, engine=engine,
                fingerprints=fingerprint if plan_out is not None or json else None,
            )  # fmt: skip
        except RefusedError as refusal:
            if refusal.plan is not None:
                proposal = Proposal(refusal.plan)
                _write_plan(plan_out, proposal, force=force, inputs=[source, like])
                presenter.close(proposal.dry_run(), refusal=refusal)
            raise
    _write_plan(plan_out, proposal, force=force, inputs=[source, *filter(None, (like, plan))])
    proof = None
    if dry_run or output is None:
        result = proposal.dry_run()
    else:
        with presenter.progress() as advance:
            result = proposal.apply(output, force=force, allow_lossy=allow_lossy, engine=engine, progress=advance)
        if verify:
            from ckptkit.api.verify import verify as prove
            from ckptkit.cli.quiet import quiet

            with quiet("loading TensorFlow and running both models", spinner=not silent):
                proof = prove(source, output)
    presenter.close(result, proof=proof, page=plan_out != STREAM, everything=everything)
    proposal.check()
    return 0 if proof is None or proof.passed else 1


def _given(plan: str, source: str, like: str | None) -> Proposal:
    """The plan in a file, or on standard input."""
    from ckptkit.api.read_plan import LARGEST_PLAN, check_plan_size, parse_proposal, read_plan

    if plan != STREAM:
        return read_plan(plan, source, like)
    text = sys.stdin.buffer.read(LARGEST_PLAN + 1)
    check_plan_size(len(text), "standard input")
    return parse_proposal(text, "standard input", source, like)


def _write_plan(path: str | None, proposal: Proposal, *, force: bool, inputs: list[str]) -> None:
    if path is not None:
        text = json_text.dumps(proposal.to_json(), indent=1)
        write_text(path, f"{text}\n", force=force, inputs=inputs)
