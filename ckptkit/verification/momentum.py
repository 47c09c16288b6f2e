"""What equal weights do not tell and inference does not show: how fast normalisations move their averages in training."""

from __future__ import annotations

from typing import Any

from ckptkit import frameworks


def momentum_note(source: Any, target: Any) -> str:
    """That averages move at another pace on the two sides, one of which is PyTorch; "" where they do not, or nobody knows.

    PyTorch's `momentum` is the share of the new value, Keras's that of the old one.

    Args:
        source: the live model of the reference, or None.
        target: that of what is verified.
    """
    sides = [_momenta(live) for live in (source, target)]
    if not any(live is not None and frameworks.framework_of(live) == "torch" for live in (source, target)):
        return ""
    if len(sides[0]) != len(sides[1]):
        return ""
    differing = [(a, b) for a, b in zip(*sides, strict=True) if abs(a - b) > 1e-6]
    if not differing:
        return ""
    a, b = differing[0]
    return (
        f"trained further, {len(differing)} of {len(sides[0])} normalisations keep other averages: "
        f"momentum {a:g} against {b:g}, as Keras counts it"
    )


def _momenta(live: Any) -> list[float]:
    """Share of the old value in each average, in the order of the layers."""
    framework = None if live is None else frameworks.framework_of(live)
    if framework == "torch":
        found = [getattr(module, "momentum", None) for module in live.modules() if hasattr(module, "running_mean")]
        return [1 - value for value in found if isinstance(value, float)]
    if framework is not None and frameworks.is_keras(framework):
        layers = live._flatten_layers(include_self=False)
        found = [getattr(layer, "momentum", None) for layer in layers if hasattr(layer, "moving_mean")]
        return [float(value) for value in found if isinstance(value, int | float)]
    return []
