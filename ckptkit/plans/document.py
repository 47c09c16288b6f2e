"""A plan: which value every target variable gets, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptkit.display import Displayed
from ckptkit.errors import UsageError
from ckptkit.model import CheckpointSpec, TensorSpec, Variable
from ckptkit.plans.ops import Fill, Op, Read, infer_spec, leaves


@dataclass(frozen=True, slots=True)
class Step:
    """One target variable and the expression that gives its value.

    Attributes:
        target: canonical name, shape and dtype.
        key: native key in the target's format.
        op: of what it is made.
        evidence: what the pairing rests on, for people.
        doubts: what a person should know before believing it (an assumption, a cast that rounds).
        copies: expressions over other source variables that must give the very same values.
    """

    target: TensorSpec
    key: str
    op: Op
    evidence: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    copies: tuple[Op, ...] = ()


# Why a slot keeps the template's value although slots were asked for.
NO_SLOT = "the source has no slot for it"


@dataclass(frozen=True, slots=True)
class Kept:
    """A target variable that keeps the template's value, and why."""

    target: str
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan(Displayed):
    """How to make a target out of a source.

    Attributes:
        source: path as it was given.
        target: path of the template.
        by: the method of matching.
        order_source: where the layer order of (source, target) came from; None where order played no part.
        steps: one for each target variable that gets a value, in the target's order.
        kept: target variables that keep the template's value.
        missing: those of `kept` that wanted a weight of the source and found none.
        unexpected: weights of the source that go nowhere.
        ambiguous: variables of either side that fit in several ways and are not moved.
    """

    source: str
    target: str
    by: str
    order_source: tuple[str, str] | None
    steps: tuple[Step, ...]
    kept: tuple[Kept, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def check_plan(plan: Plan, source: CheckpointSpec | None = None, target: CheckpointSpec | None = None) -> None:
    """Prove a plan on shapes and dtypes, without data.

    Args:
        plan: any, also one that was edited by hand.
        source: when given, every variable that is read must be in it as the plan says.
        target: when given, every variable of it must be a step's or kept, as the plan says.

    Raises:
        UsageError: an expression does not fit together or does not give its target, or the plan is stale; says where.
    """
    sources = {variable.name: variable for variable in source.variables} if source else None
    for place, step in enumerate(plan.steps):
        where = f"steps[{place}] ({step.target.name})"
        for op in (step.op, *step.copies):
            _check_op(op, step.target, where)
            if sources is not None and source is not None:
                for leaf in leaves(op):
                    if isinstance(leaf, Read):
                        _check_stale(sources, leaf.variable, leaf, f"{where}: read {leaf.variable}", source.path)
    keys = [step.key for step in plan.steps] + [kept.key for kept in plan.kept]
    repeated = next((key for key in keys if keys.count(key) > 1), None) if len(set(keys)) < len(keys) else None
    if repeated is not None:
        raise UsageError("two entries of the plan give one target variable", key=repeated)
    if target is not None:
        _check_target(plan, target)


def _check_op(op: Op, target: TensorSpec, where: str) -> None:
    try:
        found = infer_spec(op)
    except UsageError as error:
        raise UsageError(f"{error.key}: {error.problem}", key=where) from error
    if (found.shape, found.dtype) != (target.shape, target.dtype):
        raise UsageError(
            "the operation does not give what its target wants",
            key=where,
            expected=f"{list(target.shape)} {target.dtype}",
            found=f"{list(found.shape)} {found.dtype}",
        )
    for leaf in leaves(op):
        if isinstance(leaf, Fill) and TensorSpec("", leaf.shape, leaf.dtype).size > target.size:
            raise UsageError("a fill larger than its target", key=where, found=list(leaf.shape))


def _check_target(plan: Plan, target: CheckpointSpec) -> None:
    targets = {variable.name: variable for variable in target.variables}
    for place, step in enumerate(plan.steps):
        where = f"steps[{place}] ({step.target.name})"
        _check_stale(targets, step.target.name, step.target, where, target.path)
        if targets[step.target.name].key != step.key:
            raise UsageError("the plan is stale", key=where, expected=step.key, found=targets[step.target.name].key)
    named = {step.target.name for step in plan.steps} | {kept.target for kept in plan.kept}
    for name in targets:
        if name not in named:
            raise UsageError("the plan says nothing of this variable", path=target.path, key=name)
    for kept in plan.kept:
        if kept.target not in targets:
            raise UsageError("the plan keeps a variable that is not there", path=target.path, key=kept.target)


def _check_stale(
    variables: Mapping[str, Variable], name: str, wanted: Read | TensorSpec, where: str, path: str
) -> None:
    """Raise unless the variable `name` is there with the shape and dtype that the plan says."""
    variable = variables.get(name)
    if variable is None:
        import difflib

        near = difflib.get_close_matches(name, variables, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise UsageError("the plan is stale: no such variable", path=path, key=where, hint=hint)
    if (variable.shape, variable.dtype) != (wanted.shape, wanted.dtype):
        raise UsageError(
            "the plan is stale",
            path=path,
            key=where,
            expected=f"{list(wanted.shape)} {wanted.dtype}",
            found=f"{list(variable.shape)} {variable.dtype}",
        )
