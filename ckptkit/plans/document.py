"""A plan: which value every target variable gets, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptkit.display import Displayed
from ckptkit.errors import RefusedError, UsageError
from ckptkit.model import CheckpointSpec, TensorSpec, Variable
from ckptkit.plans.ops import Fill, Op, Read, Template, infer_spec, leaves

# Names in a message.
_NAMED = 5


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
        confidence: by how much, in bits, names speak for this pairing rather than for the next best; None where
            something else decides.
    """

    target: TensorSpec
    key: str
    op: Op
    evidence: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    copies: tuple[Op, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A source variable that could fill an open place.

    Attributes:
        source: its name, shape and dtype.
        speaks_for: what speaks for it, in words.
        against: what speaks against it.
    """

    source: TensorSpec
    speaks_for: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Open:
    """A target variable of which nothing says yet what it gets: a plan with one is not applied.

    Attributes:
        target: canonical name, shape and dtype.
        key: native key in the target's format.
        why: what keeps it open.
        candidates: the nearest first.
    """

    target: TensorSpec
    key: str
    why: str
    candidates: tuple[Choice, ...] = ()


# Why a slot keeps the template's value although slots were asked for.
NO_SLOT = "the source has no slot for it"

# Why a variable keeps the template's value that lies elsewhere in it than what was asked for.
OUTSIDE = "outside the scope"


@dataclass(frozen=True, slots=True)
class Kept:
    """A target variable that keeps the template's value, and why."""

    target: str
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What the tensors of the two files were that a plan was made for: canonical name -> fingerprint of its content.

    A fingerprint is a word for its kind, a colon and hexadecimal digits: `crc32c` and `crc32` (as the file stores it),
    `sha256` (of all bytes), or `sample` (of a few).

    Attributes:
        source: of the variables that the plan reads or leaves behind.
        target: of all of the template's.
    """

    source: Mapping[str, str]
    target: Mapping[str, str]


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
        fingerprints: of the two files; None where none were taken.
        open: target variables that a person has still to decide on.
        left_out: weights of the source outside the scope that was named.
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
    fingerprints: Fingerprints | None = None
    open: tuple[Open, ...] = ()
    left_out: tuple[str, ...] = ()


def refuse_open(plan: Plan) -> None:
    """Raise `RefusedError` where a plan has open places."""
    if plan.open:
        names = [place.target.name for place in plan.open]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise RefusedError(
            f"the plan leaves open what these get: {', '.join(names[:_NAMED])}{more}",
            hint="Move each entry from `open` to `steps` with an `op`, or to `kept`.",
        )


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
    if target is not None:
        targets = {variable.name: variable for variable in target.variables}
        for place, step in enumerate(plan.steps):
            for leaf in (leaf for op in (step.op, *step.copies) for leaf in leaves(op)):
                if isinstance(leaf, Template):
                    where = f"steps[{place}] ({step.target.name}): template {leaf.variable}"
                    _check_stale(targets, leaf.variable, leaf, where, target.path)
    keys = [step.key for step in plan.steps] + [kept.key for kept in plan.kept] + [place.key for place in plan.open]
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
    named |= {place.target.name for place in plan.open}
    for place, item in enumerate(plan.open):
        _check_stale(targets, item.target.name, item.target, f"open[{place}] ({item.target.name})", target.path)
    for name in targets:
        if name not in named:
            raise UsageError("the plan says nothing of this variable", path=target.path, key=name)
    for kept in plan.kept:
        if kept.target not in targets:
            raise UsageError("the plan keeps a variable that is not there", path=target.path, key=kept.target)


def _check_stale(
    variables: Mapping[str, Variable], name: str, wanted: Read | Template | TensorSpec, where: str, path: str
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
