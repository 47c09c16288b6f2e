"""Auditing a model: measure, judge, say."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from ckptkit.api.open import bind
from ckptkit.auditing.findings import Audit
from ckptkit.auditing.pytorch import Sites, audit_module, compare, is_torch, noting
from ckptkit.formats.locate import locate
from ckptkit.frameworks import framework_of, has_tensorflow, keras_elsewhere, require_tensorflow
from ckptkit.model.selection import refuse_unfit
from ckptkit.references import user_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def audit(
    model_or_factory: Any | Callable[[], object],
    inputs: object = None,
    *,
    input_shapes: Sequence[str | Sequence[int]] | None = None,
    checkpoint: str | None = None,
) -> Audit:
    """Find the weights that a model makes, uses and then loses.

    Args:
        model_or_factory: a model, layer or module of Keras 3, tf_keras, Sonnet 2, `tf.Module` or PyTorch, or a function
            that makes one (of PyTorch also one with its optimizer). A factory is better: places in the source are then
            known for all variables, and files are loaded into a model that really is fresh. A model is left with the
            values it had; one that was not built is built afterwards.
        inputs: what the model is called with: an array, list or dict for one argument, a tuple for several.
        input_shapes: instead of inputs, a shape for each: sizes, or text such as `1,28,28,1` or `4,16:int32`.
        checkpoint: a file or folder to compare with: what the model would not find there, and what it never asks for.

    Returns:
        The facts of every variable, and the findings.

    Raises:
        ModelError: the factory or the model fails; the user's own exception is the `__cause__`.
        UsageError: the inputs are missing or do not parse.
        CkptkitError: `checkpoint` cannot be read.
    """
    from ckptkit.auditing.quiet import quiet
    from ckptkit.auditing.subject import adopt_callable

    factory = model_or_factory if framework_of(model_or_factory) is None else None
    if factory is not None:
        adopt_callable(factory)
    if framework_of(model_or_factory) != "torch" and not (
        has_tensorflow() or keras_elsewhere() or "torch" in sys.modules
    ):
        require_tensorflow()  # a module of PyTorch needs none, and tells what it is only when it is made
    with quiet():
        made, recorder, sites = _made(model_or_factory, factory)
        if is_torch(made):
            if checkpoint is None:
                return audit_module(made, factory, sites, inputs, input_shapes)
            location = locate(checkpoint)
            contents, source = location.open()
            with bind(contents, source, location) as opened:
                refuse_unfit(opened.spec)
                stored = partial(compare, contents=contents, source=source, path=checkpoint)
                return audit_module(made, factory, sites, inputs, input_shapes, stored)
    return _audit_watched(made, recorder, factory, inputs, input_shapes, checkpoint)


def _made(model_or_factory: Any, factory: Any) -> tuple[Any, Any, Sites]:
    """The model, what watched it being made, and where PyTorch's tensors were made."""
    sites = Sites()
    watched = noting(sites) if "torch" in sys.modules else nullcontext()
    if not (has_tensorflow() or keras_elsewhere()):
        with watched, user_code("the factory failed"):
            return model_or_factory if factory is None else factory(), None, sites
    from ckptkit.auditing.subject import make, new_recorder

    if factory is None:
        return model_or_factory, None if framework_of(model_or_factory) == "torch" else new_recorder(), sites
    with watched:
        model, recorder = make(factory)
    return model, recorder, sites


def _audit_watched(
    model: Any,
    recorder: Any,
    factory: Any,
    inputs: object,
    input_shapes: Sequence[str | Sequence[int]] | None,
    checkpoint: str | None,
) -> Audit:
    from ckptkit.auditing.checkpoint import compare
    from ckptkit.auditing.diagnosis import diagnose
    from ckptkit.auditing.inputs import arguments_for
    from ckptkit.auditing.measure import measure
    from ckptkit.auditing.quiet import quiet
    from ckptkit.auditing.sharing import find_sharing
    from ckptkit.auditing.subject import adopt
    from ckptkit.formats.copying import local_copy

    if not keras_elsewhere():
        require_tensorflow()
    with quiet():
        framework = adopt(model)
        arguments = arguments_for(model, inputs, input_shapes)
        measured = measure(model, recorder, arguments, factory)
        findings = [*diagnose(measured), *find_sharing(model, framework)]
        if checkpoint is not None:
            with local_copy(checkpoint) as location:
                findings += compare(measured, location)
    rank = {"error": 0, "warning": 1, "info": 2}
    ordered = tuple(sorted(findings, key=lambda finding: rank[finding.severity]))
    return Audit(type(model).__name__, framework, measured.facts, ordered, measured.notes)


def audit_reference(
    reference: str,
    *,
    inputs: str | None = None,
    input_shapes: Sequence[str] | None = None,
    checkpoint: str | None = None,
) -> Audit:
    """`audit` of what a reference names, as the command line has it.

    Args:
        reference: `file.py:callable` or `package.module:callable`; see `ckptkit.references`.
        inputs: path of an NPZ file with an array for each input.
        input_shapes: instead of it, see `audit`.
        checkpoint: see `audit`.

    Raises:
        CkptkitError: as `audit` and `load_callable` have it.
    """
    from ckptkit.auditing.inputs import read_inputs
    from ckptkit.auditing.quiet import quiet
    from ckptkit.inputs import parse_shape
    from ckptkit.references import call_factory, load_callable

    for shape in input_shapes or ():
        parse_shape(shape)  # before TensorFlow is loaded and the user's code is run
    arrays = None if inputs is None else read_inputs(inputs)
    with quiet():
        factory = load_callable(reference)
    model = factory if framework_of(factory) is not None else lambda: call_factory(factory, reference)
    return audit(model, arrays, input_shapes=input_shapes, checkpoint=checkpoint)
