"""Who may import whom, and what a fresh import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, ROOT

PACKAGE = ROOT / "ckptkit"

# Room -> rooms it may import. A room may import itself; every room may import `errors` and `display`. Names are the
# first part below `ckptkit`. This is the table of docs/architecture.md.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "display": set(),
    "dtypes": set(),
    "model": {"dtypes"},
    "storage": {"model"},
    "formats": {"model", "dtypes", "storage"},
    "engines": {""},
    "output": {"model", "engines", "storage", "formats"},
    "conventions": {"model"},
    "canonical": {"model", "conventions"},
    "matching": {"model"},
    "compare": {"model", "dtypes", "engines"},
    "doubts": {"model", "compare"},
    "assets": {"model"},
    "differences": {"model", "dtypes", "assets", "compare", "engines", "matching"},
    "plans": {"model", "dtypes"},
    "planner": {"model", "dtypes", "plans", "conventions", "matching", "assets", "compare", "differences", "execute"},
    "execute": {"model", "dtypes", "plans"},
    "casting": {"model", "dtypes", "plans", "execute"},
    "conversion": {"model", "canonical", "conventions"},
    "references": set(),
    "trees": set(),
    "inputs": {"model", "dtypes", "formats"},
    "frameworks": {"references", "trees"},
    "verification": {"model", "storage", "formats", "frameworks", "inputs", "references", "trees"},
    "auditing": {"model", "dtypes", "formats", "frameworks", "inputs", "references"},
    "drifting": {"model", "dtypes", "storage", "formats", "compare", "doubts", "engines"},
    "api": {
        "", "model", "engines", "storage", "formats", "output", "conventions", "canonical", "matching", "compare",
        "doubts", "differences", "plans", "planner", "execute", "casting", "conversion", "assets", "references",
        "frameworks", "inputs", "trees", "verification", "auditing", "drifting", "report",
    },
    "testing": {"api"},
    "report": {"model", "plans", "formats"},
    "git": {"storage", "formats", "output"},
    "cli": {"", "model", "formats", "output", "api", "report", "git"},
}  # fmt: skip
THIRD_PARTY = {
    "tensorflow": {"verification", "auditing", "frameworks"},
    "keras": {"verification", "auditing", "frameworks"},
    "tf_keras": {"verification", "auditing", "frameworks"},
    "sonnet": {"verification", "auditing", "frameworks"},
    "jax": {"verification", "trees", "auditing"},
    "flax": set(),
    "haiku": set(),
    "jinja2": {"report"},
    "rich": {"cli", "report"},
    "typer": {"cli"},
    "fsspec": {"storage"},
    "aiohttp": {"storage"},
    "click": set(),
    "dask": {"engines"},
    "distributed": {"engines"},
    "cloudpickle": {"engines"},
    "pickle": set(),
    "marshal": set(),
}


def imports(source: str, module: str) -> set[str]:
    """Absolute names that a module's source imports, those under `if TYPE_CHECKING:` left out."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        pending += ast.iter_child_nodes(node)
    return found


def violations(module: str, imported: set[str]) -> list[str]:
    """What `module` (`ckptkit.formats.npz`) imports and should not."""
    room = module.split(".")[1]
    wrong = []
    for name in imported:
        parts = name.split(".")
        if parts[0] == "ckptkit":
            other = parts[1] if len(parts) > 1 else ""
            if room in ALLOWED and other not in {room, "errors", "display", *ALLOWED[room]}:
                wrong.append(name)
        elif parts[0] in THIRD_PARTY and room not in THIRD_PARTY[parts[0]]:
            wrong.append(name)
    return wrong


MODULES = sorted(PACKAGE.rglob("*.py"))

# What `report` and `cli` may know of the formats: how they are called; what a command writes itself is text.
ONLY = {
    ("report", "formats"): "ckptkit.formats.registry",
    ("cli", "formats"): "ckptkit.formats.registry",
    ("cli", "output"): "ckptkit.output.texts",
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    name = module_name(path)
    if name in {"ckptkit", "ckptkit.__main__"}:
        return
    assert violations(name, imports(path.read_text(), name)) == []


@pytest.mark.parametrize(("room", "other"), ONLY)
def test_some_rooms_see_one_module_of_another(room: str, other: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imports(path.read_text(), module_name(path)):
            if name.startswith(f"ckptkit.{other}"):
                assert name.startswith(ONLY[room, other]), path


def graph() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, at any time."""
    known = {module_name(path) for path in MODULES}
    found = {}
    for path in MODULES:
        names = imports(path.read_text(), module_name(path))
        found[module_name(path)] = {
            name if name in known else name.rpartition(".")[0] for name in names if name.startswith("ckptkit.")
        } & known
    return found


def circles(edges: Mapping[str, set[str]]) -> list[str]:
    """Modules from which imports lead back to themselves."""
    left = {name: set(others) for name, others in edges.items()}
    while leaves := [name for name, others in left.items() if not others & left.keys()]:
        for name in leaves:
            del left[name]
    return sorted(left)


def test_no_module_leads_back_to_itself() -> None:
    assert circles(graph()) == []


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_every_room_is_in_the_table() -> None:
    rooms = {module_name(path).split(".")[1] for path in MODULES if module_name(path).count(".")} - {"__main__"}
    assert rooms == set(ALLOWED)


def test_the_check_can_fail() -> None:
    source = "import rich\nfrom ckptkit.matching import match\nif TYPE_CHECKING:\n    import tensorflow\n"
    assert set(violations("ckptkit.formats.npz", imports(source, "x"))) == {"rich", "ckptkit.matching.match"}


def loaded(code: str) -> set[str]:
    """Top-level names and ckptkit modules in `sys.modules` after `code` in a fresh interpreter."""
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    return set(done.stdout.split())


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert not loaded("import ckptkit") & {"numpy", "h5py", "tensorflow", "rich", "typer", "ckptkit.model"}


def test_a_bundle_is_listed_without_numpy() -> None:
    prefix = FIXTURES / "keras3-mlp-checkpoint" / "ckpt-1"
    modules = loaded(f"import ckptkit\nckptkit.open({str(prefix)!r}).close()")
    assert not modules & {"numpy", "h5py", "tensorflow", "rich", "typer"}


@pytest.mark.parametrize("command", ["inspect", "diff", "remap", "convert", "verify", "audit", "drift", "git"])
def test_help_of_a_command_loads_no_heavy_package(command: str) -> None:
    code = f"sys.argv = ['ckptkit', {command!r}, '--help']\nfrom ckptkit.cli import run\nrun()"
    assert not loaded(code) & {"numpy", "h5py", "tensorflow"}
