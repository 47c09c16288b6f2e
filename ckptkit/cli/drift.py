"""`ckptkit drift`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckptkit.cli.options import Json


def drift(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Checkpoints of one run, or their folder.")],
    json: Json = False,
) -> int:
    """Show which variables of a training run move and which never do; exit code 1 when a weight stands still.

    Example: ckptkit drift runs/2024-05/
    """
    from ckptkit.cli.progress import progress
    from ckptkit.drifting import drift as measure

    with progress() as advance:
        result = measure(paths, progress=advance)
    if json:
        from ckptkit.cli.output import write_json

        write_json(result.to_json())
    else:
        from ckptkit.report import drift as report
        from ckptkit.report.terminal import Page

        report.show(result, Page())
    return 0 if result.clean else 1
