"""`ckptkit diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Atol, Filter, Json, Rtol, Slots
from ckptkit.model import By


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A checkpoint.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The reference.")],
    by: Annotated[By, typer.Option(help="How variables are paired.")] = "auto",
    atol: Atol = None,
    rtol: Rtol = None,
    filter_: Filter = None,
    slots: Slots = False,
    stat: Annotated[bool, typer.Option("--stat", help="One line for every layer, equal ones too.")] = False,
    json: Json = False,
) -> int:
    """Say what differs between two checkpoints, also when every name changed; exit code 1 when something does.

    Values within --atol + --rtol * |B| count as equal. Example: ckptkit diff before.h5 after.h5 --rtol 1e-5
    """
    from ckptkit.api import comparing as api
    from ckptkit.cli.progress import progress

    with progress() as advance:
        found = api.diff(a, b, by=by, atol=atol or 0.0, rtol=rtol or 0.0, filter=filter_, slots=slots, progress=advance)
    if json:
        from ckptkit.cli.output import write_json

        write_json(found.to_json())
    else:
        from ckptkit.report import difference
        from ckptkit.report.terminal import Page

        difference.show(found, Page(), everything=stat)
    return 1 if found.verdict == "different" else 0
