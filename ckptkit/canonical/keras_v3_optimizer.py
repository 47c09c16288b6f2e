"""Keras 3's layout: what training keeps beside the layers. The optimizer's variables are numbered, and nothing names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptkit.canonical.dealing import Dealt, Optimizer, deal
from ckptkit.canonical.draft import Aside
from ckptkit.canonical.naming import without_auto_suffix
from ckptkit.model import KerasV3, StoredTensor, VarsGroup

_ROOTS = ("optimizer", "_optimizer")

# An optimizer around another (keras/src/optimizers/loss_scale_optimizer.py): the attribute that holds the inner one, whose
# variables it lists again after its own, and the names of its own after the first two.
_INNER = "inner_optimizer"
_OUTER_COUNTERS = ("iterations", "learning_rate", "step_counter", "dynamic_scale", "iterations", "learning_rate")
_COUNTERS = ("iterations", "learning_rate")


def optimizer_groups(groups: Sequence[VarsGroup], tensors: Mapping[str, StoredTensor]) -> list[VarsGroup]:
    """The groups of the optimizer. Only what counts its steps in integers is one, whatever an attribute is called."""
    found = [group for group in groups if group.keys and group.path.partition("/")[0] in _ROOTS]
    roots = {group.path.partition("/")[0] for group in found if _counts(tensors.get(group.keys[0]))}
    return [group for group in found if group.path.partition("/")[0] in roots]


def _counts(tensor: StoredTensor | None) -> bool:
    return tensor is not None and not tensor.shape and tensor.dtype.startswith(("int", "uint"))


def draft_optimizer(
    groups: Sequence[VarsGroup],
    layout: KerasV3,
    tensors: Mapping[str, StoredTensor],
    weights: Sequence[StoredTensor],
    *,
    ordered: bool,
    trained: bool,
) -> list[Aside]:
    """Slots with the weights they belong to, as far as the file tells it, and counters.

    Args:
        groups: the optimizer's.
        layout: whose configuration names it.
        tensors: by key.
        weights: those that can be trained.
        ordered: whether `weights` are in the order in which the optimizer was given them.
        trained: whether they are known to be exactly those that it was given.
    """
    asides: list[Aside] = []
    inner = {group.path for group in groups if group.path.endswith(f"/{_INNER}")}
    # What is listed twice is called by its place in the inner optimizer, as in containers that hold it once.
    for group in sorted(groups, key=lambda group: group.path not in inner):
        found = [tensors[key] for key in group.keys if key in tensors]
        outer = f"{group.path}/{_INNER}" in inner
        optimizer = optimizer_of(layout, groups)
        dealt = _dealt(found, weights, optimizer, ordered=ordered, trained=trained)
        asides += _asides(group, found, dealt, outer=outer)
    return asides


def _asides(group: VarsGroup, found: Sequence[StoredTensor], dealt: Dealt, *, outer: bool) -> list[Aside]:
    words = _OUTER_COUNTERS if outer else _COUNTERS
    path = "/".join(part.lstrip("_") for part in group.path.split("/"))
    asides = []
    scalars = 0
    for number, tensor in enumerate(found):
        if tensor.key in dealt:
            weight, slot = dealt[tensor.key]
            asides.append(Aside(tensor.key, slot or f"slot_{number}", "slot", weight))
        elif tensor.shape:
            asides.append(Aside(tensor.key, f"{path}/{number}", "slot"))
        else:
            # Keras 2 keeps no learning rate here, and later optimizers have scalars of their own.
            known = scalars == number and scalars < len(words) and (scalars != 1 or not tensor.dtype.startswith("int"))
            below = f"/{_INNER}" if outer and number >= len(_OUTER_COUNTERS) - len(_COUNTERS) else ""
            asides.append(Aside(tensor.key, f"{path}{below}/{words[number] if known else number}", "state"))
            scalars += 1
    return asides


def _dealt(
    found: Sequence[StoredTensor],
    weights: Sequence[StoredTensor],
    optimizer: Optimizer,
    *,
    ordered: bool,
    trained: bool,
) -> Dealt:
    """Scalars among the weights have scalar slots, which come after the counters; else no scalar is a slot."""
    if not any(not weight.shape for weight in weights):
        slots = [tensor for tensor in found if tensor.shape]
        return deal(slots, weights, optimizer, ordered=ordered, trained=trained)
    for counters in range(1, len(_OUTER_COUNTERS) + 1):
        dealt = deal(found[counters:], weights, optimizer, ordered=ordered, trained=trained)
        if dealt:
            return dealt
    shaped = [weight for weight in weights if weight.shape]
    return deal([tensor for tensor in found if tensor.shape], shaped, optimizer, ordered=ordered, trained=False)


def optimizer_of(layout: KerasV3, groups: Sequence[VarsGroup]) -> Optimizer:
    """What an archive's configuration says of the optimizer that makes the slots, or the name that its group has."""
    old = (layout.keras_version or "").startswith("2.")
    inside = any(group.path.endswith(f"/{_INNER}") for group in groups)
    compiled = (layout.config or {}).get("compile_config")
    item: Any = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    for _ in range(int(inside)):
        config = item.get("config") if isinstance(item, Mapping) else None
        item = config.get(_INNER) if isinstance(config, Mapping) else None
    if isinstance(item, Mapping):
        name, settings = item.get("class_name"), item.get("config")
        if isinstance(name, str):
            return Optimizer(name.rpartition(">")[2], settings if isinstance(settings, Mapping) else None, old)
    if isinstance(item, str):
        # `compile("adam")` takes the defaults.
        return Optimizer(item, {}, old)
    names = [group.name for group in groups if group.name and group.path.endswith(f"/{_INNER}") == inside]
    return Optimizer(without_auto_suffix(names[0]) if names else None, None, old)
