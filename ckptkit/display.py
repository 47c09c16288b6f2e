"""How a result shows itself in a notebook, and as a report.

A notebook asks the object itself, and a result knows nothing of reports. So the page is looked up when it is asked for:
`import_module` below is the package's one call of rooms from below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Result(Protocol):
    """What every call that does work gives back."""

    def to_json(self) -> dict[str, Any]:
        """What the command prints with `--json`."""

    def json_parts(self) -> dict[str, Any]:
        """The same, as it is made while it is printed."""

    def to_html(self, *, progress: Callable[[int, int], None] | None = None) -> str:
        """What the command writes with `--html`."""


def whole(parts: dict[str, Any]) -> dict[str, Any]:
    """`parts` with lists in the places of iterators."""
    return {key: list(part) if isinstance(part, Iterator) else part for key, part in parts.items()}


class Displayed:
    """Gives its subclasses what IPython asks for: a page in a notebook, one line where only text can be shown."""

    __slots__ = ()

    def json_parts(self: Result) -> dict[str, Any]:
        """As `to_json`; may have iterators over lists that are long, whose items are then made as they are written."""
        return self.to_json()

    def to_html(self, *, progress: Callable[[int, int], None] | None = None) -> str:
        """The report that `--html` writes: one file that needs nothing else.

        Args:
            progress: called with (bytes done, bytes in all) where pictures need values to be read once more.

        Raises:
            CkptkitError: a file that is to be looked at again cannot be read any more.
        """
        page: str = import_module("ckptkit.api.html").html(self, progress=progress)
        return page

    def _repr_html_(self) -> str:
        """A self-contained HTML fragment."""
        page: str = import_module("ckptkit.report.notebook").html(self)
        return page

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        """The verdict as plain text: `repr` spells out 100,000 variables, and a notebook would store that too."""
        return {"text/plain": import_module("ckptkit.report.notebook").headline(self)}
