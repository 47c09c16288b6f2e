"""Where results go: stdout or a file, complete or not at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ckptkit.cli.options import STREAM
from ckptkit.errors import without_secrets

# Items of a long list that are encoded together.
_AT_ONCE = 512


def write_json(value: dict[str, Any]) -> None:
    """One object of strict JSON in ASCII: no NaN token, no raw control character, whatever a file's names hold.

    Args:
        value: the object; an iterator in it becomes a list, whose items are made as they are written.
    """
    write = sys.stdout.write
    separator = "{"
    for key, item in value.items():
        write(f"{separator}{_encoded(key)}: ")
        if isinstance(item, Iterator):
            write("[")
            comma = ""
            while some := list(islice(item, _AT_ONCE)):
                write(comma + _encoded(some)[1:-1])
                comma = ", "
            write("]")
        else:
            write(_encoded(_shown(item)))
        separator = ", "
    write("}\n")


def _encoded(value: Any) -> str:
    # On one line: only so does Python's encoder run in C, eight times as fast, which counts at 100,000 variables.
    return json.dumps(value, allow_nan=False)


def _shown(item: Any) -> Any:
    """A path, or a list of them, without the secrets of a URL."""
    if isinstance(item, list) and all(isinstance(each, str) for each in item):
        return [without_secrets(each) for each in item]
    return without_secrets(item) if isinstance(item, str) else item


def write_text(path: str, text: str, *, force: bool, inputs: Sequence[str]) -> None:
    """Write a text file the way checkpoints are written: complete under its name, or not there; `-` is stdout.

    Raises:
        CkptkitError: it exists and `force` is off, is an input, or cannot be written.
    """
    if path == STREAM:
        sys.stdout.write(text)
        return
    from ckptkit.output.texts import staged_output

    with staged_output(path, force=force, inputs=inputs) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
