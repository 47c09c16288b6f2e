"""The pages that `--help` shows."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
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


def _laid_out(paragraph: str) -> str:
    text, begins, commands = paragraph.partition("Example: ")
    if not begins or text:
        return " ".join(paragraph.split())
    return "\n".join(["Examples:", *(f"$ {line.strip()}" for line in commands.splitlines())])
