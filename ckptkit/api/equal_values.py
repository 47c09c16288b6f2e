"""Values of two verified sides compared where no output follows them, paired by names and conventions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit import frameworks
from ckptkit.api.open import open  # noqa: A004
from ckptkit.errors import CkptkitError
from ckptkit.verification.coverage import ValuePair, digest, equal_values

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.plans import Plan
    from ckptkit.verification.runner import Runner


def value_pairs(source: Runner, target: Runner) -> Sequence[ValuePair]:
    """Every variable of the target that can be paired with the source's, and whether it is equal.

    They are paired by matching what each side's own saver calls them, under the conventions of both. Empty where that is
    refused.
    """
    try:
        with ExitStack() as stack:
            # Where images lie in two orders, the architecture says which features are one.
            whole = {is_torch(source.live()), is_torch(target.live())} == {True, False}
            return _by_matching(*(_stored(side, stack, whole=whole) for side in (source, target)))
    except (CkptkitError, OSError):
        return ()  # nothing is claimed then: the weights in question are named as untested


def _stored(runner: Runner, stack: ExitStack, *, whole: bool) -> str:
    """A checkpoint of the values that a side holds: that of a live model is written by its own saver.

    Args:
        runner: the side.
        stack: keeps what is written.
        whole: whether a Keras model is written with its architecture, where that can be.
    """
    live = runner.live()
    framework = None if live is None else frameworks.framework_of(live)
    if framework is None:
        return runner.path or ""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ckptkit-"))
    if frameworks.is_model(live) and runner.path is not None and runner.path.endswith((".keras", ".h5")):
        return runner.path  # says more of its layers than weights alone do
    if whole and framework == "keras" and frameworks.is_model(live) and getattr(live, "inputs", None):
        with suppress(Exception):  # a layer of the user's own without a configuration: its weights are enough
            live.save(str(Path(folder) / "values.keras"))
            return str(Path(folder) / "values.keras")
    return frameworks.save(live, framework, str(Path(folder) / "values"))


def is_torch(live: object) -> bool:
    """Whether a live model is PyTorch's."""
    return live is not None and frameworks.framework_of(live) == "torch"


def _by_matching(source: str, target: str) -> list[ValuePair]:
    from ckptkit import matching
    from ckptkit.conventions import expand, read_forms
    from ckptkit.execute import evaluate
    from ckptkit.planner import make_plan
    from ckptkit.plans import reads

    with open(source) as a, open(target) as b:
        forms = read_forms(a.spec.with_flow(), {}), read_forms(b.spec.with_flow(), {})
        expanded = expand(forms[0], forms[1]), expand(forms[1], forms[0])

        def planned(*, fan_out: bool) -> Plan:
            found = matching.match(
                expanded[0].spec, expanded[1].spec, by="auto", rename=(), fan_out=fan_out, slots=False
            )
            return make_plan(found, a.spec, b.spec, allow_missing=True, allow_unexpected=True, expanded=expanded)

        try:
            plan = planned(fan_out=False)
        except CkptkitError:
            plan = planned(fan_out=True)
        pairs = []
        for step in plan.steps:
            made = evaluate(step.op, _reader(a.__getitem__))
            stored = b[step.target.name].read()
            parts = tuple(digest(a[name].read()) for name in reads(step.op))
            pairs.append(ValuePair(parts, digest(stored), equal_values(made, stored)))
        return pairs


def _reader(get: Callable[[str], object]) -> Callable[[str], np.ndarray]:
    def load(name: str) -> np.ndarray:
        variable = get(name)
        value: np.ndarray = variable.read()  # type: ignore[attr-defined]
        return value

    return load
