"""`ckptkit diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Atol, Engine, Filter, Html, Json, Quiet, Rtol, Slots, no_stream, refuse_quiet_json
from ckptkit.model import By


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A checkpoint.", callback=no_stream)],
    b: Annotated[str, typer.Argument(metavar="B", help="The reference.", callback=no_stream)],
    by: Annotated[By, typer.Option(help="How variables are paired.")] = "auto",
    atol: Atol = None,
    rtol: Rtol = None,
    filter_: Filter = None,
    slots: Slots = False,
    stat: Annotated[bool, typer.Option("--stat", help="One line for every layer, equal ones too.")] = False,
    silent: Quiet = False,
    engine: Engine = None,
    html: Html = None,
    json: Json = False,
) -> int:
    """Say what differs between two checkpoints, also when every name changed; exit code 1 when something does.

    Values within --atol + --rtol * |B| count as equal.

    Example: ckptkit diff before.h5 after.h5
             ckptkit diff before.h5 after.ckpt --rtol 1e-5 --filter 'head/*'
             ckptkit diff before.h5 after.h5 --quiet && echo same
    """
    refuse_quiet_json(silent, json)
    if html is not None:
        from ckptkit.cli.html import check

        check(html)
    from ckptkit.api import comparing as api
    from ckptkit.cli.progress import progress

    with progress(enabled=not silent) as advance:
        found = api.diff(
            a,
            b,
            by=by,
            atol=atol or 0.0,
            rtol=rtol or 0.0,
            filter=filter_,
            slots=slots,
            engine=engine,
            progress=advance,
        )
    if html is not None:
        from ckptkit.api.outlining import outline_diff
        from ckptkit.cli.html import tell, write
        from ckptkit.report.html import difference as page

        with progress(enabled=not silent) as advance:
            outlined = outline_diff(found, page.shown_pairs(found), progress=advance)
        write(html, page.document(found, outlined))
    if json:
        from ckptkit.cli.output import write_json

        write_json(found.to_json())
    elif not silent:
        from ckptkit.report import difference
        from ckptkit.report.terminal import Page

        difference.show(found, Page(), everything=stat)
    if html is not None and not silent:
        tell(html)
    return 1 if found.verdict == "different" else 0
