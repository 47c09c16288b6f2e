"""From a model to the facts of each of its variables: every measurement, in order, and everything put back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ckptkit.auditing import values
from ckptkit.auditing.adapters import find_adapters
from ckptkit.auditing.backends import LIMITS, measure_training
from ckptkit.auditing.findings import Facts
from ckptkit.auditing.holders import Holder, find_holders
from ckptkit.auditing.savers import SAVERS, Saving, measure_savers
from ckptkit.auditing.subject import Subject, make, observe, origin, own_variable_store, places
from ckptkit.auditing.tracking import Recorder, eager_functions
from ckptkit.auditing.training import Training, measure_gradients, measure_step, read_in_call
from ckptkit.errors import ModelError
from ckptkit.frameworks import distinct, dtype_name, keras_elsewhere, named_variables, raw, state, weights
from ckptkit.references import user_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The facts, and beside each the objects they were measured on.

    Attributes:
        subject: the model as it ran.
        facts: one for each variable.
        variables: the `tf.Variable`s, in the order of `facts`.
        holders: who holds each, or None, in the order of `facts`.
        savings: what each saver did.
        training: what is trained.
        notes: what could not be measured.
    """

    subject: Subject
    facts: tuple[Facts, ...]
    variables: tuple[Any, ...]
    holders: tuple[Holder | None, ...]
    savings: tuple[Saving, ...]
    training: Training
    notes: tuple[str, ...]


def measure(
    model: Any, recorder: Recorder, arguments: tuple[Any, ...], factory: Callable[[], object] | None
) -> Measured:
    """Run every measurement on `model`.

    Args:
        model: as its factory, or the caller, gave it.
        recorder: the one that saw it being made, or a new one.
        arguments: what it is called with.
        factory: makes another such model; without one, files are loaded into `model` itself after its values have
            been overwritten.

    Raises:
        ModelError: the model does not run on `arguments`.
    """
    backend = keras_elsewhere()
    notes = [LIMITS.format(backend=backend)] if backend else []
    with ExitStack() as stack:
        known = [variable for variable, _ in find_holders(model).values()]
        stack.enter_context(values.preserved(known))
        subject = observe(model, recorder, arguments)
        variables, holders = _universe(subject)
        before = {id(variable) for variable in known}
        stack.enter_context(
            values.preserved(v for v in (*variables, *state(model, subject.framework)) if id(v) not in before)
        )
        used = _used(subject)
        savings, training = _on_copies(subject, variables, holders, factory, notes)
        facts = tuple(
            _facts(subject, variable, holder, index, savings, training, used)
            for index, (variable, holder) in enumerate(zip(variables, holders, strict=True))
        )
    return Measured(subject, facts, tuple(variables), tuple(holders), savings, training, tuple(notes))


def _universe(subject: Subject) -> tuple[list[Any], list[Holder | None]]:
    """The variables that concern the model: its weights, what it reads, and what was made for it and is still held.

    Of variables that every call makes anew only those of one call count, and what an optimizer, a metric or a random
    generator keeps for itself not at all.
    """
    reachable = find_holders(subject.model)
    service = {key for key, creation in subject.creations.items() if creation.service}
    listed = weights(subject.model, subject.framework)
    own = {id(variable) for variable in listed}
    service |= {id(variable) for variable in state(subject.model, subject.framework)}
    service |= {key for key, (_, holder) in reachable.items() if holder.bookkeeping} - {id(v) for v in subject.read}
    service -= own
    repeated = {id(variable) for variable in subject.repeated}
    anew = {origin(subject.creations, variable) for variable in subject.repeated}
    made = [creation.variable for key, creation in subject.creations.items() if key in reachable]
    found = []
    for variable in distinct([*listed, *made, *subject.read]):
        other_call = (
            id(variable) not in own and id(variable) not in repeated and origin(subject.creations, variable) in anew
        )
        if id(variable) not in service and not other_call:
            found.append(variable)
    return found, [reachable[id(variable)][1] if id(variable) in reachable else None for variable in found]


def _used(subject: Subject) -> frozenset[int] | None:
    """Variables that calls read, of any kind; None where a call cannot be traced, so that only tapes tell."""
    found: set[int] = {id(variable) for variable in subject.read}
    if keras_elsewhere():
        return frozenset(found)
    for training in (False, True):
        read = read_in_call(subject.model, subject.arguments, training=training)
        if read is None:
            return None
        found |= read
    return frozenset(found)


