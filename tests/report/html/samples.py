"""Checkpoints and results that the reports of these tests are made of."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

import ckptkit
from ckptkit.api.inspect import inspect
from ckptkit.auditing.findings import Audit, Facts, Finding
from ckptkit.drifting import Drift, VariableDrift
from ckptkit.report.html import audit, drift, inspection, verification
from ckptkit.report.html.render import render
from ckptkit.verification.result import Conditions, Divergence, OutputComparison, VerifyResult

HOSTILE = (
    "<script>alert(1)</script>",
    '"onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u202egnol\u2028b\x1b[2J",
    "n" * 10_000,
)


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and all text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag) -> None:
        self._open = ""

    def handle_data(self, data) -> None:
        if not self._open:
            self.shown += data

    def count(self, tag: str, **attributes: str) -> int:
        wanted = attributes.items()
        return sum(name == tag and wanted <= found.items() for name, found in self.elements)


def diffed(folder: Path, a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> str:
    """The report of a diff of two archives."""
    np.savez(folder / "a.npz", **a)
    np.savez(folder / "b.npz", **b)
    found = ckptkit.diff(folder / "a.npz", folder / "b.npz")
    return found.to_html()


def inspected(path: Path) -> str:
    """The report of everything that `inspect` can be asked of a file."""
    return render(inspection.document(inspect(path, stats=True, hashes=True), slots=True), "1.2.3")


def verified(name: str = "dense", *, passed: bool = False) -> str:
    """The report of a verification of two outputs."""
    outputs = tuple(
        OutputComparison(f"{name} {number}", (4, 3), difference, (1, 2), 0.1, 0.01, 0.999, 0.75, 1e-7, 4e-7, 0.0, ok)
        for number, (difference, ok) in enumerate([(0.5, passed), (0.0, True)])
    )
    conditions = Conditions(16, 2, 0, ("CPU", "CPU"), False, 4.0)
    apart = None if passed else Divergence(name, name, "GRU", 0.0, 0.5, "reset_after differs")
    return render(verification.document(VerifyResult("a", "b", conditions, outputs, 0.0, apart, (name,))), "1.2.3")


def audited(name: str = "block.w") -> str:
    """The report of an audit with a finding and a sound variable."""
    saved = {"weights.h5": False, "h5": None, "checkpoint": True}
    lost = Facts(
        name, (3, 4), "float32", "net.py:7", "build", "tf.Variable", name, False, saved, {}, True, False, True, False
    )
    kept = Facts(
        "ok",
        (4,),
        "float32",
        "net.py:9",
        None,
        "Dense",
        "ok",
        True,
        dict.fromkeys(saved, True),
        {},
        True,
        True,
        True,
        False,
    )
    finding = Finding("untracked", "error", lost, f"{name} is lost.", f"Track {name}.")
    return render(audit.document(Audit("Net", "keras", (kept, lost), (finding,), (name,))), "1.2.3")


def drifted(name: str = "frozen/kernel") -> str:
    """The report of a run of three checkpoints, one variable standing still and one that comes late."""
    variables = (
        VariableDrift("moving/kernel", "weight", (2, 3), "float32", (True,) * 3, (0.5, 0.01), "moving", False),
        VariableDrift("late/kernel", "weight", (2,), "float32", (False, True, True), (None, 0.1), "moving", False),
        VariableDrift(name, "weight", (4,), "float32", (True,) * 3, (0.0, 0.0), "frozen", False, "zeros"),
    )
    return render(drift.document(Drift(("1", "2", name), ("1", "2", "3"), variables, (name,))), "1.2.3")
