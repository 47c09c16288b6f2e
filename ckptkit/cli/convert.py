"""`ckptkit convert`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Force, Json


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Any checkpoint.")],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="Where to; its ending tells the format.")
    ],
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FORMAT", help="keras-h5, keras-weights-h5, keras-sharded, tensor-bundle, safetensors or npz."
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> int:
    """Write the same variables in another container; no shape, dtype or value changes.

    Example: ckptkit convert model.ckpt -o model.safetensors
    """
    from ckptkit.api import converting as api
    from ckptkit.cli.progress import progress

    with progress() as advance:
        done = api.convert(source, output, to=to, force=force, progress=advance)
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
    from ckptkit.report import words
    from ckptkit.report.terminal import Page

    page = Page()
    page.paragraph(f"{done.output}: {words.count(done.variables, 'variable')} as {done.format}, read back and equal")
    if done.left:
        page.paragraph(f"left behind, as it describes the old container: {words.listing(done.left)}")
    return 0
