"""`ckptkit drift`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Engine, Html, Json, Quiet, no_stream
from ckptkit.cli.presenter import Presenter


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
    presenter = Presenter(silent=silent, html=html, json=json)
    from ckptkit.api import drift as api

    with presenter.progress() as advance:
        result = api.drift(paths, engine=engine, progress=advance)
    return presenter.close(result, 0 if result.clean else 1)
