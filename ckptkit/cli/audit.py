"""`ckptkit audit`."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Debug, Json
from ckptkit.cli.quiet import quiet
from ckptkit.errors import ModelError


def audit(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="file.py:callable or package.module:callable that makes the model.")
    ],
    inputs: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--inputs", metavar="NPZ", help="What the model is called with, an array for each input."),
    ] = None,
    input_shape: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--input-shape", metavar="1,28,28,1[:DTYPE]", help="Shape of an input; one option for each."),
    ] = None,
    checkpoint: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--checkpoint", metavar="PATH", help="Also compare with what this checkpoint holds."),
    ] = None,
    debug: Debug = False,
    json: Json = False,
) -> int:
    """Find the weights that a model makes and then loses: never tracked, saved or trained; exit code 1 if there are.

    Example: ckptkit audit net.py:build --input-shape 4,32
    """
    try:
        with quiet("loading TensorFlow and running the model", enabled=not debug):
            from ckptkit.auditing import audit_reference

            result = audit_reference(reference, inputs=inputs, input_shapes=input_shape, checkpoint=checkpoint)
    except ModelError as error:
        if debug and error.__cause__ is not None:
            traceback.print_exception(error.__cause__, file=sys.stderr)
        raise
    if json:
        from ckptkit.cli.output import write_json

        write_json(result.to_json())
    else:
        from ckptkit.report import audit as report
        from ckptkit.report.terminal import Page

        report.show(result, Page())
    return 0 if result.clean else 1
