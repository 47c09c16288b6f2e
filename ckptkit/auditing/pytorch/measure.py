"""The measurements: two calls, `state_dict` saved and loaded into a fresh module, one step of the optimizer."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit.auditing.pytorch.values import equal, mark, put_back, value
from ckptkit.auditing.pytorch.walk import Held, held_by
from ckptkit.auditing.pytorch.watch import Site, Sites, Used, noting, tensors_in, watching
from ckptkit.errors import ModelError
from ckptkit.frameworks import framework_of
from ckptkit.references import load_triton, user_code

_SEED = 20_000
_RATE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """What was measured of one tensor.

    Attributes:
        held: how the model holds it; None for one that it only meets in a call.
        tensor: itself.
        site: where it was made, where that was seen.
        used: whether a call used it.
        each_call: whether every call makes one like it.
        late: whether it was made by the first call.
        saved: whether a fresh module that loads the `state_dict` has its value.
        in_file: whether the `state_dict` has it.
        same: whether two modules of one factory have equal values from the start; None without a factory.
        changed: whether calls change it.
        trained: whether a step changes it; None where no step could be done.
        optimized: whether the optimizer has it.
        reached: whether a gradient reaches it.
    """

    held: Held | None
    tensor: Any
    site: Site | None
    used: bool
    each_call: bool
    late: bool
    saved: bool
    in_file: bool
    same: bool | None
    changed: bool
    trained: bool | None
    optimized: bool
    reached: bool


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A module that was run, saved, loaded and trained.

    Attributes:
        model: itself.
        tensors: what it holds and uses.
        problem: why `load_state_dict(strict=True)` fails on a fresh module; None where it does not.
        outputs_change: whether two equal calls differ.
        notes: what could not be measured.
    """

    model: Any
    tensors: tuple[Tensor, ...]
    problem: str | None
    outputs_change: bool
    notes: tuple[str, ...]


def measure(
    made: object, make: Callable[[], object] | None, sites: Sites, arguments: Callable[[Any], tuple[Any, ...]]
) -> Measured:
    """Measure a module.

    Args:
        made: the module, or the module and its optimizer.
        make: makes a fresh one; None where there is only this one, of which copies are made then.
        sites: where its tensors were made, as far as that was seen.
        arguments: the positional arguments of a call of it.

    Raises:
        ModelError: it cannot be made again or run.
    """
    load_triton()
    model, optimizer = _with_optimizer(made)
    optimizer = optimizer if optimizer is not None else _own_optimizer(model)
    given = arguments(model)
    fresh = None if make is None else _with_optimizer(_made_again(make))[0]
    with put_back(model):
        return _measure(model, optimizer, fresh, given, sites)


def _measure(model: Any, optimizer: Any, fresh: Any, given: tuple[Any, ...], sites: Sites) -> Measured:
    import torch

    first = {held.path: held for held in held_by(model)}
    before = {path: value(held.tensor) for path, held in first.items()}
    same = None if fresh is None else {held.path: value(held.tensor) for held in held_by(fresh)}
    used, again = Used(), Used()
    outputs = [_called(model, given, used, sites, training=False), _called(model, given, again, sites, training=False)]
    for _ in range(2):
        try:
            _called(model, given, again, sites, training=True)
        except ModelError:  # a module for inference only
            break
    found = held_by(model)
    held = {id(item.tensor): item for item in found}
    changed = {
        path
        for path, item in first.items()
        if not item.tensor.requires_grad and not equal(value(item.tensor), before[path])
    }
    strangers = [tensor for key, tensor in used.tensors.items() if key not in held and _counts(tensor)]
    anew = _made_anew(strangers, again, held)
    saved, in_file, problem = _saved(model, fresh, found)
    step = _stepped(model, optimizer, given)
    tensors = []
    for tensor in (*(item.tensor for item in found), *strangers):
        item = held.get(id(tensor))
        path = item.path if item else ""
        tensors.append(
            Tensor(
                held=item,
                tensor=tensor,
                site=sites.found.get(id(tensor)),
                used=id(tensor) in used.tensors or id(tensor) in again.tensors,
                each_call=id(tensor) in anew,
                late=item is not None and path not in first,
                saved=path in saved,
                in_file=path in in_file,
                same=None if same is None else path in same and path in before and equal(same[path], before[path]),
                changed=path in changed,
                trained=None if step is None else id(tensor) in step.changed,
                optimized=step is not None and id(tensor) in step.optimized,
                reached=step is not None and id(tensor) in step.reached,
            )
        )
    differ = len(outputs[0]) != len(outputs[1]) or not all(map(torch.equal, *outputs))
    notes = () if step is not None else ("no step of training could be done: nothing is said of what is trained",)
    return Measured(model, tuple(tensors), problem, differ, notes)


def is_torch(made: object) -> bool:
    """Whether this is a PyTorch module, or one and its optimizer."""
    first = made[0] if isinstance(made, tuple) and len(made) == 2 else made
    return framework_of(first) == "torch"


def _with_optimizer(made: object) -> tuple[Any, Any]:
    """A module, and the optimizer where a factory gives both."""
    if not is_torch(made):
        raise ModelError(
            "not a model", expected="a torch.nn.Module, or one with its optimizer", found=type(made).__name__
        )
    return (made[0], made[1]) if isinstance(made, tuple) else (made, None)


