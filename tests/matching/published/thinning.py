"""keras.applications with fewer filters: their names and wiring, without their size."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Thin:
    """`keras.layers`, whose convolutions have a share of the filters asked for, and bias only where it is left to them."""

    def __init__(self, layers: Any, by: int, use_bias: bool | None) -> None:
        self._layers, self._by, self._use_bias = layers, by, use_bias

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._layers, name)
        if name not in ("Conv2D", "SeparableConv2D"):
            return made

        def make(filters: int, *args: Any, **options: Any) -> Any:
            if self._use_bias is not None:
                options["use_bias"] = self._use_bias
            # What is no multiple was taken from a thinned input: residual branches come back to its size.
            return made(filters if filters % self._by else max(2, filters // self._by), *args, **options)

        return make


@contextmanager
def thin(module: str, by: int, *, use_bias: bool | None = None) -> Iterator[Any]:
    """The module `keras.src.applications.<module>`, its layers thinned while the context lasts.

    Args:
        module: the name of the application's module.
        by: every convolution has its filters divided by this, and two at least.
        use_bias: whether convolutions have a bias; None leaves it as the application has it.
    """
    application = importlib.import_module(f"keras.src.applications.{module}")
    layers = application.layers
    application.layers = _Thin(layers, by, use_bias)
    try:
        yield application
    finally:
        application.layers = layers
