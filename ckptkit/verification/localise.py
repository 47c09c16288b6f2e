"""The first layer at which two models part, and why, as far as that can be established."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.trees import FunctionalModel
from ckptkit.verification.activations import record_calls
from ckptkit.verification.calls import Call
from ckptkit.verification.result import Divergence
from ckptkit.verification.torch_hooks import own_tensors, settings_of

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner

    Arrays = Sequence[np.ndarray]

# Relative to the largest value: two computations of one layer agree to a few 1e-6, a wrong parameter shows above 1e-3.
_AGREE = 1e-4

# Settings that change what a layer computes from equal weights: word for people -> names in configurations and on
# Sonnet's modules.
_SETTINGS: dict[str, tuple[str, ...]] = {
    "epsilon": ("epsilon", "_eps"),
    "activation": ("activation", "_activation"),
    "recurrent activation": ("recurrent_activation",),
    "padding": ("padding", "_padding"),
    "strides": ("strides", "_stride"),
    "dilation": ("dilation_rate", "_rate"),
    "reset_after": ("reset_after",),
    "direction": ("go_backwards",),
    "axis": ("axis",),
}


def first_divergence(source: Runner, target: Runner, ours: Arrays, theirs: Arrays) -> Divergence | None:
    """Run both live models eagerly and name where they part.

    Layers that own weights are aligned in order of their calls by the shape of what they give. Among those whose input
    agrees and whose output does not, the first with an established reason is named, else the last: what comes before it
    was made good by a weightless layer (an activation that one side keeps apart), or its successors' inputs would differ.

    Returns:
        None when every aligned layer agrees.
    """
    given, made = _calls(source, ours), _calls(target, theirs)
    parted = []
    for a, b in _aligned(given, made):
        if _difference(a.output, b.output) > _AGREE and _given_alike(a, b):
            parted.append((a, b, _reason(a, b)))
    if not parted:
        return None
    a, b, reason = next((found for found in parted if found[2]), parted[-1])
    return Divergence(a.name, b.name, b.kind, _absolute(a.inputs, b.inputs), _absolute(a.output, b.output), reason)


def _given_alike(a: Call, b: Call) -> bool:
    """Whether both were given the same numbers; a flattened image in the order of each side's framework."""
    import numpy as np

    if _difference(a.inputs, b.inputs) <= _AGREE:
        return True
    first = [frameworks.framework_of(call.layer) == "torch" for call in (a, b)]
    if first[0] == first[1] or a.inputs is None or b.inputs is None or a.inputs.shape != b.inputs.shape:
        return False
    return _difference(np.sort(a.inputs, axis=None), np.sort(b.inputs, axis=None)) <= _AGREE


def can_watch(runner: Runner) -> bool:
    """Whether the layers of a side can be watched."""
    live = runner.live()
    return live is not None and not (isinstance(live, FunctionalModel) and live.watch is None)


def _calls(runner: Runner, arrays: Arrays) -> list[Call]:
    live = runner.live()
    if isinstance(live, FunctionalModel):
        from ckptkit.verification.jax_calls import record_functional

        return record_functional(live, arrays)
    return record_calls(live, lambda: runner.call(arrays))


def _aligned(ours: list[Call], theirs: list[Call]) -> list[tuple[Call, Call]]:
    matcher = SequenceMatcher(None, [a.output.shape for a in ours], [b.output.shape for b in theirs], autojunk=False)
    return [
        (ours[block.a + i], theirs[block.b + i]) for block in matcher.get_matching_blocks() for i in range(block.size)
    ]


def _absolute(a: np.ndarray | None, b: np.ndarray | None) -> float:
    import numpy as np

    if a is None or b is None or a.shape != b.shape or not a.size:
        return 0.0 if a is None or b is None or not a.size else float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


def _difference(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Largest absolute difference relative to the largest value."""
    import numpy as np

    absolute = _absolute(a, b)
    scale = float(np.abs(a).max()) if a is not None and a.size else 0.0
    return absolute / scale if scale else absolute


def _reason(a: Call, b: Call) -> str:
    if a.layer is None or b.layer is None:  # JAX's layers are values and names, not objects with weights
        return ""
    weights = _weights_reason(a, b)
    if weights:
        return weights
    ours, theirs = _settings(a.layer), _settings(b.layer)
    for word in _SETTINGS:
        if word in ours and word in theirs and ours[word] != theirs[word]:
            return f"equal weights, another {word}: {ours[word]} against {theirs[word]}"
    return ""


def _weights_reason(a: Call, b: Call) -> str:
    """Which weights differ, where both layers have the same set of shapes."""
    import numpy as np

    ours, theirs = _own_values(a.layer), [value for _, value in _own_values(b.layer)]
    if [value.shape for _, value in ours] != [value.shape for value in theirs]:
        return ""
    differing = [
        (name, x, y) for (name, x), y in zip(ours, theirs, strict=True) if not np.allclose(x, y, rtol=1e-5, atol=1e-7)
    ]
    if not differing:
        return ""
    for name, x, y in differing:
        order = gate_permutation(x, y)
        if order:
            return f"gates look permuted: blocks {', '.join(map(str, order))} of {name}"
    largest = max(float(np.abs(x - y).max()) for _, x, y in differing)
    return f"weights differ: {', '.join(name for name, _, _ in differing)} (max |a−b| {largest:.2g})"


def gate_permutation(a: np.ndarray, b: np.ndarray) -> tuple[int, ...]:
    """The order of blocks of `a` along its last axis [.., n * H] that makes it equal `b`; empty when there is none.

    Tried for 3 and 4 blocks, the numbers of gates that recurrent layers have.
    """
    import numpy as np

    for count in (4, 3):
        if not a.ndim or not a.shape[-1] or a.shape[-1] % count:
            continue
        blocks, wanted = np.split(a, count, axis=-1), np.split(b, count, axis=-1)
        order = [next((i for i, block in enumerate(blocks) if np.array_equal(block, want)), None) for want in wanted]
        found = tuple(i for i in order if i is not None)
        if sorted(found) == list(range(count)) and found != tuple(range(count)):
            return found
    return ()


def _own_values(layer: Any) -> list[tuple[str, np.ndarray]]:
    framework = frameworks.framework_of(layer) or "tf.Module"
    if framework == "torch":
        return own_tensors(layer)
    return [(_name(variable), variable.numpy()) for variable in frameworks.weights(layer, framework)]


def _name(variable: Any) -> str:
    return str(variable.name).split(":")[0].split("/")[-1]


def _settings(layer: Any) -> Mapping[str, str]:
    """Word -> value of the settings that a layer has, in a form that compares across frameworks."""
    config: dict[str, Any] = {}
    if frameworks.framework_of(layer) == "torch":
        config = dict(settings_of(layer))
        return {word: _comparable(config[name]) for word, (name, *_) in _SETTINGS.items() if name in config}
    if frameworks.is_keras(frameworks.framework_of(layer) or ""):
        try:
            config = layer.get_config()
        except NotImplementedError:  # a layer of the user's own without a configuration
            config = {}
    found = {}
    for word, names in _SETTINGS.items():
        for name in names:
            value = config.get(name, getattr(layer, name, None))
            if value is not None and not callable(value):
                found[word] = _comparable(value)
                break
            if callable(value):
                found[word] = str(getattr(value, "__name__", value))
                break
    return found


def _comparable(value: Any) -> str:
    if isinstance(value, list | tuple):
        items = [_comparable(item) for item in value]
        return items[0] if len(set(items)) == 1 else f"({', '.join(items)})"
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
