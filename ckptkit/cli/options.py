"""Options that several commands share, worded once."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

# `Optional` rather than `| None`: typer reads these at run time on every supported Python.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Slots = Annotated[bool, typer.Option("--slots", help="Include optimizer slots and other state.")]
Filter = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--filter", metavar="GLOB", help="Only variables whose name, key or layer matches."),
]
Atol = Annotated[Optional[float], typer.Option("--atol", min=0.0, help="Absolute tolerance.")]  # noqa: UP045
Rtol = Annotated[Optional[float], typer.Option("--rtol", min=0.0, help="Relative tolerance.")]  # noqa: UP045
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks and what the frameworks write.", envvar="CKPTKIT_DEBUG")
]
