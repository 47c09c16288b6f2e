"""Variables of optimizers: which ones they are, and the weight that each belongs to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ckptkit.canonical.naming import public, without_auto_suffix

# What people call the averages of `tf.train.ExponentialMovingAverage(name=…)`, beside the name that they have by themselves.
AVERAGES = ("ExponentialMovingAverage", "EMA", "ema", "ema_weights", "MovingAverage", "moving_average")

# Slot names of TensorFlow 1 optimizers, which stand as last part below the variable's own name
# (tensorflow/python/training, slot_creator.py and the optimizers' `_get_or_make_slot`), of BERT's
# AdamWeightDecayOptimizer, and of Keras's optimizers.
_SLOT_WORD = re.compile(
    r"(Adam|AdaMax|AMSGrad|Nadam|AdamW|AdamWeightDecay|LAMB|LazyAdam|Adafactor|RMSProp|RMSprop|Momentum|Adagrad|AdagradDA"
    r"|Adadelta|Ftrl|FTRL|ProximalAdagrad|SGD|adam_[mv]|lamb_[mv]|accumulator|accum_grad|accum_var|linear"
    rf"|momentum|velocity|velocity_hat|rms|mg|m|v|vhat|{'|'.join(AVERAGES)})(_[0-9]{{1,9}})?"
)

# Scalars of optimizers and savers that no layer has. Others of an optimizer (`decay`, `epsilon`) may be anybody's.
_COUNTER_WORD = re.compile(
    r"(global_step|beta[12]_power|save_counter|iterations?|iter|learning_rate|current_loss_scale|good_steps"
    r"|cluster_size_step)(_[A-Za-z0-9]{1,20}|_[0-9]{1,9})?"
)

# What optimizers count their steps in, and what else Keras 2 keeps in the scope of one (tf_keras/optimizers/legacy: the
# hyperparameters of each class, and Nadam's cache; `lr` before that).
_STEPS = frozenset({"iter", "iteration", "iterations", "step"})
SETTINGS = frozenset(
    {"learning_rate", "lr", "decay", "momentum", "rho", "epsilon", "beta", "beta_1", "beta_2", "momentum_cache",
     "weight_decay", "l1_regularization_strength", "l2_regularization_strength", "learning_rate_power"}
)  # fmt: skip

# Adam's two scalars in TensorFlow 1 come together, with the slots of one of these; AdaMax has the first one alone.
_POWERS = re.compile(r"beta([12])_power")
_POWERED = frozenset({"Adam", "AdamW", "LazyAdam", "Nadam", "AMSGrad", "AdamWeightDecay"})

# A loss scale, and what counts beside it (tensorflow/python/training/experimental/loss_scale.py).
_SCALE, _GOOD_STEPS = "current_loss_scale", "good_steps"

# Scalars of these types count or switch something; none is trained.
_COUNTING = ("int", "uint", "bool")

# How many slots of one name an optimizer of TensorFlow 1 gives to each weight, and the sets that have names of their own.
_SETS = {
    "Adam": 2, "AdaMax": 2, "AMSGrad": 3, "Nadam": 2, "AdamW": 2, "AdamWeightDecay": 2, "LAMB": 2, "LazyAdam": 2, "RMSProp": 2,
    "RMSprop": 1, "AdagradDA": 2, "Adadelta": 2, "Ftrl": 2, "FTRL": 2, "Adafactor": 1, "Momentum": 1, "Adagrad": 1,
    "ProximalAdagrad": 1, "SGD": 1, "adam": 2, "lamb": 2, **dict.fromkeys(AVERAGES, 1),
}  # fmt: skip
_NAMED_SET = re.compile(r"(adam|lamb)_[mv]")

# Scopes in which optimizers of Keras put their variables.
_OPTIMIZER_SCOPE = re.compile(
    r"(adam|adamw|adamax|nadam|lamb|lion|rm_?sprop|adagrad|adadelta|ftrl|sgd|optimizer|inner_optimizer|loss_scale_optimizer)"
    r"(_[0-9]{1,9})?",
    re.IGNORECASE,
)

# Scopes that optimizers and training loops put in front of the variable's name; more parts than this are not tried.
_MOST_PREFIXES = 6


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of a file of flat names.

    Attributes:
        owners: key of each slot -> (key of the weight or None, what the slot is called).
        sets: what TensorFlow 1's optimizers are called whose slots are there (see `set_of`).
        scopes: optimizers' own scopes with slots in them.
    """

    owners: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)
    sets: Collection[str] = ()
    scopes: Collection[str] = ()


_NO_SLOTS = Slots()


