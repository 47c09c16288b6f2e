"""Slot variables follow the variables that they belong to; the rest of the training state is matched by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptkit.matching.result import Pair
from ckptkit.matching.within import below
from ckptkit.model import CheckpointSpec, Variable

SLOT = ("slot of a pair",)


def pair_state(
    a: CheckpointSpec, b: CheckpointSpec, pairs: Iterable[Pair], scopes: tuple[Sequence[str], Sequence[str]] = ((), ())
) -> list[Pair]:
    """Pairs of slots, state and metadata.

    A slot is paired where the variable that it belongs to was paired one to one and as it lies: gates that change
    places or signs would have to do so in every slot in its own way.

    Args:
        a: the source.
        b: the target.
        pairs: the weights' pairs.
        scopes: what is taken off the names of (a, b).
    """
    origin = {pair.target[0]: pair.source[0] for pair in pairs if pair.forms is None and len(pair.source) == 1}
    slots: dict[tuple[str, str], Variable | None] = {}
    others: dict[str, Variable] = {}
    for variable in a.variables:
        if variable.kind == "slot" and variable.slot_of is not None:
            key = (variable.slot_of, _slot_word(variable))
            slots[key] = None if key in slots else variable
        elif variable.kind != "weight":
            others[below(variable.name, scopes[0])] = variable
    found = []
    for variable in b.variables:
        if variable.kind == "weight":
            continue
        if variable.kind == "slot" and variable.slot_of is not None:
            source = slots.get((origin.get(variable.slot_of, ""), _slot_word(variable)))
            evidence = SLOT
        else:
            source, evidence = others.get(below(variable.name, scopes[1])), ("name",)
        if source is not None and source.shape == variable.shape and source.kind == variable.kind:
            found.append(Pair((source.name,), (variable.name,), evidence))
    return found


def _slot_word(variable: Variable) -> str:
    """What the optimizer calls the slot: the last component of its name (`m`, `Adam_1`, `momentum`)."""
    return variable.name.rpartition("/")[2].lower()
