"""Frameworks, imported once for all tests of this folder."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.moves.proof import Mover


@pytest.fixture(scope="session")
def fw() -> SimpleNamespace:
    """TensorFlow, its graph mode, Keras 3, tf_keras and Sonnet."""
    pytest.importorskip("tensorflow", reason="the frameworks are an extra")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import sonnet
        import tensorflow as tf
        import tf_keras
    return SimpleNamespace(tf=tf, v1=tf.compat.v1, keras=keras, tf_keras=tf_keras, snt=sonnet)


@pytest.fixture
def mover(tmp_path: Path) -> Mover:
    """Saves both sides, remaps, loads natively."""
    return Mover(tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Saving in old formats warns, in every framework; those warnings are not ours."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
