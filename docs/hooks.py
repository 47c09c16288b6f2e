"""What the site generator does beside its settings: heads of code blocks, and the proof that a page loads nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# ```python file=net.py is a block that the tests write to that file; ```python untracked one with that finding.
_HEAD = re.compile(r"^```python (?:file=)?(\S+)$", re.M)

_NUMBERED = re.compile(r'<span class="gp"> +# +</span>.*')

# Elements whose address is fetched when a page opens; an <a> is not one.
_LOADS = re.compile(r"<(?:script|link|img|iframe|source|object)\b[^>]*?\b(?:src|href|data)=[\"']?(?:https?:)?//[^>]*>")
_STYLE_LOADS = re.compile(r"(?:url\(|@import\s)[\"']?(?:https?:)?//[^)\s]*")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Make what stands behind `python` in the head of a block its title."""
    return _HEAD.sub(r'```python title="\1"', markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show a line that begins with the `#` over a column of numbers as output: the highlighter takes it for root's prompt."""
    return _NUMBERED.sub(lambda line: f'<span class="go">{re.sub("<[^>]*>", "", line[0])}</span>', html)


def on_post_build(config: Any, **_: Any) -> None:
    """Fail the build when a page or a style sheet would load something from the network.

    Raises:
        PluginError: one would; says which and what.
    """
    from mkdocs.exceptions import PluginError  # here, so that what a page loads can be checked without the generator

    site = Path(config["site_dir"])
    for pattern, ending in ((_LOADS, "html"), (_STYLE_LOADS, "css"), (_STYLE_LOADS, "svg")):
        for file in sorted(site.rglob(f"*.{ending}")):
            found = pattern.search(file.read_text(encoding="utf-8"))
            if found is not None:
                raise PluginError(f"{file.relative_to(site)} loads from the network: {found.group()}")
