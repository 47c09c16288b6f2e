"""Variables of optimizers: which ones they are, and the weight that each belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ckptkit.canonical.naming import public, without_auto_suffix
from ckptkit.model import StoredTensor

# Slot names of TensorFlow 1 optimizers, which stand as last part below the variable's own name
# (tensorflow/python/training, slot_creator.py and the optimizers' `_get_or_make_slot`), of BERT's
# AdamWeightDecayOptimizer, and of Keras's optimizers.
_SLOT_WORD = re.compile(
    r"(Adam|AdaMax|AMSGrad|Nadam|AdamW|AdamWeightDecay|LAMB|LazyAdam|Adafactor|RMSProp|RMSprop|Momentum|Adagrad|AdagradDA"
    r"|Adadelta|Ftrl|FTRL|ProximalAdagrad|SGD|ExponentialMovingAverage|adam_[mv]|lamb_[mv]|accumulator|accum_grad|accum_var|linear"
    r"|momentum|velocity|velocity_hat|rms|mg|m|v|vhat)(_[0-9]{1,9})?"
)

# Scalars that optimizers and savers keep beside the variables.
_COUNTER_WORD = re.compile(
    r"(global_step|beta1_power|beta2_power|save_counter|iterations?|iter|learning_rate|decay|beta_[12]|momentum|rho"
    r"|epsilon|current_loss_scale|good_steps|cluster_size_step)(_[A-Za-z0-9]{1,20}|_[0-9]{1,9})?"
)

# Scopes that optimizers and training loops put in front of the variable's name; more parts than this are not tried.
_MOST_PREFIXES = 6


# Slots of Keras 3's optimizers by the optimizer's automatic name, in the order in which they are made
# (keras/src/optimizers, `build`). Those whose second slot depends on a setting are left out.
_SLOT_NAMES = {
    "adam": ("momentum", "velocity"),
    "adamw": ("momentum", "velocity"),
    "nadam": ("momentum", "velocity"),
    "lamb": ("momentum", "velocity"),
    "sgd": ("momentum",),
    "lion": ("momentum",),
    "rmsprop": ("velocity",),
    "adagrad": ("accumulator",),
    "adadelta": ("accumulated_grad", "accumulated_delta_var"),
    "adamax": ("momentum", "norm"),
    "ftrl": ("accumulator", "linear"),
}


def slot_names(optimizer: str | None, count: int) -> tuple[str, ...]:
    """What Keras 3 calls the `count` slots of one weight; numbered where the optimizer does not tell.

    Args:
        optimizer: the optimizer's name, such as `adam` or `adam_1`, or None.
        count: how many there are.
    """
    names = _SLOT_NAMES.get(without_auto_suffix((optimizer or "").lower()), ())
    return names if len(names) == count else tuple(f"slot_{number}" for number in range(count))


def is_slot_word(word: str) -> bool:
    """Whether `word` is what an optimizer calls a slot (`Adam_1`, `adam_m`, `Momentum`)."""
    return _SLOT_WORD.fullmatch(word) is not None


def is_counter(name: str) -> bool:
    """Whether the last part of `name` is a well-known counter or hyperparameter (`global_step`, `beta1_power_1`)."""
    return _COUNTER_WORD.fullmatch(public(name.rpartition("/")[2])) is not None


def is_setting(name: str) -> bool:
    """Whether `name` lies directly below an optimizer's class name, as its hyperparameters do (`training/Ftrl/beta`)."""
    scope = name.rpartition("/")[0].rpartition("/")[2]
    return scope[:1].isupper() and is_slot_word(scope)


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


def deal_by_shape(
    slots: Sequence[StoredTensor], weights: Sequence[StoredTensor], side_by_side: bool
) -> dict[str, tuple[str, int]]:
    """Give unnamed slots to weights by count and shapes.

    Args:
        slots: in stored order.
        weights: the trained ones, in the order in which the optimizer was given them.
        side_by_side: whether to try first that the slots of one weight stand together (Keras 3's
            `add_optimizer_variables`), or that all first moments come before all second ones (Keras 2's `get_updates`).

    Returns:
        Key of slot -> (key of weight, number of the slot among those of the weight); empty where counts or
        shapes do not fit.
    """
    if not slots or not weights or len(slots) % len(weights):
        return {}
    each = len(slots) // len(weights)
    together = [(weight, number) for weight in weights for number in range(each)]
    in_turns = [(weight, number) for number in range(each) for weight in weights]
    for order in (together, in_turns) if side_by_side else (in_turns, together):
        if all(slot.shape == weight.shape for slot, (weight, _) in zip(slots, order, strict=True)):
            return {slot.key: (weight.key, number) for slot, (weight, number) in zip(slots, order, strict=True)}
    return {}


def underscored(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """(name, key) -> key by the name as Keras 3 writes it within a slot's: `dense_kernel` for `dense/kernel`."""
    return {name.replace("/", "_"): key for name, key in names}
