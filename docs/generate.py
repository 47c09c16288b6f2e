"""`python docs/generate.py` prints `docs/commands.md`, made from the command line itself."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from ckptkit import cli

_HEAD = """\
# Command reference

This page is made from the command line itself (`python docs/generate.py > docs/commands.md`); do not edit
it. `ckptkit COMMAND --help` says the same.
"""

# What 0 and 1 mean for a command whose 1 is not trouble; 2 and 130 are the same for all.
_VERDICTS = {
    "audit": (
        "the model loses no weights; warnings may be listed",
        "a finding is an error, or with `--strict` a warning",
    ),
    "diff": ("identical, or within the tolerance", "something differs, has no partner, or is ambiguous"),
    "drift": ("every weight moves", "a weight stands still"),
    "verify": ("both models compute the same", "they do not, or with `--strict` a weight is untested"),
    "remap": ("written, or shown by `--dry-run`", "written, and `--verify` found a difference"),
}
# What a value that is no word of a list is called, as typer's own help pages do.
_WORDS = {float: "FLOAT", int: "INTEGER", str: "TEXT"}
_TROUBLE = "2 trouble; 130 interrupted"
_TAIL = """\
## Everywhere

| exit code | |
| --- | --- |
| 0 | same, verified, clean, done: as of `diff` and `cmp` |
| 1 | different, failed, findings |
| 2 | trouble: wrong usage, unreadable or damaged input, a refusal, an output that cannot be written; one line on stderr |
| 130 | interrupted |

Results go to stdout, progress and messages to stderr; with `--json` stdout is one JSON object and nothing else.
`CKPTKIT_DEBUG=1` does for every command what `--debug` does. Colour, width, pipes and completion are in [shell](shell.md).
"""


def page() -> str:
    """The page: a section for each command, in the order in which help lists them."""
    cli._add_commands(())
    root = typer.main.get_command(cli.app)
    return "\n".join([_HEAD, *_commands(root, "ckptkit", 2), _TAIL])


def _commands(group: Any, path: str, level: int) -> Iterator[str]:
    for name, command in group.commands.items():
        if not command.hidden:
            yield "\n\n".join(_section(command, name, f"{path} {name}", level)) + "\n"
            yield from _commands(command, f"{path} {name}", level + 1) if hasattr(command, "commands") else ()


def _section(command: Any, name: str, path: str, level: int) -> Iterator[str]:
    about, *examples = re.split(r"^\s*Examples?:", command.help or "", maxsplit=1, flags=re.M)
    yield f"{'#' * level} {name}"
    yield " ".join(about.split("\n\n")[0].split())
    parts = [_argument(each, command) for each in command.params if each.param_type_name == "argument"]
    end = ["COMMAND"] if hasattr(command, "commands") else []
    usage = [path, "[OPTIONS]", *(shown.strip("`") for shown, _ in parts), *end]
    yield f"```text\n{' '.join(usage)}\n```"
    yield from (" ".join(paragraph.split()) for paragraph in about.split("\n\n")[1:] if paragraph.strip())
    shown = [_option(each, command) for each in command.params if each.param_type_name == "option" and not each.hidden]
    for title, rows in (("argument", parts), ("option", shown)):
        if rows:
            yield "\n".join([f"| {title} | |", "| --- | --- |", *(f"| {_cell(a)} | {_cell(b)} |" for a, b in rows)])
    if examples:
        lines = (line.strip().removeprefix("$ ") for line in examples[0].splitlines())
        yield "\n".join(["```sh", *filter(None, lines), "```"])
    if not hasattr(command, "commands"):
        good, *bad = _VERDICTS.get(name, ("done",))
        yield f"Exit codes: {'; '.join([f'0 {good}', *(f'1 {each}' for each in bad), _TROUBLE])}."


def _argument(parameter: Any, command: Any) -> tuple[str, str]:
    name = parameter.metavar or parameter.name.upper()
    help_ = next(each.help for each in _hint(parameter, command).__metadata__ if hasattr(each, "help"))
    return (f"`{name}`" if parameter.required else f"`[{name}]`"), help_ or ""


def _option(parameter: Any, command: Any) -> tuple[str, str]:
    *others, last = [*parameter.opts, *parameter.secondary_opts]
    first, *rest = [last] if parameter.is_flag else _kind(parameter, command)
    shown = ", ".join(f"`{name}`" for name in (*others, last if parameter.is_flag else f"{last} {first}", *rest))
    notes = [parameter.help or ""]
    if parameter.required:
        notes.append("Required.")
    if parameter.multiple and "repeatable" not in notes[0] and "for each" not in notes[0]:
        notes.append("Repeatable.")
    if not parameter.is_flag and parameter.default is not None and not parameter.multiple:
        notes.append(f"Default: `{parameter.default}`.")
    if parameter.envvar:
        notes.append(f"Environment: `{parameter.envvar}`.")
    return shown, " ".join(notes)


def _hint(parameter: Any, command: Any) -> Any:
    """What the signature says of a parameter: releases of typer differ in what they keep of it, and where."""
    return get_type_hints(inspect.unwrap(command.callback), include_extras=True)[parameter.name]


def _kind(parameter: Any, command: Any) -> list[str]:
    """What an option takes: one word, or each of the words that it may be."""
    if parameter.metavar:
        return str(parameter.metavar).split("|")
    hint = _hint(parameter, command)
    while get_args(hint) and get_origin(hint) is not Literal:
        hint = get_args(hint)[0]  # of `X | None`, `list[X]` and what is annotated
    return list(map(str, get_args(hint))) or [_WORDS[hint]]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    sys.stdout.write(page())
