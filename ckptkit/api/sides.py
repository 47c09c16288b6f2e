"""From the two arguments of `verify` to two runners: which model, filled by whom, on which inputs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.api.equal_values import is_torch
from ckptkit.api.load_into import MATCHING, load_into
from ckptkit.api.open import bind
from ckptkit.errors import ModelError, UsageError
from ckptkit.formats.copying import local_copy
from ckptkit.model.selection import refuse_unfit
from ckptkit.trees import FunctionalModel

if TYPE_CHECKING:
    from ckptkit.verification.devices import Device
    from ckptkit.verification.inputs import InputSpec
    from ckptkit.verification.native import NotNativeError
    from ckptkit.verification.runner import Runner

LOADS = ("native", "match")

Unused = dict[str, tuple[int, ...]]
"""Names and shapes of weights of a file that its model has no place for."""


@dataclass(frozen=True, slots=True)
class ModelSide:
    """What was said of one side.

    Attributes:
        path: checkpoint or whole model.
        reference: what makes the model, or None.
        device: where it runs.
        output: tensor or output to take, or None.
        load: one of `LOADS`.
        option: the option that chooses it, for messages.
        layout: how inputs lie on it, such as `NCHW`; None where nobody said it.
    """

    path: str
    reference: str | None
    device: Device
    output: str | None
    load: str
    option: str
    layout: str | None = None


def open_sides(
    stack: ExitStack, source: ModelSide, target: ModelSide, specs: Sequence[InputSpec] | None
) -> tuple[Runner, Runner]:
    """Make, fill and bind both models. One that does not say what it takes gets the other's inputs.

    Args:
        stack: closes what is opened.
        source: the reference.
        target: what is verified.
        specs: inputs that were given, or None.

    Raises:
        CkptkitError: a model cannot be made or filled, or neither says what it takes.
    """
    sides = source, target
    models = [_make(side) for side in sides]
    runners: dict[int, Runner] = {}
    # A model that waits for its inputs to make its variables comes second.
    order = sorted((0, 1), key=lambda number: models[number] is not None and not knows_inputs(models[number]))
    for number in order:
        known = runners[1 - number].inputs if specs is None and 1 - number in runners else specs
        if is_torch(models[number]):
            layouts = (sides[number].layout, sides[1 - number].layout)
            runners[number] = _bind_torch(stack, sides[number], models[number], known, layouts, models[1 - number])
        else:
            runners[number] = _bind(stack, sides[number], models[number], known)
    turn_outputs(runners[0], runners[1])
    return runners[0], runners[1]


def turn_outputs(source: Runner, target: Runner) -> None:
    """Make outputs of a PyTorch side lie as those of the other side, which is none."""
    from ckptkit.verification.torch_models import TorchRunner

    for side, other in ((source, target), (target, source)):
        if isinstance(side, TorchRunner):
            side.lie_as(other)


def notes_of(*runners: Runner) -> tuple[str, ...]:
    """What was concluded about layouts."""
    return tuple(note for runner in runners if (note := getattr(runner, "note", "")))


def knows_inputs(model: Any) -> bool:
    """Whether a live model says what inputs it takes; one of JAX never does."""
    if isinstance(model, FunctionalModel):
        return False
    if is_torch(model):
        from ckptkit.verification.torch_models import declared_inputs

        return declared_inputs(model) is not None
    frameworks.require_tensorflow()
    from ckptkit.verification import live_models

    return live_models.knows_inputs(model)


def torch_runner(
    module: Any,
    name: str,
    specs: Sequence[InputSpec] | None,
    layouts: tuple[str | None, str | None],
    other: Any,
    *,
    loaded_by: str = "live",
    path: str | None = None,
) -> Runner:
    """A runner for a PyTorch module, on inputs as the other side has them.

    Args:
        module: the module.
        name: for people.
        specs: its inputs; None for what the module says itself.
        layouts: what was said of this side's and of the other side's.
        other: the other side's live model, or None.
        loaded_by: as `Runner.loaded_by`.
        path: as `Runner.path`.

    Raises:
        UsageError: nobody says what inputs it takes.
    """
    from ckptkit.verification.torch_models import Layouts, TorchRunner, declared_inputs

    own = specs if specs is not None else declared_inputs(module)
    if own is None:
        raise _no_inputs(name)
    alike = is_torch(other) or specs is None
    return TorchRunner(module, name, own, Layouts(*layouts, torch=alike), loaded_by=loaded_by, path=path)


def _no_inputs(name: str) -> UsageError:
    return UsageError(
        "the model does not say what inputs it takes", key=name,
        hint="Give one batch of them with --inputs data.npz, or --input-shape 4,28,28,1 for each.",
    )  # fmt: skip


def _bind_torch(
    stack: ExitStack,
    side: ModelSide,
    module: Any,
    specs: Sequence[InputSpec] | None,
    layouts: tuple[str | None, str | None],
    other: Any,
) -> Runner:
    if side.device.title != "CPU":
        raise UsageError("PyTorch's modules run on the CPU", path=side.path, found=side.device.title)
    loaded_by, _ = _fill(stack, side, module)
    return torch_runner(module, side.path, specs, layouts, other, loaded_by=loaded_by, path=side.path)


def _make(side: ModelSide) -> Any:
    """The model that a reference makes; None for a file that holds its own."""
    if side.reference is None:
        return None
    from ckptkit.references import load_reference

    if side.output is not None:
        raise UsageError("only graphs have outputs to name", path=side.path, key=side.output)
    with side.device.strategy.scope():
        return frameworks.functional_or_same(load_reference(side.reference))


def _bind(stack: ExitStack, side: ModelSide, model: Any, specs: Sequence[InputSpec] | None) -> Runner:
    if isinstance(model, FunctionalModel):
        return _bind_functional(stack, side, model, specs)
    frameworks.require_tensorflow()
    from ckptkit.verification.live_models import live_runner, make_variables
    from ckptkit.verification.opening import open_runner

    if model is None:
        location = stack.enter_context(local_copy(side.path))
        contents, tensors = location.open()
        return open_runner(stack.enter_context(bind(contents, tensors, location)), contents, side.device, side.output)
    with side.device.strategy.scope():
        make_variables(model, specs)
        loaded_by, unused = _fill(stack, side, model)
    return live_runner(model, side.path, side.device, specs, loaded_by=loaded_by, path=side.path, unused=unused)


def functional_runner(
    model: FunctionalModel,
    name: str,
    specs: Sequence[InputSpec] | None,
    *,
    loaded_by: str = "live",
    path: str | None = None,
) -> Runner:
    """A runner for a model of JAX.

    Raises:
        UsageError: nobody says what it takes.
    """
    from ckptkit.verification.jax_models import JaxRunner

    if specs is None:
        raise _no_inputs(name)
    return JaxRunner(model, name, specs, loaded_by=loaded_by, path=path)


def _bind_functional(
    stack: ExitStack, side: ModelSide, model: FunctionalModel, specs: Sequence[InputSpec] | None
) -> Runner:
    from ckptkit.api.loading_jax import fill_tree
    from ckptkit.api.remap import remap
    from ckptkit.verification.jax_native import restore_tree
    from ckptkit.verification.native import NotNativeError

    if side.device.title != "CPU":
        raise UsageError("models of JAX run on the CPU", path=side.path, found=side.device.title)
    if side.load == "match":
        made, _ = fill_tree(model, partial(remap, side.path))
        return functional_runner(made, side.path, specs, loaded_by=MATCHING, path=side.path)
    location = stack.enter_context(local_copy(side.path))
    contents, tensors = location.open()
    with bind(contents, tensors, location) as checkpoint:
        refuse_unfit(checkpoint.spec)
        try:
            made, loading = restore_tree(model, checkpoint)
        except NotNativeError as error:
            raise _not_native(side, error) from error
    return functional_runner(made, side.path, specs, loaded_by=loading.words, path=side.path)


def _not_native(side: ModelSide, error: NotNativeError) -> ModelError:
    tried = "; ".join(error.tried[:3]) + ("; …" if len(error.tried) > 3 else "")
    return ModelError(
        f"no loader of the model's own framework takes the file ({tried})", path=side.path, key=side.reference,
        hint=f"{side.option} match loads it by ckptkit's own matching, which the verdict then does not prove.",
    )  # fmt: skip


def _fill(stack: ExitStack, side: ModelSide, model: Any) -> tuple[str, Unused]:
    """Put the file's values into the model; by whom, in words, and what the model has no place for."""
    if side.load == "match":
        return load_into(model, side.path).loaded_by, {}
    from ckptkit.verification.native import NotNativeError, load_native
    from ckptkit.verification.torch_native import load_torch

    location = stack.enter_context(local_copy(side.path))
    contents, tensors = location.open()
    with bind(contents, tensors, location) as checkpoint:
        refuse_unfit(checkpoint.spec)
        try:
            if is_torch(model):
                return load_torch(model, contents, location.at.text).words, {}  # strict: nothing is left over
            done = load_native(model, checkpoint, contents, location.at.text)
            return done.words, {name: checkpoint.find(name).shape for name in done.unused}
        except NotNativeError as error:
            raise _not_native(side, error) from error
