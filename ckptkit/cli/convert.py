"""`ckptkit convert`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Engine, Force, Json, Quiet, no_stream
from ckptkit.cli.presenter import Presenter
from ckptkit.formats.registry import writable


def _formats(incomplete: str) -> list[str]:
    return [name for name in writable() if name.startswith(incomplete)]


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Any checkpoint.", callback=no_stream)],
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="OUT", help="Where to; its ending tells the format.", callback=no_stream
        ),
    ],
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FORMAT",
            help=f"{', '.join(writable()[:-1])} or {writable()[-1]}.",
            autocompletion=_formats,
        ),
    ] = None,
    assume: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="KEY=VALUE", help="What the file does not tell: order=sorted for the order of its layers."
        ),
    ] = None,
    force: Force = False,
    silent: Quiet = False,
    engine: Engine = None,
    json: Json = False,
) -> int:
    """Write the same variables in another container; no shape, dtype or value changes.

    Example: ckptkit convert model.ckpt -o model.safetensors
             ckptkit convert model.h5 -o model --to tensor-bundle
    """
    presenter = Presenter(silent=silent, json=json)
    from ckptkit.api import convert as api
    from ckptkit.cli.options import assumptions

    with presenter.progress() as advance:
        done = api.convert(
            source, output, to=to, assume=assumptions(assume), force=force, engine=engine, progress=advance
        )
    return presenter.close(done)
