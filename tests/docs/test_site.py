"""The documentation as a whole: its table of contents, and the pages that are made from something else."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

import ckptkit
from ckptkit import errors, testing
from tests.conftest import FIXTURES, ROOT

DOCS = ROOT / "docs"
SETTINGS = (ROOT / ".mkdocs.yml").read_text()


def tool(name: str) -> ModuleType:
    """A script of docs/, loaded without running it."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_contents_once_and_every_entry_is_a_page() -> None:
    entries = re.findall(r"^\s+- (?:.*: )?(\S+\.md)$", SETTINGS[SETTINGS.index("\nnav:") :], re.M)
    assert sorted(entries) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_every_situation_is_in_the_index_of_the_cookbook() -> None:
    index = (DOCS / "cookbook" / "index.md").read_text()
    for page in (DOCS / "cookbook").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, page.name


@pytest.mark.parametrize("word", ["situation", "commands", "How you know", "What to watch for"])
def test_a_situation_has_its_parts(word: str) -> None:
    for page in (DOCS / "cookbook").glob("*.md"):
        if page.name != "index.md":
            headings = re.findall(r"^## (.*)$", page.read_text(), re.M)
            assert any(word in heading for heading in headings), page.name


def test_the_command_reference_is_what_the_command_line_says() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [sys.executable, str(DOCS / "generate.py")], check=True, capture_output=True, text=True, env=environment
    )
    assert (DOCS / "commands.md").read_text() == made.stdout, "run python docs/generate.py > docs/commands.md"


def test_the_command_reference_knows_every_command_and_option(run_cli) -> None:
    page = (DOCS / "commands.md").read_text()
    for command in ("inspect", "diff", "remap", "convert", "verify", "audit", "drift"):
        section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
        help_ = run_cli(command, "--help").stdout
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_[help_.index(" Options ") :])) - {"--help"}
        rows = "\n".join(line for line in section.splitlines() if line.startswith("| `-"))
        assert options, command
        assert options <= set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rows)), command


@pytest.mark.parametrize("name", ["inspect", "diff"])
def test_the_pictures_show_what_the_commands_print(name: str) -> None:
    script = tool("picture")
    committed = (DOCS / "images" / f"{name}.svg").read_text()
    assert committed == script.picture(script.PICTURES[name]), "run python docs/picture.py"
    assert len(committed) < 20_000


@pytest.mark.parametrize("name", ["rooms", "formats"])
def test_the_rooms_are_those_of_the_imports(name: str) -> None:
    script = tool("rooms")
    assert (DOCS / "images" / f"{name}.svg").read_text() == script.picture(name), "run python docs/rooms.py"
    assert f"](images/{name}.svg)" in (DOCS / "architecture.md").read_text()


def test_a_circle_of_rooms_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="a → b → a"):
        tool("rooms").floors({"a": {"b"}, "b": {"a"}})
    assert tool("rooms").reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_the_limits_are_those_of_the_modules() -> None:
    """Every constant of the table is in the module it is said to be in, and its value is the one that is said."""
    page = (DOCS / "security.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (`[^|]+`) \| (`[^|]+`) \|$", page, re.M)
    assert len(rows) > 20
    for limit, value, modules, constants in rows:
        loaded = [importlib.import_module(f"ckptkit.formats.{name}") for name in re.findall(r"`([\w.]+)`", modules)]
        for constant in re.findall(r"`(\w+)`", constants):
            found = next((getattr(module, constant) for module in loaded if hasattr(module, constant)), None)
            assert isinstance(found, int), f"{limit}: no {constant} in {modules}"
            spelled = f"{found >> 20} MiB" if found >= 1 << 20 and not found % (1 << 20) else f"{found:,}"
            assert any(word in value for word in (spelled, f"{found:,}", str(found))), (
                f"{limit}: {constant} is {spelled}"
            )


