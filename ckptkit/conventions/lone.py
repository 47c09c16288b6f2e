"""Layers of one vector that Keras's applications define for themselves.

Their variable often has no name of its own, so that nothing but the architecture or the other side tells what it is.
"""

from __future__ import annotations

from ckptkit.conventions.rows import Native, Row

_GAMMA = (Native("gamma", ("gamma",), "C", aliases=("variable", "Variable")),)

ROWS: tuple[Row, ...] = (
    Row("keras3", "LayerScale", "LayerScale", _GAMMA, "keras/src/applications/convnext.py, LayerScale.build"),
    Row("keras2", "LayerScale", "LayerScale", _GAMMA, "tf_keras/src/applications/convnext.py, LayerScale.build"),
)
