"""`python docs/rooms.py` draws the rooms of the package, and what is inside of `formats`, from the imports of their modules.

A room stands on those that it imports, at whatever time; an arrow that others imply is left out. What all rooms import
(`errors`, `display`) is not drawn. A test makes the pictures anew and compares.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ckptkit"
FOLDER = Path(__file__).with_name("images")

EVERYWHERE = {"errors", "display"}

_WIDTH, _HEIGHT, _BESIDE, _BELOW, _MARGIN = 118, 28, 14, 44, 16  # pixels
_MOST_IN_A_ROW = 7

Edges = Mapping[str, set[str]]


def module_imports() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports; what only types are imported for does not count."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    known = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        imported: set[str] = set()
        pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            pending += ast.iter_child_nodes(node)
        found[name] = (imported & known.keys()) - {name}
    return found


def together(modules: Edges, box: Callable[[str], str]) -> dict[str, set[str]]:
    """Box -> boxes on which it stands; a module for which `box` gives nothing is left out."""
    edges: dict[str, set[str]] = defaultdict(set)
    for name, others in modules.items():
        if box(name):
            edges[box(name)] |= {box(other) for other in others} - {box(name), ""}
    return edges


def rooms() -> dict[str, set[str]]:
    """Room -> rooms on which it stands."""

    def room(module: str) -> str:
        name = [*module.split("."), ""][1]
        return "" if name in {*EVERYWHERE, "__main__"} else name

    return together(module_imports(), room)


def inside_formats() -> dict[str, set[str]]:
    """Module or package of `formats`, and the two below it -> those on which it stands."""

    def box(module: str) -> str:
        parts = module.split(".")
        if parts[1:2] in (["storage"], ["output"]):
            return parts[1]
        if parts[1:2] != ["formats"] or len(parts) < 3:
            return ""
        return (
            ".".join(parts[2:4]) if parts[2] == "tensorflow" and (PACKAGE.joinpath(*parts[1:4])).is_dir() else parts[2]
        )

    return together(module_imports(), box)


def floors(edges: Edges) -> list[list[str]]:
    """Boxes by floor, the ground first: each stands on the one below or deeper.

    Raises:
        ValueError: one leads back to itself.
    """
    height: dict[str, int] = {}

    def of(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"a circle: {' → '.join((*above, name))}")
        if name not in height:
            height[name] = 1 + max((of(other, (*above, name)) for other in edges.get(name, ())), default=-1)
        return height[name]

    for name in sorted(edges):
        of(name, ())
    return [sorted(name for name, at in height.items() if at == floor) for floor in range(max(height.values()) + 1)]


def reduced(edges: Edges) -> dict[str, set[str]]:
    """Without what is implied by going through another box."""

    def reached(name: str) -> set[str]:
        return {further for other in edges.get(name, ()) for further in {other, *reached(other)}}

    return {name: others - {far for other in others for far in reached(other)} for name, others in edges.items()}


def draw(edges: Edges, title: str) -> str:
    """An SVG of boxes on floors, and of arrows from each to what it stands on."""
    rows = [
        row[at : at + _MOST_IN_A_ROW] for row in reversed(floors(edges)) for at in range(0, len(row), _MOST_IN_A_ROW)
    ]
    across = max(map(len, rows)) * (_WIDTH + _BESIDE) - _BESIDE
    places = {
        name: (
            _MARGIN + (across - len(row) * (_WIDTH + _BESIDE) + _BESIDE) // 2 + column * (_WIDTH + _BESIDE),
            _MARGIN + number * (_HEIGHT + _BELOW),
        )
        for number, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    width, height = across + 2 * _MARGIN, len(rows) * (_HEIGHT + _BELOW) - _BELOW + 2 * _MARGIN
    lines = [
        f'<path class="line" d="M{places[name][0] + _WIDTH // 2} {places[name][1] + _HEIGHT}'
        f'L{places[other][0] + _WIDTH // 2} {places[other][1]}"/>'
        for name, others in sorted(reduced(edges).items())
        for other in sorted(others)
    ]
    boxes = [
        f'<rect class="box" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        f'<text x="{x + _WIDTH // 2}" y="{y + 18}">{escape(name)}</text>'
        for name, (x, y) in places.items()
    ]
    style = (
        "text { font: 12px system-ui, sans-serif; text-anchor: middle; fill: #1f2328 } .ground { fill: #f6f8fa } "
        ".box { fill: #ffffff; stroke: #59636e } .line { stroke: #59636e; fill: none; opacity: 0.6 }\n"
        "@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ground { fill: #161b22 } "
        ".box { fill: #0d1117; stroke: #9198a1 } .line { stroke: #9198a1 } }"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
            f"<style>{style}</style>",
            f'<rect class="ground" width="{width}" height="{height}" rx="8"/>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


PICTURES: dict[str, tuple[Callable[[], dict[str, set[str]]], str]] = {
    "rooms": (rooms, "The rooms of ckptkit: each stands on those that it imports"),
    "formats": (inside_formats, "Inside of formats, storage and output: each stands on what it imports"),
}


def picture(name: str) -> str:
    """The picture called `name`."""
    edges, title = PICTURES[name]
    return draw(edges(), title)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(picture(name), encoding="utf-8")
