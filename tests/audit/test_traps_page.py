"""Every example of docs/traps.md: the trap gives the finding that it is filed under, its fix gives none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ckptkit.api.audit import audit
from ckptkit.auditing.findings import FindingKind
from ckptkit.references import load_callable
from tests.audit.truth import x
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "traps.md").read_text()
EXAMPLES = [
    (title, kind, code)
    for title, section in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    for kind, code in re.findall(r"^```python ([\w-]+)\n(.*?)^```$", section, re.M | re.S)
]


@pytest.mark.parametrize(("title", "kind", "code"), EXAMPLES, ids=[f"{title}-{kind}" for title, kind, _ in EXAMPLES])
def test_an_example(title: str, kind: str, code: str, tmp_path: Path) -> None:
    if "import torch" in code:
        pytest.importorskip("torch", reason="PyTorch is an extra")
    path = tmp_path / "trap_example.py"
    path.write_text(code)
    result = audit(load_callable(f"{path}:build"), x())
    assert {finding.kind for finding in result.findings} == (set() if kind == "clean" else {kind})


def test_every_trap_has_its_fix() -> None:
    kinds = [kind for _, kind, _ in EXAMPLES]
    assert len(EXAMPLES) == PAGE.count("```python ")
    assert all(kind != "clean" for kind in kinds[::2])
    assert all(kind == "clean" for kind in kinds[1::2])


def test_every_kind_of_finding_is_in_the_table() -> None:
    about_files = {"not-in-checkpoint", "not-in-model"}  # not traps: they compare with a given file
    table = PAGE[PAGE.index("| finding |") : PAGE.index("A `lost` by")]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.M)) == set(FindingKind.__args__) - about_files
