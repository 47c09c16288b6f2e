"""`ckptkit verify`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from ckptkit.cli.options import Atol, Debug, Json, Rtol


def verify(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The reference: checkpoint or whole model.")],
    destination: Annotated[str, typer.Argument(metavar="DST", help="What should compute the same.")],
    src_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REF", help="file.py:callable or package.module:callable that makes SRC's model."),
    ] = None,
    dst_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REF", help="The same for DST."),
    ] = None,
    inputs: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NPZ", help="One batch of inputs, instead of made-up ones."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of made-up inputs.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a made-up batch.")] = 8,
    device: Annotated[str, typer.Option(metavar="cpu|gpu|tpu[:ADDRESS]", help="Where SRC runs, and DST.")] = "cpu",
    dst_device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="cpu|gpu|tpu[:ADDRESS]", help="Where DST runs, if elsewhere."),
    ] = None,
    emulate_tpu: Annotated[
        bool, typer.Option("--emulate-tpu", help="Compute on the CPU as a TPU's default precision would.")
    ] = False,
    src_output: Annotated[Optional[str], typer.Option(metavar="NAME", help="Which tensor of SRC's graph.")] = None,  # noqa: UP045
    dst_output: Annotated[Optional[str], typer.Option(metavar="NAME", help="Which tensor of DST's graph.")] = None,  # noqa: UP045
    atol: Atol = None,
    rtol: Rtol = None,
    layers: Annotated[bool, typer.Option("--layers", help="Say at which layer they part, and why.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Run two models on the same inputs and say whether they compute the same; exit code 1 when they do not.

    Example: ckptkit verify single.keras double.keras --emulate-tpu
    """
    from ckptkit.api import proving as api
    from ckptkit.cli.quiet import quiet

    with quiet("loading TensorFlow and running both models", enabled=not debug):
        result = api.verify(
            source,
            destination,
            src_model=src_model,
            dst_model=dst_model,
            inputs=inputs,
            seed=seed,
            batch=batch,
            device=device,
            dst_device=dst_device,
            emulate_tpu=emulate_tpu,
            src_output=src_output,
            dst_output=dst_output,
            atol=atol,
            rtol=rtol,
            layers=layers,
        )
    if json:
        from ckptkit.cli.output import write_json

        write_json(result.to_json())
    else:
        from ckptkit.report import verification
        from ckptkit.report.terminal import Page

        verification.show(result, Page())
    return 0 if result.passed else 1
