"""`ckptkit inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Engine, Filter, Html, Json, Slots, no_stream
from ckptkit.cli.presenter import Presenter


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

    What is damaged is listed as far as it can be read; the exit code is 2 then.

    Example: ckptkit inspect model.weights.h5
             ckptkit inspect model.weights.h5 --stats --filter 'block_3/*'
             ckptkit inspect runs/ckpt-9000 --json
    """
    presenter = Presenter(html=html, json=json)
    from ckptkit.api import inspect as api

    with presenter.progress(enabled=stats or hash_) as advance:
        found = api.inspect(path, stats=stats, hashes=hash_, filter=filter_, engine=engine, progress=advance)
    presenter.close(found, slots=slots)
    found.refuse_damaged()
    return 0
