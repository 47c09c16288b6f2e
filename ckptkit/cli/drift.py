"""`ckptkit drift`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Engine, Html, Json, Quiet, no_stream, refuse_quiet_json


def drift(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Checkpoints of one run, or their folder.", callback=no_stream),
    ],
    silent: Quiet = False,
    engine: Engine = None,
    html: Html = None,
    json: Json = False,
) -> int:
    """Show which variables of a training run move and which never do; exit code 1 when a weight stands still.

    Example: ckptkit drift runs/2024-05/
             ckptkit drift epoch-1.h5 epoch-5.h5 epoch-9.h5
    """
    refuse_quiet_json(silent, json)
    if html is not None:
        from ckptkit.cli.html import check

        check(html)
    from ckptkit.cli.progress import progress
    from ckptkit.drifting import drift as measure

    with progress(enabled=not silent) as advance:
        result = measure(paths, engine=engine, progress=advance)
    if html is not None:
        from ckptkit.cli.html import tell, write
        from ckptkit.report.html import drift as page

        write(html, page.document(result))
    if json:
        from ckptkit.cli.output import write_json

        write_json(result.to_json())
    elif not silent:
        from ckptkit.report import drift as report
        from ckptkit.report.terminal import Page

        report.show(result, Page())
    if html is not None and not silent:
        tell(html)
    return 0 if result.clean else 1
