"""`ckptkit convert`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Engine, Force, Json, Quiet, no_stream, refuse_quiet_json


def _formats(incomplete: str) -> list[str]:
    from ckptkit.api.converting import formats

    return [name for name in formats() if name.startswith(incomplete)]


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
            help="keras-h5, keras-weights-h5, keras-sharded, tensor-bundle, safetensors, safetensors-sharded or npz.",
            autocompletion=_formats,
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
    refuse_quiet_json(silent, json)
    from ckptkit.api import converting as api
    from ckptkit.cli.progress import progress

    with progress(enabled=not silent) as advance:
        done = api.convert(source, output, to=to, force=force, engine=engine, progress=advance)
    if json:
        from ckptkit.cli.output import write_json

        write_json(
            {
                "schema": "ckptkit.convert/1",
                "source": source,
                "output": done.output,
                "format": done.format,
                "variables": done.variables,
                "left": list(done.left),
            }
        )
        return 0
    if silent:
        return 0
    from ckptkit.report import words
    from ckptkit.report.terminal import Page

    page = Page()
    page.paragraph(f"{done.output}: {words.count(done.variables, 'variable')} as {done.format}, read back and equal")
    if done.left:
        page.paragraph(f"left behind, as it describes the old container: {words.listing(done.left)}")
    return 0
