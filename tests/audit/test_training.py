"""What a compiled model really trains: `fit` says, and the audit has to say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ckptkit.api.audit import audit
from tests.audit.truth import x

TARGET = np.full((2, 2), 5.0, "float32")


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def frozen_after_fit(K: Any) -> Any:
    """`trainable` is changed once the training step has been compiled."""
    model = K.Sequential([K.Input((4,)), K.layers.Dense(3), K.layers.Dense(2)])
    model.compile(K.optimizers.SGD(0.1), "mse")
    model.fit(x(), TARGET, verbose=0)
    model.layers[0].trainable = False
    return model


def frozen_before_fit(K: Any) -> Any:
    model = K.Sequential([K.Input((4,)), K.layers.Dense(3), K.layers.Dense(2)])
    model.layers[0].trainable = False
    model.compile(K.optimizers.SGD(0.1), "mse")
    return model


def optimizer_of_another(K: Any) -> Any:
    """The optimizer was built for the old head; the new one is unknown to it."""
    body = K.layers.Dense(3)
    old = K.Sequential([K.Input((4,)), body, K.layers.Dense(2)])
    optimizer = K.optimizers.Adam(0.1)
    old.compile(optimizer, "mse")
    old.fit(x(), TARGET, verbose=0)
    model = K.Sequential([K.Input((4,)), body, K.layers.Dense(2)])
    model.compile(optimizer, "mse")
    return model


def fitted(K: Any, model: Any, layer: int) -> bool | None:
    """Whether `fit` changes the kernel of a layer; None when it raises."""
    before = model.layers[layer].kernel.numpy()
    try:
        model.fit(x(), TARGET, verbose=0)
    except (ValueError, KeyError):
        return None
    return not np.array_equal(before, model.layers[layer].kernel.numpy())


def test_trainable_changed_after_the_step_was_compiled(K: Any) -> None:
    trains = fitted(K, frozen_after_fit(K), 0)
    result = audit(lambda: frozen_after_fit(K), x())
    facts = next(f for f in result.variables if f.shape == (4, 3))
    assert facts.trained is trains
    kinds = {finding.kind for finding in result.findings if finding.facts is facts}
    assert kinds == ({"stale-trainable"} if trains else set())


def test_on_a_live_model_too_and_it_is_left_as_found(K: Any) -> None:
    model = frozen_after_fit(K)
    before = [weight.numpy() for weight in model.weights]
    slots = [v.numpy() for v in _slots(model)]
    result = audit(model, x())
    assert any(finding.kind == "stale-trainable" for finding in result.findings) is bool(
        fitted(K, frozen_after_fit(K), 0)
    )
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(slots, _slots(model), strict=True))
    assert not model.layers[0].trainable


def _slots(model: Any) -> list[Any]:
    variables = model.optimizer.variables
    return list(variables() if callable(variables) else variables)


def test_frozen_before_compile_is_no_finding(K: Any) -> None:
    assert fitted(K, frozen_before_fit(K), 0) is False
    result = audit(lambda: frozen_before_fit(K), x())
    assert result.findings == ()
    assert next(f for f in result.variables if f.shape == (4, 3)).trained is False


def test_optimizer_built_before(K: Any) -> None:
    trains = fitted(K, optimizer_of_another(K), 1)
    result = audit(lambda: optimizer_of_another(K), x())
    new = [f for f in result.findings if f.facts is not None and f.facts.shape == (3, 2)]
    if trains:
        assert new == []
    else:
        assert [finding.kind for finding in new] == ["stale-optimizer"]
        assert new[0].facts is not None
        assert new[0].facts.trained is False
    assert not [f for f in result.findings if f.facts is not None and f.facts.shape == (4, 3)]
