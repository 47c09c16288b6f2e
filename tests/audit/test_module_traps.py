"""Each trap as a `tf.Module` and as a Sonnet module: what the audit says equals what the framework does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from ckptkit.api.audit import audit
from tests.audit.keras_traps import FINE, concerned, forget
from tests.audit.module_traps import TRAPS
from tests.audit.truth import module_truth, x

if TYPE_CHECKING:
    from collections.abc import Iterator
from pathlib import Path


@pytest.fixture(scope="module", params=["tf.Module", "sonnet"])
def base(request: pytest.FixtureRequest) -> Any:
    return tf.Module if request.param == "tf.Module" else pytest.importorskip("sonnet").Module


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    yield
    forget()


@pytest.mark.parametrize("name", TRAPS)
def test_findings_equal_the_truth(base: Any, name: str, tmp_path: Path) -> None:
    trap, kind = TRAPS[name]
    truth = module_truth(lambda: trap(base), concerned, tmp_path)
    last: list[Any] = []

    def factory() -> Any:
        last.append(trap(base))
        return last[-1]

    result = audit(factory, x())
    variable = concerned(last[0])
    facts = [f for f in result.variables if f.shape == tuple(variable.shape)]
    assert len(facts) == 1, [f.held_at for f in result.variables]
    assert facts[0].in_weights == truth.in_weights
    assert dict(facts[0].saved) == truth.saved
    assert facts[0].trained == truth.trained
    assert "_traps.py:" in (facts[0].created_at or "")
    findings = [finding for finding in result.findings if finding.facts is facts[0]]
    assert [finding.kind for finding in findings] == ([] if kind == FINE else [kind]), [f.message for f in findings]
    assert (kind in ("untracked", "lost", "foreign")) == (not truth.in_weights or truth.saved["checkpoint"] is False)
