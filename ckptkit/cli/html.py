"""`--html FILE`: the report beside what a command prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ckptkit
from ckptkit.cli.options import STREAM
from ckptkit.errors import UsageError, printable
from ckptkit.report.html.render import MARKER, render

if TYPE_CHECKING:
    from ckptkit.report.html.document import Document


def check(path: str) -> None:
    """Refuse what no report can be written to, before any work is done; a report that is there will be replaced.

    Raises:
        CkptkitError: another file is there, or none can be.
    """
    from ckptkit.api.writing import check_text_output

    if path == STREAM:
        raise UsageError("a report is written to a file", key="--html -", hint="A file of that name is ./-")
    check_text_output(path)
    if not _replaceable(path):
        raise UsageError("there already, and no report of ckptkit's", path=path, hint="Name another file for --html")


def write(path: str, document: Document) -> None:
    """Write the report.

    Raises:
        CkptkitError: it cannot be written, or another file has come there meanwhile.
    """
    from ckptkit.cli.output import write_text

    write_text(path, render(document, ckptkit.__version__), force=_replaceable(path), inputs=())


def tell(path: str) -> None:
    """Say on stderr where the report lies, after what the command has printed."""
    sys.stdout.flush()
    sys.stderr.write(f"report: {printable(path)}\n")


def _replaceable(path: str) -> bool:
    """Whether nothing is at `path`, or a report."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MARKER)) == MARKER.encode()
    except FileNotFoundError:
        return True
    except OSError:
        return False
