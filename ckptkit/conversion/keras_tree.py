"""The tree of a Keras model's variables by their paths, from a file that holds the architecture.

Keras 3 gives a loaded value to the variables that have its path, and passes over a value that none has without a word
(keras/src/models/model.py, `set_state_tree`). So a weight gets the path that it has in a model made from the architecture, and
besides each that models around its layer can have given it (see `keras_scopes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit.canonical.keras_tree import METRICS, OPTIMIZER, TRAINED, UNTRAINED
from ckptkit.canonical.naming import without_auto_suffix
from ckptkit.conversion.keras_scopes import Path, Weights
from ckptkit.errors import RefusedError
from ckptkit.model import OPTIMIZER as OPTIMIZER_GROUP
from ckptkit.model import CheckpointSpec, Variable

# Words by which `compile` takes an optimizer that it calls otherwise (keras/src/optimizers/__init__.py, `get`).
_OPTIMIZERS = {"rmsprop": "rm_sprop", "adamw": "adam_w"}
_COMPILABLE = frozenset({
    "sgd", "rmsprop", "adam", "adamw", "adadelta", "adagrad", "adamax", "nadam", "ftrl", "lion", "lamb",
})  # fmt: skip
# What Keras 3 calls one of an optimizer's counters (keras/src/optimizers/base_optimizer.py).
_COUNTERS = {"iterations": "iteration"}

# What Keras's own saving writes beside the configuration of a model, where a legacy file has the latter alone.
_MODELS = {"Functional": "keras.src.models.functional", "Sequential": "keras", "Model": "keras.src.models.functional"}


@dataclass(frozen=True, slots=True)
class KerasTree:
    """Where Keras looks for a model's variables.

    Attributes:
        paths: canonical name -> paths of the variable; the first is that in a model made from the architecture.
        config: the architecture as Keras deserialises it.
        compiled: whether the file says how the model is compiled.
        unknown: canonical names of the optimizer's variables whose paths are not known, so that Keras passes over them.
    """

    paths: Mapping[str, tuple[Path, ...]]
    config: Mapping[str, Any]
    compiled: bool
    unknown: tuple[str, ...]


def keras_tree(spec: CheckpointSpec, carried: Sequence[Variable]) -> KerasTree:
    """The tree of `carried`, which Keras 3 loads.

    Raises:
        RefusedError: the path of a weight cannot be known, or two weights have one.
    """
    config = _compiled(spec, _deserialisable(spec))
    paths = Weights(spec, config).paths([each for each in carried if each.kind == "weight"])
    optimizer = _optimizer_names(config)
    unknown = []
    for variable in carried:
        if variable.name in paths:
            continue
        owner = paths.get(variable.slot_of or "")
        first, *rest = variable.name.split("/")
        if owner is not None:
            word = variable.name.removeprefix(f"{variable.slot_of}/").replace("/", "_")
            named = [(OPTIMIZER, optimizer[-1], "_".join((*path[1:], word))) for path in owner if path[0] == TRAINED]
            paths[variable.name] = tuple(dict.fromkeys(named)) or ((OPTIMIZER, optimizer[-1], variable.name),)
        elif first == "optimizer" and rest:
            inner = rest[0] == "inner_optimizer" and len(rest) > 1
            rest = rest[1:] if inner else rest
            paths[variable.name] = (
                (OPTIMIZER, optimizer[-1 if inner else 0], _COUNTERS.get(rest[-1], "/".join(rest))),
            )
            if rest[-1].isdecimal():
                unknown.append(variable.name)
        elif first == "metrics" and rest:
            paths[variable.name] = ((METRICS, *rest),)
        else:
            paths[variable.name] = ((UNTRAINED, first, *rest),)
    return KerasTree(
        _told_apart(spec, paths), config, bool((spec.architecture or {}).get("compile_config")), tuple(unknown)
    )


def _told_apart(spec: CheckpointSpec, paths: Mapping[str, tuple[Path, ...]]) -> dict[str, tuple[Path, ...]]:
    """`paths` without those that would give a variable the value of another."""
    owners = {each[0]: name for name, each in paths.items()}
    if len(owners) < len(paths):
        name, path = next((name, each[0]) for name, each in paths.items() if owners[each[0]] != name)
        raise RefusedError(
            f"Keras gives this and {owners[path]} one path ({'/'.join(path[1:])})", path=spec.path, key=name
        )
    counts = Counter(path for each in paths.values() for path in each)
    around = {path[:end] for each in paths.values() for path in each[:1] for end in range(1, len(path))}
    return {
        name: (first, *(path for path in others if counts[path] == 1 and _stands(path, owners, around)))
        for name, (first, *others) in paths.items()
    }


def _stands(path: Path, owners: Mapping[Path, str], around: set[Path]) -> bool:
    """Whether no leaf of the tree lies above `path` or below it."""
    return path not in around and not any(path[:end] in owners for end in range(1, len(path)))


def _deserialisable(spec: CheckpointSpec) -> Mapping[str, Any]:
    """The architecture as Keras 3 makes a model of it.

    Raises:
        RefusedError: there is none, or it is not one of Keras 3.
    """
    config = spec.architecture
    if config is None:
        raise RefusedError("no architecture tells the paths of Keras's variables", path=spec.path)
    if not (spec.producer or "").startswith("Keras 3"):
        raise RefusedError("the architecture is not one of Keras 3", path=spec.path, found=spec.producer)
    word = config.get("class_name")
    if "module" in config:
        return config
    if word not in _MODELS:
        raise RefusedError("the architecture does not say where this class is from", path=spec.path, found=str(word))
    word = "Functional" if word == "Model" else word
    return {"module": _MODELS[str(word)], "registered_name": word, **config, "class_name": word}


def _optimizer_names(config: Mapping[str, Any]) -> list[str]:
    """What the optimizer is called, and the one inside of it where there is one."""
    compiled = config.get("compile_config")
    item: Any = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    names: list[str] = []
    while item is not None and len(names) < 2:
        inner = item.get("config") if isinstance(item, Mapping) else None
        word = inner.get("name") if isinstance(inner, Mapping) else item
        names.append(_OPTIMIZERS.get(word, word) if isinstance(word, str) else "optimizer")
        item = inner.get("inner_optimizer") if isinstance(inner, Mapping) else None
    return names or ["optimizer"]


def _compiled(spec: CheckpointSpec, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`config` with what Keras compiles the model by, without which it loads no tree.

    Where the file has none it is the optimizer that its variables are called after, and Keras's default where it has none.
    """
    if config.get("compile_config"):
        return config
    places = spec.layout.places if spec.layout is not None and spec.layout.kind == "legacy" else ()
    called = next((place.word.partition("/")[0] for place in places if place.group == OPTIMIZER_GROUP), "")
    word = without_auto_suffix(called).replace("_", "")
    return {**config, "compile_config": {"optimizer": word if word in _COMPILABLE else "rmsprop"}}
