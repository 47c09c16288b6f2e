"""Frameworks, imported once for all tests of this folder."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def fw() -> SimpleNamespace:
    """TensorFlow, Keras 3, tf_keras and Sonnet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import sonnet
        import tensorflow as tf
        import tf_keras
    return SimpleNamespace(tf=tf, keras=keras, tf_keras=tf_keras, snt=sonnet)


@pytest.fixture
def cpu(fw):
    from ckptkit.verification.devices import open_device

    return open_device("cpu")
