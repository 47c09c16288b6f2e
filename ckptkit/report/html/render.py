"""A document as HTML.

Every text that is written passes through `errors.printable` and Jinja's escaping, here and nowhere else: names from files
can neither become markup nor turn the direction of what stands beside them. Script and style are ours alone, and the
page's own policy lets the browser run only what has their hashes and fetch nothing at all.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from ckptkit.errors import printable
from ckptkit.report.html.cells import Meter, Number
from ckptkit.report.html.document import Table

if TYPE_CHECKING:
    from ckptkit.report.html.cells import Cell
    from ckptkit.report.html.document import Document

# What a report begins with, by which the next one knows that it may take its place.
MARKER = "<!doctype html>\n<!-- ckptkit report -->\n"

# Numbers as `words` writes them; the script reads these from a cell's text.
_PLAIN = re.compile(r"-?[\d.,]+(e[-+]?\d+)?")


def render(document: Document, version: str) -> str:
    """The page.

    Args:
        document: what it says.
        version: of ckptkit, for the foot of the page.
    """
    style = f"{_resource('report.css')}\n{_narrow_headings(document)}"
    script = _resource("report.js")
    body = _environment().get_template("page.html").render(
        document=document,
        version=version,
        style=Markup(style),  # noqa: S704 - ours, the titles in it escaped
        script=Markup(script),  # noqa: S704 - ours
        policy="; ".join(
            (
                "default-src 'none'",
                f"style-src '{_digest(style)}'",
                f"script-src '{_digest(script)}'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )  # fmt: skip
    return MARKER + body


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ckptkit.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["rank"] = _rank
    return environment


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _percent(share: float) -> str:
    return f"{min(1.0, max(0.0, share)) * 100:.3g}%"


def _rank(cell: Cell) -> str:
    """The number that a cell is sorted by, "" where its text is that number; `1e999` is an infinity to the script."""
    order = cell.order
    if order is None or math.isnan(order):
        return ""
    if not math.isfinite(order):
        return f"{'-' if order < 0 else ''}1e999"
    if isinstance(cell, Number | Meter) and _PLAIN.fullmatch(cell.text):
        return ""
    return f"{order:.6g}"


@cache
def _resource(name: str) -> str:
    return (files("ckptkit.report.html") / "templates" / name).read_text(encoding="utf-8").strip()


def _narrow_headings(document: Document) -> str:
    """On a narrow page each cell stands on a line of its own, after the title of its column."""
    rules = []
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                for place, column in enumerate(block.columns[1:], start=2):
                    title = "".join(c if c.isalnum() else f"\\{ord(c):x} " for c in column.title)
                    rules.append(f'#{section.anchor} td:nth-child({place})::before{{content:"{title}"}}')
    return f"@media screen and (max-width:900px){{{''.join(rules)}}}"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
