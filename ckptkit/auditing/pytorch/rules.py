"""From what was measured of a module to findings, with what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ckptkit.auditing.findings import Facts, Finding

if TYPE_CHECKING:
    from ckptkit.auditing.pytorch.measure import Measured, Tensor

SAVER = "state_dict"

_CONTAINERS = {
    "list": "Held in a list: use nn.ModuleList or nn.ParameterList.",
    "tuple": "Held in a tuple: use nn.ModuleList or nn.ParameterList.",
    "dict": "Held in a dict: use nn.ModuleDict or nn.ParameterDict.",
    "set": "Held in a set, whose order changes from run to run: use nn.ModuleList or nn.ParameterList.",
    "deque": "Held in a deque: use nn.ModuleList or nn.ParameterList.",
    "closure": "Held in a function's closure or arguments: assign it to an attribute of the module (self.name = …).",
    "object": "Held in a plain object: derive its class from nn.Module.",
}
_NO_HOLDER = "Nothing that belongs to the model holds it: assign it to an attribute of the module that uses it."
_PARAMETER = "It is a plain tensor: self.name = nn.Parameter(tensor) makes it one that is saved and trained."
_BUFFER = (
    "It is a plain tensor: self.register_buffer('name', tensor) makes it one that is saved and moved by .to(device)."
)
_PERSISTENT = "Its buffer is registered with persistent=False: leave that out, or compute it from what is saved."
_EACH_CALL = "Make it once, in __init__ (self.name = …), and only use it in forward."
_LATE = "It is made when the model runs, after loading: make it in __init__."
_OPTIMIZER = "The optimizer was made without it: make it after the last module was added, from model.parameters()."
_UNTRAINED = (
    "No gradient reaches it: look for .detach(), .data, .item(), torch.no_grad() or a branch that is not taken; if that is "
    "meant, say requires_grad_(False)."
)
_ORPHAN = "No call reads it: remove it, or use it where it was meant to be used."
_STORAGE = "A step of the optimizer changes both: give each a memory of its own (.clone()), or use one of them twice."


def diagnose(measured: Measured) -> tuple[tuple[Facts, ...], tuple[Finding, ...]]:
    """The facts of every tensor that counts, and the findings, in the order of the tensors."""
    known = [(facts_of(item), item) for item in measured.tensors if _matters(item)]
    found = [finding for facts, item in known for finding in _of_tensor(measured, facts, item)]
    return tuple(facts for facts, _ in known), (*found, *_overlaps(known))


def _matters(item: Tensor) -> bool:
    """Whether a tensor is a weight or a state: what only a plain attribute leads to must at least be used."""
    if item.held is None or item.held.listed:
        return True
    return item.used or item.held.role == "parameter"


def facts_of(item: Tensor) -> Facts:
    """What is told of a tensor."""
    held, tensor, site = item.held, item.tensor, item.site
    path = held.path if held else None
    return Facts(
        variable=(path or "tensor").removeprefix("model."),
        shape=tuple(tensor.shape) if not hasattr(tensor, "materialize") else (),
        dtype=str(tensor.dtype).removeprefix("torch."),
        created_at=site.place if site else None,
        method=site.method if site else None,
        made_by=site.made_by if site else None,
        held_at=path,
        in_weights=held is not None and held.listed,
        saved={SAVER: item.saved},
        in_file={SAVER: item.in_file},
        trainable=bool(tensor.requires_grad),
        trained=item.trained,
        used=item.used,
        each_call=item.each_call,
    )


def _of_tensor(measured: Measured, facts: Facts, item: Tensor) -> Iterator[Finding]:
    where = _where(facts)
    held = item.held
    if item.each_call:
        change = measured.outputs_change
        text = f"{where} is made anew on every call" + ("; outputs change from call to call." if change else ".")
        yield Finding("made-each-call", "error", facts, text, _EACH_CALL, change)
    elif held is None or not held.listed:
        yield from _of_unlisted(facts, item, where)
    elif item.late and not item.saved:
        yield Finding("lost", "error", facts, f"{where} is not restored by load_state_dict.", _LATE)
    elif not item.saved and held.role == "non-persistent":
        # What __init__ computes again, and no call changes, needs no saving.
        if item.changed or item.same is False:
            text = f"{where} is not restored by load_state_dict."
            yield Finding("lost", "error", facts, text, _PERSISTENT)
    elif not item.saved:
        yield Finding("lost", "error", facts, f"{where} is not restored by load_state_dict.", _LATE)
    elif held.role == "parameter":
        yield from _of_training(facts, item, where)


def _of_unlisted(facts: Facts, item: Tensor, where: str) -> Iterator[Finding]:
    links = item.held.links if item.held else ()
    parameter = facts.trainable or (item.held is not None and item.held.role == "parameter")
    if not parameter and item.same and not item.changed:
        text = f"{where} is neither a parameter nor a buffer: .to(device) leaves it where it is."
        yield Finding("untracked", "warning", facts, text, _BUFFER)
        return
    if not parameter and item.same is None and not item.changed:
        text = f"{where} is neither a parameter nor a buffer: it is not saved."
        yield Finding("untracked", "warning", facts, text, _BUFFER)
        return
    lost = ["not among the parameters and buffers", "not restored by load_state_dict"]
    if facts.trainable and item.trained is not None and not item.trained:
        lost.append("not trained")
    fix = next((_CONTAINERS[link] for link in links if link in _CONTAINERS), None)
    fix = fix or (_NO_HOLDER if item.held is None else _PARAMETER if facts.trainable else _BUFFER)
    yield Finding("untracked", "error", facts, f"{where} is {', '.join(lost)}.", fix)


def _of_training(facts: Facts, item: Tensor, where: str) -> Iterator[Finding]:
    if item.trained is None or not facts.trainable:
        return
    if not item.used and not item.reached:
        yield Finding("orphan", "warning", facts, f"{where} is never used.", _ORPHAN)
    elif not item.reached:
        yield Finding("untrained", "warning", facts, f"{where} is trainable and no gradient reaches it.", _UNTRAINED)
    elif not item.optimized:
        text = f"{where} is trainable, a gradient reaches it, and the optimizer does not have it."
        yield Finding("stale-optimizer", "error", facts, text, _OPTIMIZER)


def _overlaps(known: list[tuple[Facts, Tensor]]) -> Iterator[Finding]:
    """Distinct parameters in one memory: tied by accident, as `b.data = a.data` does."""
    seen: dict[tuple[Any, ...], Facts] = {}
    for facts, item in known:
        tensor = item.tensor
        if item.held is None or item.held.role != "parameter" or not facts.shape or not tensor.numel():
            continue
        place = tensor.device, tensor.untyped_storage().data_ptr()
        other = seen.setdefault(place, facts)
        if other is not facts:
            text = f"{_where(facts)} lies in the same memory as {other.variable}."
            yield Finding("shared", "warning", facts, text, _STORAGE)


def _where(facts: Facts) -> str:
    text = facts.held_at or facts.variable
    if facts.created_at is not None:
        text += f" (made at {facts.created_at} by {facts.made_by} in {facts.method})"
    return text
