"""The audit itself: measure, judge, say."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ckptkit.auditing.findings import Audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def audit(
    model_or_factory: Any | Callable[[], object],
    inputs: object = None,
    *,
    input_shapes: Sequence[str | Sequence[int]] | None = None,
    checkpoint: str | None = None,
) -> Audit:
    """Find the weights that a model makes, uses and then loses.

    Args:
        model_or_factory: a model, layer or module of Keras 3, tf_keras, Sonnet 2 or `tf.Module`, or a function that
            makes one. A factory is better: places in the source are then known for all variables, and files are
            loaded into a model that really is fresh. A model is left with the values it had; one that was not built
            is built afterwards.
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
    from ckptkit.auditing.checkpoint import compare
    from ckptkit.auditing.diagnosis import diagnose
    from ckptkit.auditing.inputs import arguments_for
    from ckptkit.auditing.measure import measure
    from ckptkit.auditing.sharing import find_sharing
    from ckptkit.auditing.subject import adopt, make
    from ckptkit.auditing.tracking import Recorder
    from ckptkit.formats.copying import local_copy
    from ckptkit.frameworks import framework_of, require_tensorflow

    require_tensorflow()
    with quiet():
        factory = model_or_factory if framework_of(model_or_factory) is None else None
        if factory is None:
            model, recorder = model_or_factory, Recorder()
        else:
            adopt_callable(factory)
            model, recorder = make(factory)
        framework = adopt(model)
        arguments = arguments_for(model, inputs, input_shapes)
        measured = measure(model, recorder, arguments, factory)
        findings = [*diagnose(measured), *find_sharing(model, framework)]
        if checkpoint is not None:
            with local_copy(checkpoint) as path:
                findings += compare(measured, path)
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
    from ckptkit.auditing.inputs import parse_shape, read_inputs
    from ckptkit.frameworks import framework_of
    from ckptkit.references import call_factory, load_callable

    for shape in input_shapes or ():
        parse_shape(shape)  # before TensorFlow is loaded and the user's code is run
    arrays = None if inputs is None else read_inputs(inputs)
    with quiet():
        factory = load_callable(reference)
    model = factory if framework_of(factory) is not None else lambda: call_factory(factory, reference)
    return audit(model, arrays, input_shapes=input_shapes, checkpoint=checkpoint)


def adopt_callable(factory: object) -> None:
    """Refuse what is neither a model nor a function that makes one.

    Raises:
        ModelError: it cannot be called.
    """
    from ckptkit.errors import ModelError

    if not callable(factory):
        raise ModelError(
            "not a model and not a function that makes one",
            expected="a Keras, tf_keras, Sonnet or tf.Module object, or a callable",
            found=type(factory).__name__,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the frameworks log and warn about during measurements from the user's terminal.

    Saving and loading on purpose what does not fit makes them warn; what matters of it is in the findings.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
