"""Commands as we have them: the pages that `--help` shows, and no more loaded than a call needs."""

from __future__ import annotations

import inspect
import typing
from functools import partial
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    Base = TyperCommand
else:
    Base = object


class _Sparing(Base):
    """Takes texts as they are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        for parameter in self.get_params(ctx):
            if hasattr(parameter, "get_runtime_param") and hasattr(parameter, "type_descriptor"):
                parameter.get_runtime_param = partial(_AsItIs, parameter.type_descriptor.annotation, parameter)
        return super().parse_args(ctx, args)


class Group(_Sparing, TyperGroup):
    """The group of all commands."""


class Command(_Sparing, TyperCommand):
    """A command whose page explains its arguments and fits any width.

    From version 8.5 on click has a `help` of its own for arguments, and overwrites the one that typer 0.21 has set: it is
    taken from the function's annotations again. Of the text, the lines of all but the examples are joined, to be
    broken where the terminal ends.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        hints = typing.get_type_hints(self.callback, include_extras=True) if self.callback else {}
        for parameter in self.params:
            for note in getattr(hints.get(parameter.name or ""), "__metadata__", ()):
                parameter.help = getattr(parameter, "help", None) or note.help  # type: ignore[attr-defined, unused-ignore]
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(map(_laid_out, paragraphs))
        super().format_help(ctx, formatter)


class _AsItIs:
    """What gives a parameter its value in typer 0.29, which loads pydantic for it: 80 ms that a text does not need.

    Whatever has to be checked or made of a text is left to typer. Where typer has no such thing, this is not used.
    """

    def __init__(self, annotation: Any, parameter: Any) -> None:
        self._annotation = annotation
        self._parameter = parameter

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a parameter."""
        several = param.multiple or param.nargs == -1
        if value is None and not several:
            return None
        if several and self._annotation == list[str] and all(isinstance(each, str) for each in value or ()):
            return list(value or ())
        if isinstance(value, str) and (self._annotation is str or value == self._parameter.default):
            return value
        made = type(self._parameter).get_runtime_param(self._parameter)
        return made.coerce(value, param=param, ctx=ctx)


def _laid_out(paragraph: str) -> str:
    text, begins, commands = paragraph.partition("Example: ")
    if not begins or text:
        return " ".join(paragraph.split())
    return "\n".join(["Examples:", *(f"$ {line.strip()}" for line in commands.splitlines())])
