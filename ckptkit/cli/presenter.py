"""What begins and closes every command that has a result: its report, its progress, its JSON or its page."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.cli.options import STREAM
from ckptkit.cli.output import write_json, write_text
from ckptkit.errors import UsageError, printable

if TYPE_CHECKING:
    from ckptkit.display import Result
    from ckptkit.errors import RefusedError
    from ckptkit.report.progress import Advance


class Presenter:
    """Made before any work is done, so that what cannot be written is refused then.

    Args:
        silent: whether nothing is printed (`--quiet`).
        html: where a report goes (`--html`), or None; one that is there will be replaced.
        json: whether JSON is printed in place of a page (`--json`).

    Raises:
        UsageError: nothing and JSON are asked for at once, or a report is to be written to a pipe or over another file.
        CkptkitError: no report can be written there.
    """

    def __init__(self, *, silent: bool = False, html: str | None = None, json: bool = False) -> None:
        if silent and json:
            raise UsageError("one wants no output, the other wants JSON", key="--quiet and --json")
        if html is not None:
            _check_report(html)
        self._silent = silent
        self._html = html
        self._json = json

    @contextlib.contextmanager
    def progress(self, *, enabled: bool = True) -> Iterator[Advance]:
        """Yield a callback that draws a bar with bytes, rate and time left; nothing when stderr is not a terminal."""
        from ckptkit.report.progress import progress_bar, unwatched

        if self._silent or not enabled:
            yield unwatched
            return
        with progress_bar() as advance:
            yield advance

    def close(
        self,
        result: Result,
        code: int = 0,
        *,
        proof: Result | None = None,
        refusal: RefusedError | None = None,
        page: bool = True,
        **how: bool,
    ) -> int:
        """Write and print what was asked for.

        Args:
            result: of the command.
            code: its exit code.
            proof: a second result, which stands below the first.
            refusal: why nothing was done; the page is then left to the message of the error.
            page: whether a page is printed where nothing else is.
            **how: how the page is laid out (`slots`, `everything`).

        Returns:
            The exit code.
        """
        if self._html is not None:
            from ckptkit.api.html import html

            with self.progress() as advance:
                text = html(result, slots=how.get("slots", False), refusal=refusal, progress=advance)
            write_text(self._html, text, force=_replaceable(self._html), inputs=())
        if self._json:
            more: dict[str, Any] = {"verify": proof.to_json()} if proof is not None else {}
            if refusal is not None:
                more = {"refused": refusal.problem, "groups": list(refusal.groups)}
            write_json({**result.json_parts(), **more})
        elif page and refusal is None and not self._silent:
            from ckptkit.report.pages import shown_as
            from ckptkit.report.terminal import TerminalPage

            terminal = TerminalPage()
            shown_as(result).write_page(result, terminal, **how)
            if proof is not None:
                terminal.line()
                shown_as(proof).write_page(proof, terminal)
        if self._html is not None and not self._silent:
            sys.stdout.flush()  # where the report lies is said after what the command has printed
            sys.stderr.write(f"report: {printable(self._html)}\n")
        return code


def _check_report(path: str) -> None:
    from ckptkit.output.texts import check_text_output

    if path == STREAM:
        raise UsageError("a report is written to a file", key="--html -", hint="A file of that name is ./-")
    check_text_output(path)
    if not _replaceable(path):
        raise UsageError("there already, and no report of ckptkit's", path=path, hint="Name another file for --html")


def _replaceable(path: str) -> bool:
    """Whether nothing is at `path`, or a report."""
    from ckptkit.report.html.render import MARKER

    try:
        with Path(path).open("rb") as file:
            return file.read(len(MARKER)) == MARKER.encode()
    except FileNotFoundError:
        return True
    except OSError:
        return False