@pytest.mark.parametrize("path", sorted((DOCS / "images").glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_is_sound_and_loads_nothing(path: Path) -> None:
    text = path.read_text()
    ET.fromstring(text)
    assert set(re.findall(r"https?://[^\s\"')]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(script|image|foreignObject|use|a)\b|@import|@font-face|url\(", text)
    assert path.stem in {*tool("picture").PICTURES, *tool("rooms").PICTURES}


def test_a_picture_escapes_what_it_shows() -> None:
    from rich.text import Text

    script = tool("picture")
    drawn = script.draw([Text.assemble(("<script>alert(1)</script> & ▌█", "red"))], "<b>")
    root = ET.fromstring(drawn)
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["<script>alert(1)</script> &"]
    bar = list(root.iter("{http://www.w3.org/2000/svg}rect"))[-1]
    assert (bar.get("class"), float(bar.get("width", "0"))) == ("red", pytest.approx(1.5 * script._CHARACTER, abs=0.1))


def test_every_public_name_is_in_the_reference() -> None:
    shown = set(re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.M))
    public = {f"ckptkit.{name}" for name in ckptkit.__all__ if name != "__version__"}
    helpers = {f"ckptkit.testing.{name}" for name in testing.__all__}
    subclasses = [errors.CkptkitError]
    for each in subclasses:
        subclasses += each.__subclasses__()
    raised = {f"ckptkit.errors.{each.__name__}" for each in subclasses[1:] if each.__module__ == "ckptkit.errors"}
    assert public | helpers | raised <= shown


def test_every_name_in_the_reference_is_there_and_has_a_docstring() -> None:
    for name in re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.M):
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


NO_CLASSES = {
    "Any",
    "AbstractContextManager",
    "Advance",
    "Callable",
    "Iterator",
    "None",
    "Progress",
}  # Python's own; callables


def test_every_result_of_a_public_call_is_in_the_reference() -> None:
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.M)}
    for name in set(ckptkit.__all__) - {"__version__"}:
        returned = getattr(ckptkit, name).__annotations__.get("return", "") if name.islower() else ""
        assert {word for word in re.findall(r"\w+", str(returned)) if word[0].isupper()} - NO_CLASSES <= shown, name


@pytest.mark.parametrize(
    ("source", "like", "options"),
    [
        ("single-h5/single.h5", "double-h5/double.h5", {}),
        ("tf1-seq2seq/seq2seq.ckpt-9000", "tf1-seq2seq/seq2seq.ckpt-9000", {}),
        ("keras3-mlp-checkpoint/ckpt-1", "keras3-mlp-weights/model.weights.h5", {"slots": True}),
        ("keras3-rnn-archive/model.keras", "tf-keras-rnn-h5/model.h5", {"by": "order"}),
    ],
)
def test_plans_keep_to_the_schema(source: str, like: str, options: dict[str, object]) -> None:
    schema = json.loads((DOCS / "plan.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    plan = ckptkit.plan(FIXTURES / source, FIXTURES / like, **options).to_json()
    jsonschema.validate(json.loads(json.dumps(plan)), schema, jsonschema.Draft202012Validator)
    plan["steps"][0]["op"] = {"fil": 0}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plan, schema, jsonschema.Draft202012Validator)


def test_an_edited_plan_that_the_tool_refuses_breaks_the_schema_too() -> None:
    schema = json.loads((DOCS / "plan.schema.json").read_text())
    plan = ckptkit.plan(FIXTURES / "single-h5/single.h5", FIXTURES / "double-h5/double.h5").to_json()
    for change in ({"schema": "ckptkit.remap/2"}, {"steps": None}, {"surprise": 1}, {"kept": [{"target": "x"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**plan, **change}, schema, jsonschema.Draft202012Validator)


def test_the_site_loads_nothing_from_the_network() -> None:
    assert "font: false" in SETTINGS
    assert not re.search(r"https?://", SETTINGS)
    hooks = tool("hooks")
    for bad in (
        '<script src="https://cdn.example/x.js">', "<link rel=stylesheet href=//fonts.example/a.css>",
        '<img alt="x" src="http://a.example/b.png">',
    ):  # fmt: skip
        assert hooks._LOADS.search(bad), bad
    assert not hooks._LOADS.search('<a href="https://example.org">x</a><img src="images/diff.svg">')
    assert hooks._STYLE_LOADS.search("@import 'https://a.example/x.css'")
    assert not hooks._STYLE_LOADS.search("url(data:image/svg+xml;base64,AAAA) url(x.svg)")


def test_heads_of_blocks_become_titles() -> None:
    hooks = tool("hooks")
    assert hooks.on_page_markdown("```python file=net.py\nx\n```") == '```python title="net.py"\nx\n```'
    assert hooks.on_page_markdown("```python untracked\n```") == '```python title="untracked"\n```'
    assert hooks.on_page_markdown("```python\n```") == "```python\n```"


def test_a_header_with_a_number_sign_is_shown_as_output() -> None:
    hooks = tool("hooks")
    line = '<span class="gp">  #  </span>layer<span class="w">  </span>kind'
    assert hooks.on_page_content(f"{line}\n<b>") == '<span class="go">  #  layer  kind</span>\n<b>'
    prompt = '<span class="gp">$ </span>ls<span class="w"> </span>x'
    assert hooks.on_page_content(prompt) == prompt


@pytest.mark.parametrize("ground", [0, 1], ids=["light", "dark"])
def test_the_colours_of_a_picture_can_be_read(ground: int) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1 between text and what it stands on."""

    def luminance(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    colours = {name: luminance(pair[ground]) + 0.05 for name, pair in tool("picture")._COLOURS.items()}
    below = colours.pop("ground")
    assert all(max(each, below) / min(each, below) >= 4.5 for each in colours.values())
