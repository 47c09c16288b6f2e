"""`python docs/picture.py` runs commands on the shipped fixtures and draws what they print as `docs/images/*.svg`.

The pictures are text: what a terminal of 100 columns shows, colours and all, with the reader's own fonts. Bars are drawn as
boxes, so that they are whole in any font. A test makes them anew and compares.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).with_name("images")
PICTURES = {
    "inspect": "ckptkit inspect fixtures/tf1-layers-adam/model.ckpt-9000",
    "diff": "ckptkit diff fixtures/single-h5/single.h5 fixtures/double-h5/double.h5",
}

_COLUMNS = 100
_CHARACTER = 8.4  # width of a column in pixels, at a font size of 14
_LINE = 20
_MARGIN = 16

# Eighths of a block, U+258F to U+2588: how much of the column is filled.
_BLOCKS = {chr(0x2590 - eighths): eighths / 8 for eighths in range(1, 9)}

# Colours on the light and the dark ground; each has a contrast of 4.5 to 1 or more to it.
_COLOURS = {
    "ground": ("#f6f8fa", "#161b22"), "text": ("#1f2328", "#e6edf3"), "dim": ("#59636e", "#9198a1"),
    "red": ("#b3131f", "#ff7b72"), "green": ("#116329", "#56d364"), "yellow": ("#7d4e00", "#e3b341"),
    "blue": ("#0550ae", "#79c0ff"), "magenta": ("#8250df", "#d2a8ff"), "cyan": ("#1b5e7e", "#76e3ea"),
}  # fmt: skip
_ANSI = ("text", "red", "green", "yellow", "blue", "magenta", "cyan", "text")  # SGR 30 to 37


def picture(command: str) -> str:
    """An SVG of `command` and of what it prints."""
    words = shlex.split(command)
    if words[0] != "ckptkit":
        raise ValueError(command)
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLORTERM"}}
    environment |= {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # its exit code is a verdict
        [sys.executable, "-m", "ckptkit", *words[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return draw([Text.assemble(("$ ", "dim"), (command, "bold")), *Text.from_ansi(done.stdout).split("\n")], command)


def draw(lines: list[Text], title: str) -> str:
    """`lines` of styled text as an SVG."""
    width, height = round(_COLUMNS * _CHARACTER + 2 * _MARGIN), len(lines) * _LINE + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{_style()}\n</style>",
            f'<rect class="ground" width="{width}" height="{height}" rx="8"/>',
            *(piece for number, line in enumerate(lines) for piece in _line(line, _MARGIN + number * _LINE)),
            "</svg>\n",
        ]
    )


def _style() -> str:
    def rules(ground: int) -> str:
        return " ".join(f".{name} {{ fill: {colours[ground]} }}" for name, colours in _COLOURS.items())

    return (
        "text { font: 14px ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; white-space: pre }\n"
        f".bold {{ font-weight: 600 }}\n{rules(0)}\n@media (prefers-color-scheme: dark) {{ {rules(1)} }}"
    )


def _line(line: Text, top: int) -> Iterator[str]:
    column = 0
    for segment in line.render(Console(color_system="standard"), end=""):
        style = segment.style
        number = style.color.number if style and style.color else None
        fill = _ANSI[number % 8] if number is not None else "dim" if style and style.dim else "text"
        classes = f"{fill} bold" if style and style.bold else fill
        for text, bars in _runs(segment.text):
            yield from _bars(text, column, top, fill) if bars else _words(text, column, top, classes)
            column += cell_len(text)


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """`text` in pieces of which each is all bars or has none."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or (text[end] in _BLOCKS) != (text[start] in _BLOCKS):
            yield text[start:end], text[start] in _BLOCKS
            start = end


def _bars(text: str, column: int, top: int, classes: str) -> Iterator[str]:
    width = sum(_BLOCKS[character] for character in text) * _CHARACTER
    x = _MARGIN + column * _CHARACTER
    yield f'<rect class="{classes}" x="{x:.1f}" y="{top + 4}" width="{width:.1f}" height="{_LINE - 8}"/>'


def _words(text: str, column: int, top: int, classes: str) -> Iterator[str]:
    """Words that stand two blanks apart or more, each at its own column: what a font does to one shifts no other."""
    for part in text.split("  "):
        blanks = len(part) - len(part.lstrip())
        if part.strip():
            x, length = _MARGIN + (column + blanks) * _CHARACTER, cell_len(part.strip()) * _CHARACTER
            yield (
                f'<text class="{classes}" x="{x:.1f}" y="{top + 15}" textLength="{length:.1f}">{escape(part.strip())}</text>'
            )
        column += cell_len(part) + 2


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, command in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(picture(command), encoding="utf-8")
