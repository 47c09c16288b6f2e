"""A checkpoint of any format straight into a live model, through the model's own saver and loader.

A file that is the model's own goes through its framework's loader. For any other the model writes a template of itself, the
weights are remapped into it, and the model loads the result: the very path that the command line takes, so that what is
true of files is true here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.api.open import bind, open  # noqa: A004
from ckptkit.api.plan import Terms, propose
from ckptkit.display import Displayed
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import ModelError, RefusedError
from ckptkit.matching import Pairing
from ckptkit.model.selection import refuse_unfit

if TYPE_CHECKING:
    import os

    from ckptkit.api.proposal import Remapped
    from ckptkit.model import By
    from ckptkit.trees import FunctionalModel

MATCHING = "ckptkit's matching"

# A factor of a low-rank adapter: Keras merges it when it saves, and sets it to zero when it loads
# (keras/src/layers/core/dense.py, save_own_variables and load_own_variables).
_FACTOR = re.compile(r"lora_\w+_[ab]")


@dataclass(frozen=True, slots=True)
class Loaded(Displayed):
    """What became of a model's variables and of the checkpoint's.

    Attributes:
        loaded: (variable of the model, variables of the checkpoint it was made of), by canonical name.
        kept: variables of the model that keep the value they had: optimizer state, counters, and weights that
            `allow_missing` let through.
        left: weights of the checkpoint that the model has no place for.
        loaded_by: the framework's own loader, or `ckptkit's matching`.
    """

    loaded: tuple[tuple[str, tuple[str, ...]], ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]
    loaded_by: str = MATCHING

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "schema": "ckptkit.load/1",
            "loaded_by": self.loaded_by,
            "loaded": [{"target": target, "source": list(source)} for target, source in self.loaded],
            "kept": list(self.kept),
            "left": list(self.left),
        }


def load_into(
    model: Any,
    path: str | os.PathLike[str],
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
) -> Loaded:
    """Load a checkpoint of any format into a live Keras, tf_keras, Sonnet, `tf.Module`, PyTorch or NNX model, all or nothing.

    Args:
        model: built: every variable exists.
        path: any checkpoint.
        by: as for `remap`. By `auto`, and with none of the other options, the framework's own loader comes first.
        rename: as for `remap`.
        pairs: as for `remap`; the model's names are those of what its own saver writes.
        source_scope: as for `remap`.
        target_scope: as for `remap`.
        fan_out: as for `remap`.
        assume: as for `remap`.
        allow_missing: as for `remap`.
        allow_unexpected: as for `remap`.
        allow_lossy: as for `remap`.
        average: as for `remap`.
        engine: as for `remap`.
        progress: called while the weights are moved; the framework's own loader tells nothing.

    Raises:
        ModelError: not a model, or not built; or its own saver leaves variables out, or its loader refuses. Its values
            are then what they were.
        RefusedError: the match is not complete.
        CkptkitError: the checkpoint cannot be read.
    """
    model = frameworks.functional_or_same(model)
    framework = frameworks.framework_of(model)
    if framework is None:
        raise ModelError(
            "not a model",
            expected="a Keras, tf_keras, Sonnet, tf.Module, PyTorch or NNX object",
            found=type(model).__name__,
        )
    pairing = Pairing(by, rename, pairs or {}, (source_scope, target_scope), fan_out, assume or {})
    terms = Terms(allow_missing, allow_unexpected, average=average)
    own = pairing.plain and not average

    def move(template: str, filled: str) -> Remapped:
        with open_engine(engine) as workers:
            proposal = propose(path, template, pairing, terms, workers)
            return proposal.apply(filled, allow_lossy=allow_lossy, engine=workers, progress=progress)

    if framework == "jax":
        return _load_functional(model, path, own, move)
    if framework == "torch":
        return _load_torch(model, path, own, move)
    variables = frameworks.distinct(frameworks.weights(model, framework))
    if not variables:
        if getattr(model, "built", False):
            raise ModelError("the model has no weights: there is nothing to load into")
        raise ModelError("the model has no variables yet", hint="Build it, or call it once on an input.")
    if own:
        loaded = _load_own(model, path)
        if loaded is not None:
            return loaded
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        template = frameworks.save(model, framework, str(Path(folder) / "template"))
        filled = str(Path(folder) / "filled") + template.removeprefix(str(Path(folder) / "template"))
        _check_complete(template, sum(_FACTOR.fullmatch(_own_name(variable)) is None for variable in variables))
        try:
            done = move(template, filled)
        except RefusedError as error:
            # The template is nothing that the caller knows of.
            error.problem = error.problem.replace(template, "the model")
            raise
        import numpy as np

        before = [np.array(variable.numpy()) for variable in variables]
        try:
            frameworks.load(model, filled)
        except ModelError:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            frameworks.settle(model)
            raise
    return _loaded(done)


def _load_functional(
    model: FunctionalModel, path: str | os.PathLike[str], own: bool, move: Callable[[str, str], Remapped]
) -> Loaded:
    """Into an NNX module: by its structure where the file has it, else by way of its tree."""
    from ckptkit.api.loading_jax import fill_module, restore_module

    found = restore_module(model, path) if own else None
    if found is not None:
        return Loaded(tuple((weight, (weight,)) for weight in found[1]), (), (), found[0])
    return _loaded(fill_module(model, move))


def _loaded(done: Remapped) -> Loaded:
    from ckptkit.plans import reads

    return Loaded(
        tuple((step.target.name, reads(step.op)) for step in done.plan.steps),
        tuple(kept.target for kept in done.plan.kept),
        done.plan.unexpected,
    )


def _load_torch(module: Any, path: str | os.PathLike[str], own: bool, move: Callable[[str, str], Remapped]) -> Loaded:
    """Into a PyTorch module: by its own loader where that takes the file, else by way of its `state_dict`."""
    from ckptkit.api.loading_torch import fill_by_matching, load_own

    found = load_own(module, path) if own else None
    if found is not None:
        return Loaded(tuple((weight, (weight,)) for weight in found[1]), (), (), found[0])
    return _loaded(fill_by_matching(module, move))


def _own_name(variable: Any) -> str:
    return str(variable.name).partition(":")[0].rpartition("/")[2]


def _load_own(model: Any, path: str | os.PathLike[str]) -> Loaded | None:
    """What the framework's own loader did with a file that is the model's own; None for any other, nothing changed."""
    from ckptkit.formats.copying import local_copy
    from ckptkit.verification.native import NotNativeError, load_native

    with local_copy(path) as location:
        contents, tensors = location.open()
        with bind(contents, tensors, location) as checkpoint:
            refuse_unfit(checkpoint.spec)
            before = tuple(variable.name for variable in checkpoint.spec.variables if variable.kind == "weight")
            try:
                done = load_native(model, checkpoint, contents, location.at.text, own=True)
            except NotNativeError:
                return None
    if done.unused:
        return None
    return Loaded(tuple((weight, (weight,)) for weight in before), (), (), done.words)


def _check_complete(template: str, count: int) -> None:
    """Raise unless a model's own saver has written all of its `count` variables: others would keep what they hold."""
    with open(template) as saved:
        held = sum(v.kind in ("weight", "state") and v.copy_of is None for v in saved.spec.variables)
    if held < count:
        raise ModelError(
            f"its own saver leaves out {count - held} of the model's {count} variables",
            hint="`ckptkit audit` says which, and why.",
        )
