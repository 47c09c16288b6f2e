"""A checkpoint of any format as a tree of arrays like another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptkit.api.loading_jax import fill_tree, restore
from ckptkit.api.plan import Terms, propose
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import ModelError, UsageError
from ckptkit.matching import Pairing
from ckptkit.trees import FunctionalModel, flatten, to_numpy
from ckptkit.trees.leaves import like as as_leaf

if TYPE_CHECKING:
    import os

    from ckptkit.api.proposal import Remapped
    from ckptkit.model import By


def to_tree(
    path: str | os.PathLike[str],
    like: Any,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    pairs: Mapping[str, str] | None = None,
    source_scope: str | None = None,
    target_scope: str | None = None,
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    allow_lossy: bool = False,
    average: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Any:
    """The values of a checkpoint of any format as a tree like another one. Needs no JAX where `like` is of plain dictionaries.

    Args:
        path: any checkpoint.
        like: a tree of arrays: dictionaries, `FrozenDict`, an NNX `State`, lists. What comes back has its structure, and
            each array the shape, dtype and kind (NumPy or JAX) of the one in its place.
        by: as for `remap`. By `auto`, and with none of the other options, a file with the very names of the tree is taken
            as it is.
        rename: as for `remap`.
        pairs: as for `remap`; the names of the tree are its paths, joined by `/`.
        source_scope: as for `remap`.
        target_scope: as for `remap`.
        fan_out: as for `remap`.
        assume: as for `remap`.
        allow_missing: arrays that the checkpoint does not have stay as they are in `like`.
        allow_unexpected: as for `remap`.
        allow_lossy: as for `remap`.
        average: as for `remap`.
        engine: as for `remap`.
        progress: called while the weights are moved; a file that is taken as it is tells nothing.

    Raises:
        UsageError: `like` holds no arrays, or something that is none.
        RefusedError: the match is not complete; names what.
        CkptkitError: the checkpoint cannot be read.
    """
    held = flatten(like)
    if not held.names:
        raise UsageError("no arrays in the tree to make one like it", found=type(like).__name__)
    model = FunctionalModel("the tree", like, _no_call, "a tree of equal structure", lambda _old, new: new)
    pairing = Pairing(by, rename, pairs or {}, (source_scope, target_scope), fan_out, assume or {})
    terms = Terms(allow_missing, allow_unexpected, average=average)
    if pairing.plain and not average:
        found = restore(model, path)
        if found is not None:
            return _kept_kind(found[0].tree, like)

    def move(template: str, filled: str) -> Remapped:
        with open_engine(engine) as workers:
            proposal = propose(path, template, pairing, terms, workers)
            return proposal.apply(filled, allow_lossy=allow_lossy, engine=workers, progress=progress)

    return fill_tree(model, move)[0].tree


def _kept_kind(made: Any, like: Any) -> Any:
    """`made` with arrays of the kind of those in `like`."""
    old, new = flatten(like), flatten(made)
    values = [as_leaf(to_numpy(value), leaf) for value, leaf in zip(new.leaves, old.leaves, strict=True)]
    return old.put(values)


def _no_call(_tree: Any, _key: Any, _inputs: tuple[Any, ...]) -> Any:
    raise ModelError("a tree cannot be called")
