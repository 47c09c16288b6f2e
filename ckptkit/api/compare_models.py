"""Whether two live models compute the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.api.equal_values import is_torch, value_pairs
from ckptkit.api.sides import (
    functional_runner,
    knows_inputs,
    notes_of,
    torch_runner,
    turn_outputs,
)
from ckptkit.trees import FunctionalModel
from ckptkit.verification import Options, VerifyResult, verify_runners
from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    from ckptkit.verification.runner import Runner


def compare_models(
    model_a: Any,
    model_b: Any,
    inputs: Sequence[Any] | None = None,
    *,
    seed: int = 0,
    batch: int = 8,
    atol: float | None = None,
    rtol: float | None = None,
    emulate_tpu: bool = False,
    layers: bool = True,
    layouts: tuple[str | None, str | None] = (None, None),
) -> VerifyResult:
    """Whether two live models compute the same, `model_a` being the reference.

    Args:
        model_a: a Keras 3, tf_keras, Sonnet, `tf.Module` or PyTorch object, or a model of JAX as `verify` takes it.
        model_b: another.
        inputs: one array per input; made up from `seed` when None.
        seed: of made-up inputs.
        batch: rows a made-up batch.
        atol: absolute tolerance instead of the calibrated one.
        rtol: relative tolerance.
        emulate_tpu: as for `verify`.
        layers: as for `verify`.
        layouts: `src_layout` and `dst_layout` as for `verify`.

    Raises:
        CkptkitError: a model cannot be run, or the two do not fit each other.
    """
    from ckptkit.verification.layouts import check_layout

    specs = None
    if inputs is not None:
        specs = [InputSpec(str(i), (None, *array.shape[1:]), array.dtype.name) for i, array in enumerate(inputs)]
    said = check_layout(layouts[0], "src_layout"), check_layout(layouts[1], "dst_layout")
    models = frameworks.functional_or_same(model_a), frameworks.functional_or_same(model_b)
    # What does not say what it takes gets the other's inputs, and so comes second.
    order = sorted((0, 1), key=lambda number: (not knows_inputs(models[number]), number))
    runners: dict[int, Runner] = {}
    for number in order:
        own: Sequence[InputSpec] | None = specs
        if own is None and runners and not knows_inputs(models[number]):
            own = next(iter(runners.values())).inputs
        runners[number] = _live(models[number], "ab"[number], own, (said[number], said[1 - number]), models[1 - number])
    turn_outputs(runners[0], runners[1])
    options = Options(
        seed=seed, batch=batch, arrays=None if inputs is None else tuple(inputs), atol=atol, rtol=rtol,
        emulate_tpu=emulate_tpu, layers=layers, notes=notes_of(runners[0], runners[1]),
    )  # fmt: skip
    return verify_runners(runners[0], runners[1], options, value_pairs)


def _live(
    model: Any, name: str, specs: Sequence[InputSpec] | None, layouts: tuple[str | None, str | None], other: Any
) -> Runner:
    if is_torch(model):
        return torch_runner(model, name, specs, layouts, other)
    if isinstance(model, FunctionalModel):
        return functional_runner(model, name, specs)
    from ckptkit.verification.devices import open_device
    from ckptkit.verification.live_models import live_runner

    return live_runner(model, name, open_device("cpu"), specs)