def is_slot_word(word: str) -> bool:
    """Whether `word` is what an optimizer calls a slot (`Adam_1`, `adam_m`, `Momentum`)."""
    return _SLOT_WORD.fullmatch(word) is not None


@lru_cache(maxsize=4096)  # the last words of names repeat
def set_of(word: str) -> tuple[str, int] | None:
    """The set that the last part of a slot's name in TensorFlow 1 belongs to, and how many it has; None for other words."""
    named = _NAMED_SET.fullmatch(word)
    base = named.group(1) if named else without_auto_suffix(word)
    return (base, _SETS[base]) if base in _SETS and (named or base[0].isupper() or base in AVERAGES) else None


def is_optimizer_scope(word: str) -> bool:
    """Whether `word` is a scope in which an optimizer of Keras puts its variables (`Adam_1`)."""
    return _OPTIMIZER_SCOPE.fullmatch(word) is not None


def find_bookkeeping(
    scalars: Mapping[str, str], untrained: Collection[str] = (), slots: Slots = _NO_SLOTS
) -> tuple[frozenset[str], frozenset[str]]:
    """Which scalars count or set something of the training, and which of the others may.

    A word makes none of what holds fractions. It takes an integer; the scope in which an optimizer counts its steps or has
    its slots, for what Keras keeps in one; the powers of Adam beside its slots; a loss scale beside its counter; or, for a
    training loop's word, a graph that says that it is not trained.

    Args:
        scalars: names -> dtypes.
        untrained: names of those that a graph says are not trained.
        slots: those of the file.

    Returns:
        (names of those that do, names of those that a person may have meant either way).
    """
    counting = {name for name, dtype in scalars.items() if dtype.startswith(_COUNTING)}
    counters = {tuple(name.rpartition("/")[::2]) for name in counting}
    scopes = {scope for scope, word in counters if word in _STEPS and is_optimizer_scope(scope.rpartition("/")[2])}
    scopes.update(slots.scopes)
    kept, doubtful = set(counting), set()
    for name in scalars.keys() - counting:
        scope, _, word = name.rpartition("/")
        power = _is_power(name, scalars, slots.sets)
        sure = (
            (scope in scopes and word in SETTINGS)
            or (word == _SCALE and (scope, _GOOD_STEPS) in counters)
            or power
            or (name in untrained and is_counter(name))
        )
        if sure:
            kept.add(name)
        elif scope in scopes or power is None or (slots.owners and is_counter(name)):
            doubtful.add(name)
    return frozenset(kept), frozenset(doubtful)


def is_counter(name: str) -> bool:
    """Whether the last part of `name` is a training loop's own word (`global_step`, `beta1_power_1`)."""
    return _COUNTER_WORD.fullmatch(public(name.rpartition("/")[2])) is not None


def _is_power(name: str, scalars: Collection[str], sets: Collection[str]) -> bool | None:
    """Whether Adam, whose slots are there, or AdaMax counts in a scalar; None where only the other power is beside it."""
    found = _POWERS.search(name.rpartition("/")[2])
    if found is None or not is_counter(name):
        return False
    if _POWERS.sub(lambda power: f"beta{3 - int(power.group(1))}_power", name) in scalars:
        return not _POWERED.isdisjoint(sets) or None
    return found.group(1) == "1" and "AdaMax" in sets


def find_owner(name: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """The weight that a slot's name tells.

    Known forms: `<variable>/Adam_1` (TensorFlow 1), `training/Adagrad/<variable>/accumulator`, `Adam/<variable>/m`
    (tf.keras), `Adam/m/<variable>` (tf_keras), `adam/<variable with _ for />_momentum` (Keras 3).

    Args:
        name: the slot's name, without an output index.
        variables: name of each candidate -> key.

    Returns:
        (key of the weight, what distinguishes the slot from others of that weight), or None.
    """
    parts = name.split("/")
    for skip in range(min(len(parts), _MOST_PREFIXES)):
        body = "/".join(parts[skip:])
        if skip and body in variables:
            return variables[body], parts[skip - 1]
        variable, _, word = body.rpartition("/")
        if variable in variables:
            return variables[variable], word
    joined = parts[-1]
    variable, found, _ = joined.rpartition("_")
    for _ in range(_MOST_PREFIXES):
        if not found:
            break
        if variable in variables:
            return variables[variable], joined[len(variable) + 1 :]
        variable, found, _ = variable.rpartition("_")
    return None


def underscored(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """(name, key) -> key by the name as Keras 3 writes it within a slot's: `dense_kernel` for `dense/kernel`.

    What two names become (`a/b/kernel` and `a_b/kernel`) tells neither.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for name, key in names:
        found[name.replace("/", "_")].add(key)
    return {word: next(iter(keys)) for word, keys in found.items() if len(keys) == 1}
