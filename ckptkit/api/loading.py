"""A checkpoint of any format straight into a live model, through the model's own saver and loader.

The model writes a template of itself, the weights are remapped into it, and the model loads the result: the very path
that the command line takes, so that what is true of files is true here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.api.moving import remap
from ckptkit.api.opening import open  # noqa: A004
from ckptkit.errors import ModelError, RefusedError

if TYPE_CHECKING:
    import os

    from ckptkit.model import By


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a model's variables and of the checkpoint's.

    Attributes:
        loaded: (variable of the model, variables of the checkpoint it was made of), by canonical name.
        kept: variables of the model that keep the value they had: optimizer state, counters, and weights that
            `allow_missing` let through.
        left: weights of the checkpoint that the model has no place for.
    """

    loaded: tuple[tuple[str, tuple[str, ...]], ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]


def load_into(
    model: Any,
    path: str | os.PathLike[str],
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
) -> Loaded:
    """Load a checkpoint of any format into a live Keras 3, tf_keras, Sonnet or `tf.Module` model, all or nothing.

    Args:
        model: built: every variable exists.
        path: any checkpoint.
        by: as for `remap`.
        rename: as for `remap`.
        fan_out: as for `remap`.
        assume: as for `remap`.
        allow_missing: as for `remap`.
        allow_unexpected: as for `remap`.

    Raises:
        ModelError: not a model, or not built; or its own saver leaves variables out, or its loader refuses. Its values
            are then what they were.
        RefusedError: the match is not complete.
        CkptkitError: the checkpoint cannot be read.
    """
    from ckptkit.plans import reads

    framework = frameworks.framework_of(model)
    if framework is None:
        raise ModelError(
            "not a model", expected="a Keras, tf_keras, Sonnet or tf.Module object", found=type(model).__name__
        )
    variables = frameworks.distinct(frameworks.weights(model, framework))
    if not variables:
        raise ModelError("the model has no variables yet", hint="Build it, or call it once on an input.")
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        template = frameworks.save(model, framework, str(Path(folder) / "template"))
        filled = str(Path(folder) / "filled") + template.removeprefix(str(Path(folder) / "template"))
        _check_complete(template, len(variables))
        try:
            done = remap(
                path, template, filled, by=by, rename=rename, fan_out=fan_out, assume=assume,
                allow_missing=allow_missing, allow_unexpected=allow_unexpected,
            )  # fmt: skip
        except RefusedError as error:
            # The template is nothing that the caller knows of.
            error.problem = error.problem.replace(template, "the model")
            raise
        before = [variable.numpy() for variable in variables]
        try:
            frameworks.load(model, filled)
        except ModelError:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            raise
    return Loaded(
        tuple((step.target.name, reads(step.op)) for step in done.plan.steps),
        tuple(kept.target for kept in done.plan.kept),
        done.plan.unexpected,
    )


def _check_complete(template: str, count: int) -> None:
    """Raise unless a model's own saver has written all of its `count` variables: others would keep what they hold."""
    with open(template) as saved:
        held = sum(variable.kind in ("weight", "state") for variable in saved.spec.variables)
    if held < count:
        raise ModelError(
            f"its own saver leaves out {count - held} of the model's {count} variables",
            hint="`ckptkit audit` says which, and why.",
        )
