"""`ckptkit verify`."""

from __future__ import annotations

from typing import Annotated, Literal, Optional

import typer

from ckptkit.cli.options import Atol, Debug, Html, Json, Quiet, Rtol, no_stream
from ckptkit.cli.presenter import Presenter

Loading = Literal["native", "match"]

# Headings of the help page.
_MODELS, _INPUTS, _DEVICES = "Models", "Inputs", "Devices"


def verify(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="The reference: checkpoint or whole model.", callback=no_stream)
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="What should compute the same.", callback=no_stream)
    ],
    src_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="REF",
            help="file.py:callable or package.module:callable that makes SRC's model.",
            rich_help_panel=_MODELS,
        ),
    ] = None,
    dst_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REF", help="The same for DST.", rich_help_panel=_MODELS),
    ] = None,
    src_load: Annotated[
        Loading, typer.Option(help="How SRC gets into the model of --src-model.", rich_help_panel=_MODELS)
    ] = "native",
    dst_load: Annotated[
        Loading, typer.Option(help="The same for DST; match: by ckptkit's own matching.", rich_help_panel=_MODELS)
    ] = "native",
    inputs: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NPZ",
            help="One batch of inputs, instead of made-up ones.",
            callback=no_stream,
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    input_shape: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--input-shape",
            metavar="4,28,28,1[:DTYPE]",
            help="Shape of a made-up input; one option for each.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    src_layout: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NCHW",
            help="How images lie on SRC's side where it is not as on DST's.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    dst_layout: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NCHW", help="The same for DST.", rich_help_panel=_INPUTS),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of made-up inputs.", rich_help_panel=_INPUTS)] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a made-up batch.", rich_help_panel=_INPUTS)] = 8,
    device: Annotated[
        str, typer.Option(metavar="cpu|gpu|tpu[:ADDRESS]", help="Where SRC runs, and DST.", rich_help_panel=_DEVICES)
    ] = "cpu",
    dst_device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="cpu|gpu|tpu[:ADDRESS]", help="Where DST runs, if elsewhere.", rich_help_panel=_DEVICES),
    ] = None,
    emulate_tpu: Annotated[
        bool,
        typer.Option(
            "--emulate-tpu", help="Compute on the CPU as a TPU's default precision would.", rich_help_panel=_DEVICES
        ),
    ] = False,
    src_output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="Which tensor of SRC's graph.", rich_help_panel=_MODELS),
    ] = None,
    dst_output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="Which tensor of DST's graph.", rich_help_panel=_MODELS),
    ] = None,
    atol: Atol = None,
    rtol: Rtol = None,
    layers: Annotated[bool, typer.Option("--layers", help="Say at which layer they part, and why.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also where weights are untested.")] = False,
    silent: Quiet = False,
    html: Html = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Run two models on the same inputs and say whether they compute the same; exit code 1 when they do not.

    Weights whose change moves no output are compared by value, and named where they are not equal.

    Example: ckptkit verify single.keras double.keras --emulate-tpu
             ckptkit verify a.ckpt b.keras --src-output logits --layers
             ckptkit verify a.ckpt b.h5 --src-model old.py:net --dst-model new.py:net
    """
    presenter = Presenter(silent=silent, html=html, json=json)
    from ckptkit.api import verify as api
    from ckptkit.cli.quiet import quiet

    with quiet("loading the frameworks and running both models", enabled=not debug, spinner=not silent):
        result = api.verify(
            source,
            destination,
            src_model=src_model,
            dst_model=dst_model,
            inputs=inputs,
            input_shapes=input_shape,
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
            src_load=src_load,
            dst_load=dst_load,
            src_layout=src_layout,
            dst_layout=dst_layout,
        )
    return presenter.close(result, 0 if result.complete or (result.passed and not strict) else 1)
