"""Options that several commands share, worded once."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from ckptkit.errors import UsageError

STREAM = "-"
"""Standard input or output in the place of a file's name."""


def _names(ctx: typer.Context, incomplete: str) -> list[str]:
    from ckptkit.cli.complete import names_in

    # An option that still waits for its value keeps the parser from giving the arguments their names.
    return names_in([ctx.params.get("path"), ctx.params.get("a"), *ctx.args], incomplete)


# `Optional` rather than `| None`: typer reads these at run time on every supported Python.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; the exit code tells.")]
Slots = Annotated[bool, typer.Option("--slots", help="Include optimizer slots and other state.")]
Filter = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--filter", metavar="GLOB", help="Only variables whose name, key or layer matches.", autocompletion=_names
    ),
]
Atol = Annotated[Optional[float], typer.Option("--atol", min=0.0, help="Absolute tolerance.")]  # noqa: UP045
Rtol = Annotated[Optional[float], typer.Option("--rtol", min=0.0, help="Relative tolerance.")]  # noqa: UP045
Html = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--html", metavar="FILE", help="Also write a report to look at; replaces an earlier report only."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Engine = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--engine", metavar="dask[:ADDRESS]", help="Work on a Dask cluster: one of processes here, or a scheduler's."
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks and what the frameworks write.", envvar="CKPTKIT_DEBUG")
]


def no_stream(value: object) -> object:
    """Callback of what names a checkpoint or another file that is read in places: `-` is no such file.

    Raises:
        UsageError: it is `-`.
    """
    for path in value if isinstance(value, list) else (value,):
        if path == STREAM:
            raise UsageError(
                "not read from or written to a pipe: a checkpoint is read in places, and written complete or not at all",
                path=path,
                hint="A file of that name is ./-",
            )
    return value


def assumptions(given: list[str] | None) -> dict[str, str]:
    """`KEY=VALUE`, each; a value may be empty.

    Raises:
        UsageError: one is no such thing, or a key stands twice.
    """
    return _named(given, "--assume", "KEY=VALUE", "an assumption", empty=True)


def named_pairs(given: list[str] | None) -> dict[str, str]:
    """`TARGET=SOURCE`, each.

    Raises:
        UsageError: one is no such thing, or a target stands twice.
    """
    return _named(given, "--map", "TARGET=SOURCE", "a pair", empty=False)


def _named(given: list[str] | None, option: str, form: str, what: str, *, empty: bool) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not (value or (equals and empty)):
            raise UsageError(f"not {what}", key=f"{option} {text}", expected=form)
        if name in pairs:
            raise UsageError("said twice", key=f"{option} {name}")
        pairs[name] = value
    return pairs
