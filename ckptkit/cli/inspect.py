"""`ckptkit inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Engine, Filter, Html, Json, Slots, no_stream


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="A checkpoint: file, prefix, any member of a bundle, or folder.", callback=no_stream
        ),
    ],
    filter_: Filter = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Minimum, maximum, mean, deviation, zeros, NaN, a histogram, and doubts.")
    ] = False,
    hash_: Annotated[
        bool, typer.Option("--hash", help="SHA-256 of each tensor's little-endian bytes in C order.")
    ] = False,
    slots: Slots = False,
    engine: Engine = None,
    html: Html = None,
    json: Json = False,
) -> int:
    """Show the layers and variables that a checkpoint holds, and what looks wrong with it.

    Example: ckptkit inspect model.weights.h5
             ckptkit inspect model.weights.h5 --stats --filter 'block_3/*'
             ckptkit inspect runs/ckpt-9000 --json
    """
    if html is not None:
        from ckptkit.cli.html import check

        check(html)
    from ckptkit.api import inspection as api
    from ckptkit.cli.progress import progress

    with progress(enabled=stats or hash_) as advance:
        found = api.inspect(path, stats=stats, hashes=hash_, filter=filter_, engine=engine, progress=advance)
    from ckptkit.report import inspection as report

    if html is not None:
        from ckptkit.cli.html import tell, write
        from ckptkit.report.html import inspection as page

        write(html, page.document(found, slots=slots))
    if json:
        from ckptkit.cli.output import write_json

        write_json(report.to_json(found))
    else:
        from ckptkit.report.terminal import Page

        report.show(found, Page(), slots=slots)
    if html is not None:
        tell(html)
    if found.problems and (stats or hash_):
        from ckptkit.errors import FormatError

        name, problem = next(iter(found.problems.items()))
        raise FormatError(problem, path=path, key=name)
    return 0
