"""Each trap in each Keras: what the audit says equals what the framework does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ckptkit.api.audit import audit
from tests.audit.keras_traps import FINE, TRAPS, concerned, forget
from tests.audit.truth import keras_truth, x

if TYPE_CHECKING:
    from collections.abc import Iterator
from pathlib import Path


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    yield
    forget()


@pytest.mark.parametrize("name", TRAPS)
def test_findings_equal_the_truth(K: Any, name: str, tmp_path: Path) -> None:
    trap, *kinds = TRAPS[name]
    kind = kinds[K.__name__ == "tf_keras"]
    truth = keras_truth(K, lambda: trap(K), concerned, tmp_path)
    last: list[Any] = []

    def factory() -> Any:
        last.append(trap(K))
        return last[-1]

    result = audit(factory, x())
    variable = concerned(last[0])
    facts = [f for f in result.variables if f.shape == tuple(variable.shape)]
    assert len(facts) == 1, [f.held_at for f in result.variables]
    assert facts[0].in_weights == truth.in_weights
    assert dict(facts[0].saved) == truth.saved
    assert facts[0].trained == truth.trained
    assert facts[0].created_at is not None
    assert "keras_traps.py:" in facts[0].created_at
    findings = [finding for finding in result.findings if finding.facts is facts[0]]
    assert [finding.kind for finding in findings] == ([] if kind == FINE else [kind]), [f.message for f in findings]
    lost = not truth.in_weights or False in truth.saved.values()
    assert lost == (kind in ("untracked", "lost", "foreign"))
    if lost:
        assert facts[0].held_at is not None
        assert findings[0].advice