def _on_copies(
    subject: Subject,
    variables: list[Any],
    holders: Sequence[Holder | None],
    factory: Callable[[], object] | None,
    notes: list[str],
) -> tuple[tuple[Saving, ...], Training]:
    """Savers and training, on models of their own where there is a factory."""
    loaded, trained = subject, subject
    if factory is not None:
        loaded, trained = (_another(factory, subject.arguments) for _ in range(2))
    counterparts = _counterparts(subject, loaded, variables)
    if any(counterpart is None for counterpart in counterparts):
        notes.append("two models from the factory differ in their variables: those without a counterpart count as lost")
    pairs = [(v, c) for v, c in zip(variables, counterparts, strict=True) if c is not None]
    present = [counterpart is not None for counterpart in counterparts]
    adapters = find_adapters([holder for holder, there in zip(holders, present, strict=True) if there])
    savings = measure_savers(subject.framework, subject.model, loaded.model, pairs, subject.arguments, adapters)
    savings = tuple(_widen(saving, present) for saving in savings)
    others = _counterparts(subject, trained, variables)
    try:
        training = _train(trained, [v for v in others if v is not None])
    except ModelError as error:
        notes.append(f"training was not measured: {error.problem}")
        training = Training(None, frozenset(), frozenset())
    return savings, _translate(training, others, variables)


def _another(factory: Callable[[], object], arguments: tuple[Any, ...]) -> Subject:
    with own_variable_store():
        model, recorder = make(factory)
        return observe(model, recorder, arguments)


def _counterparts(subject: Subject, other: Subject, variables: Sequence[Any]) -> list[Any]:
    if other is subject:
        return list(variables)
    mine = {id(variable): place for place, variable in places(subject, variables).items()}
    universe, _ = _universe(other)
    shared = {id(variable) for variable in universe}  # a global, or a factory that always gives the same model
    theirs = places(other, universe)
    return [variable if id(variable) in shared else theirs.get(mine[id(variable)]) for variable in variables]


def _widen(saving: Saving, present: list[bool]) -> Saving:
    """The saving with False where a variable has no counterpart at all."""

    def spread(kept: tuple[bool, ...] | None) -> tuple[bool, ...] | None:
        if kept is None:
            return None
        answers = iter(kept)
        return tuple(next(answers) if there else False for there in present)

    return Saving(saving.saver, spread(saving.restored), spread(saving.in_file), saving.problem, spread(saving.merged))


def _train(subject: Subject, variables: list[Any]) -> Training:
    with values.preserved(distinct([*variables, *state(subject.model, subject.framework)])):
        if keras_elsewhere():
            with user_code("the model cannot be called in training"):
                return measure_training(subject.model, subject.arguments, variables)
        with eager_functions(), user_code("the model cannot be called in training"):
            gradients = measure_gradients(subject.model, subject.framework, subject.arguments, variables)
        return measure_step(subject.model, subject.framework, subject.arguments, variables, gradients)


def _translate(training: Training, others: Sequence[Any], variables: Sequence[Any]) -> Training:
    """The facts by the identities of the audited model's variables rather than of the copy's."""
    names = {id(other): id(variable) for other, variable in zip(others, variables, strict=True) if other is not None}

    def renamed(keys: frozenset[int] | None) -> frozenset[int] | None:
        return None if keys is None else frozenset(names[key] for key in keys if key in names)

    return replace(
        training,
        connected=renamed(training.connected),
        read=renamed(training.read) or frozenset(),
        optimized=renamed(training.optimized) or frozenset(),
        live=renamed(training.live) or frozenset(),
        stepped=renamed(training.stepped),
        stale=renamed(training.stale) or frozenset(),
        known=renamed(training.known) or frozenset(),
    )


def _facts(
    subject: Subject,
    variable: Any,
    holder: Holder | None,
    index: int,
    savings: Sequence[Saving],
    training: Training,
    used: frozenset[int] | None,
) -> Facts:
    key = id(variable)
    creation = subject.creations.get(key)
    listed = {id(raw(v)): v for v in named_variables(subject.model, subject.framework)}
    by_saver = {saving.saver: saving for saving in savings}
    in_weights = key in {id(v) for v in weights(subject.model, subject.framework)}
    each_call = key in {id(v) for v in subject.repeated}
    return Facts(
        variable=_name(listed.get(key, variable)),
        shape=tuple(variable.shape),
        dtype=dtype_name(variable),
        created_at=None if creation is None else creation.created_at,
        method=None if creation is None else creation.method,
        made_by=None if creation is None else creation.made_by,
        held_at=None if holder is None else holder.path,
        in_weights=in_weights,
        saved={name: _at(by_saver[name].restored, index) for name in SAVERS},
        merged_by=tuple(name for name in SAVERS if _at(by_saver[name].merged, index)),
        in_file={name: _at(by_saver[name].in_file, index) for name in SAVERS},
        trainable=bool(variable.trainable) and dtype_name(variable).startswith(("float", "bfloat")),
        trained=training.trained(key) if not each_call else False,
        used=True if each_call else (None if used is None else key in used),
        each_call=each_call,
    )


def _at(answers: tuple[bool, ...] | None, index: int) -> bool | None:
    return None if answers is None else answers[index]


def _name(variable: Any) -> str:
    path = getattr(variable, "path", None)
    return path if isinstance(path, str) else str(variable.name).removesuffix(":0")
