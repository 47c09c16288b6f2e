"""`ckptkit diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Atol, Engine, Filter, Html, Json, Quiet, Rtol, Slots, no_stream
from ckptkit.cli.presenter import Presenter
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
    presenter = Presenter(silent=silent, html=html, json=json)
    from ckptkit.api import diff as api

    with presenter.progress() as advance:
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
    return presenter.close(found, 1 if found.verdict == "different" else 0, everything=stat)
