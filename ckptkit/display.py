"""How a result shows itself in a notebook.

A notebook asks the object itself, and a result knows nothing of reports. So the page is looked up when it is asked for:
`import_module` below is the package's one call of a room from below it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Displayed:
    """Gives its subclasses what IPython asks for: a page in a notebook, one line where only text can be shown."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """A self-contained HTML fragment."""
        page: str = import_module("ckptkit.report.notebook").html(self)
        return page

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        """The verdict as plain text: `repr` spells out 100,000 variables, and a notebook would store that too."""
        return {"text/plain": import_module("ckptkit.report.notebook").headline(self)}
