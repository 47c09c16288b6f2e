"""Which functions show a result.

By name: results know nothing of reports, and reports load none of the rooms that make results.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Shown(NamedTuple):
    """How results of a class are shown.

    Attributes:
        page: function of this room that writes the page of a terminal or a notebook.
        report: function of `report.html` that makes the document.
        whole: attribute that has all of what a page or a report leaves out.
    """

    page: str
    report: str
    whole: str

    def write_page(self, *arguments: Any, **how: bool) -> None:
        """Write the page."""
        _function("ckptkit.report", self.page)(*arguments, **how)

    def document(self, *arguments: Any, **more: Any) -> Any:
        """Make the document of the report."""
        return _function("ckptkit.report.html", self.report)(*arguments, **more)


# Class -> how its results are shown.
PAGES = {
    "Audit": Shown("audit.show", "audit.document", "findings"),
    "Checkpoint": Shown("inspection.show_checkpoint", "inspection.document", "spec.variables"),
    "Converted": Shown("conversion.show", "conversion.document", "left"),
    "Diff": Shown("difference.show", "difference.document", "pairs"),
    "Drift": Shown("drift.show", "drift.document", "variables"),
    "Inspection": Shown("inspection.show", "inspection.document", "variables"),
    "Loaded": Shown("loading.show", "loading.document", "loaded"),
    "Match": Shown("matching.show", "matching.document", "pairs"),
    "Plan": Shown("remapping.show_plan", "remapping.document", "steps"),
    "Proposal": Shown("remapping.show_proposal", "remapping.document", "plan.steps"),
    "Remapped": Shown("remapping.show", "remapping.document", "plan.steps"),
    "VerifyResult": Shown("verification.show", "verification.document", "outputs"),
}


def class_of(result: object) -> str:
    """The name in `PAGES` of a result's class, or of the one that it is made from."""
    return next(kind.__name__ for kind in type(result).__mro__ if kind.__name__ in PAGES)


def shown_as(result: object) -> Shown:
    """How a result is shown."""
    return PAGES[class_of(result)]


def _function(room: str, name: str) -> Callable[..., Any]:
    module, _, function = name.partition(".")
    found: Callable[..., Any] = getattr(import_module(f"{room}.{module}"), function)
    return found