def _made_again(make: Callable[[], object]) -> object:
    with user_code("the factory failed when it was called again"):
        return make()


def _own_optimizer(model: Any) -> Any:
    """What Lightning's `configure_optimizers` gives, where the module has it and it gives one optimizer."""
    import torch

    configure = getattr(model, "configure_optimizers", None)
    if not callable(configure):
        return None
    try:
        with user_code("configure_optimizers failed"):
            found = configure()
    except ModelError:
        return None
    return found if isinstance(found, torch.optim.Optimizer) else None


def _called(model: Any, given: tuple[Any, ...], used: Used, sites: Sites, *, training: bool) -> list[Any]:
    import torch

    model.train(training)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        with noting(sites), watching(used, given), user_code(f"{type(model).__name__} does not run on the inputs"):
            result = model(*given)
    return [tensor.detach().clone() for tensor in tensors_in(_plain(result))]


def _plain(result: Any) -> Any:
    """What a module gives, as containers that are known: Hugging Face's outputs are dictionaries with attributes."""
    return dict(result) if isinstance(result, Mapping) else result


def _counts(tensor: Any) -> bool:
    """Whether a tensor that a call meets can be a weight: numbers written in the code become tensors, too."""
    import torch

    return isinstance(tensor, torch.nn.Parameter) or (tensor.is_leaf and tensor.requires_grad)


def _made_anew(strangers: Sequence[Any], again: Used, held: Mapping[int, Held]) -> set[int]:
    """Those that the second call met another one of: of the same shape, and held by nobody."""
    others = [
        (tuple(tensor.shape), tensor.dtype) for key, tensor in again.tensors.items()
        if key not in held and _counts(tensor) and key not in {id(tensor) for tensor in strangers}
    ]  # fmt: skip
    return {id(tensor) for tensor in strangers if (tuple(tensor.shape), tensor.dtype) in others}


def _saved(model: Any, fresh: Any, found: Sequence[Held]) -> tuple[set[str], set[str], str | None]:
    """Paths whose values come back, paths in the file, and why a strict load fails."""
    import torch

    stored = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    in_file = {held.path for held in found if id(held.tensor) in stored}
    target = fresh if fresh is not None else copy.deepcopy(model)
    for number, held in enumerate(found):
        mark(held.tensor, number)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    wanted = {held.path: value(held.tensor) for held in found}
    others = {held.path: held.tensor for held in held_by(target)}
    for number, tensor in enumerate(others.values()):
        mark(tensor, number + len(found) + 1)
    stream.seek(0)
    problem = None
    state = torch.load(stream, weights_only=True)
    try:
        with user_code("load_state_dict"):
            target.load_state_dict(state, strict=True)
    except ModelError as error:
        problem = " ".join(str(error.__cause__).split())
        try:
            target.load_state_dict(state, strict=False)
        except RuntimeError:  # another shape: nothing more is known
            return set(), in_file, problem
    others = {held.path: held.tensor for held in held_by(target)}
    kept = {path for path, saved in wanted.items() if path in others and equal(saved, value(others[path]))}
    return kept, in_file, problem


@dataclass(frozen=True, slots=True)
class _Step:
    """By `id`: what a step changed, what the optimizer has, what a gradient reached."""

    changed: frozenset[int]
    optimized: frozenset[int]
    reached: frozenset[int]


def _stepped(model: Any, optimizer: Any, given: tuple[Any, ...]) -> _Step | None:
    """One step of the given optimizer, or of plain gradient descent over the model's parameters."""
    import torch

    held = held_by(model)
    for number, item in enumerate(held):
        if item.role == "parameter":
            mark(item.tensor, number)
    if optimizer is None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(parameters, _RATE) if parameters else None
    if optimizer is None:
        return _Step(frozenset(), frozenset(), frozenset())
    before = {id(item.tensor): value(item.tensor) for item in held}
    kept = copy.deepcopy(optimizer.state_dict())
    model.eval()  # a dropped unit would hide what is behind it
    try:
        with user_code("training"), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            optimizer.zero_grad(set_to_none=True)
            for item in held:
                item.tensor.grad = None
            terms = [each.float().square().sum() for each in tensors_in(_plain(model(*given))) if each.requires_grad]
            if not terms:
                return _Step(frozenset(), _in_optimizer(optimizer), frozenset())
            sum(terms[1:], terms[0]).backward()
            reached = {id(item.tensor) for item in held if item.tensor.is_leaf and item.tensor.grad is not None}
            optimizer.step()
    except ModelError:
        return None
    finally:
        for item in held:
            if item.tensor.is_leaf:
                item.tensor.grad = None
    changed = {id(item.tensor) for item in held if not equal(value(item.tensor), before[id(item.tensor)])}
    found = _Step(frozenset(changed), _in_optimizer(optimizer), frozenset(reached))
    optimizer.load_state_dict(kept)
    return found


def _in_optimizer(optimizer: Any) -> frozenset[int]:
    return frozenset(id(tensor) for group in optimizer.param_groups for tensor in group["params"])
