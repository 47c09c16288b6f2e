"""`ckptkit audit`."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Debug, Html, Json, Quiet, no_stream
from ckptkit.cli.presenter import Presenter
from ckptkit.cli.quiet import quiet
from ckptkit.errors import ModelError


def audit(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="file.py:callable or package.module:callable that makes the model.")
    ],
    inputs: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--inputs",
            metavar="NPZ",
            help="What the model is called with, an array for each input.",
            callback=no_stream,
        ),
    ] = None,
    input_shape: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--input-shape", metavar="1,28,28,1[:DTYPE]", help="Shape of an input; one option for each."),
    ] = None,
    checkpoint: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--checkpoint", metavar="PATH", help="Also compare with what this checkpoint holds.", callback=no_stream
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also where there are warnings.")] = False,
    debug: Debug = False,
    silent: Quiet = False,
    html: Html = None,
    json: Json = False,
) -> int:
    """Find the weights that a model makes and then loses: never tracked, saved or trained; exit code 1 if there are.

    Example: ckptkit audit net.py:build --input-shape 4,32
             ckptkit audit package.nets:make --inputs batch.npz --checkpoint ckpt-9
    """
    presenter = Presenter(silent=silent, html=html, json=json)
    try:
        with quiet("loading TensorFlow and running the model", enabled=not debug, spinner=not silent):
            from ckptkit.api.audit import audit_reference

            result = audit_reference(reference, inputs=inputs, input_shapes=input_shape, checkpoint=checkpoint)
    except ModelError as error:
        if debug and error.__cause__ is not None:
            traceback.print_exception(error.__cause__, file=sys.stderr)
        raise
    return presenter.close(result, 0 if result.clean and not (strict and result.warnings) else 1)
