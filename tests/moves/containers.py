"""How each framework saves a model and loads it again, by the framework's own calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Container:
    """A way to keep a model.

    Attributes:
        ending: of the path.
        save: writes a model to a path.
        load: makes a model that computes with what a path holds; the given one where the container has weights only.
    """

    ending: str
    save: Callable[[Any, str], Any]
    load: Callable[[Any, str], Any]


def _load_weights(model: Any, path: str) -> Any:
    model.load_weights(path)
    return model


def _write_checkpoint(model: Any, path: str) -> None:
    sys.modules["tensorflow"].train.Checkpoint(model=model).write(path)


def _read_checkpoint(model: Any, path: str) -> Any:
    tf = sys.modules["tensorflow"]
    tf.train.Checkpoint(model=model).read(path).assert_existing_objects_matched().expect_partial()
    return model


def _load_export(_: Any, path: str) -> Any:
    loaded = sys.modules["tensorflow"].saved_model.load(path)
    # Several inputs are one argument, a list.
    return lambda inputs, training=False: loaded.serve(inputs)


def _save_sharded(model: Any, path: str) -> None:
    # Small enough that every one of these models takes several files.
    model.save_weights(path, max_shard_size=2e-6)


def _load_model(framework: str) -> Callable[[Any, str], Any]:
    return lambda _, path: sys.modules[framework].models.load_model(path, compile=False)


CONTAINERS: dict[str, dict[str, Container]] = {
    "keras": {
        "weights.h5": Container(".weights.h5", lambda m, p: m.save_weights(p), _load_weights),
        "keras": Container(".keras", lambda m, p: m.save(p), _load_model("keras")),
        "h5": Container(".h5", lambda m, p: m.save(p), _load_model("keras")),
        "checkpoint": Container("", _write_checkpoint, _read_checkpoint),
        "sharded": Container(".weights.json", _save_sharded, _load_weights),
        "export": Container("", lambda m, p: m.export(p, verbose=False), _load_export),
    },
    "tf_keras": {
        "weights": Container(".h5", lambda m, p: m.save_weights(p), _load_weights),
        "weights.h5": Container(".weights.h5", lambda m, p: m.save_weights(p), _load_weights),
        "keras": Container(".keras", lambda m, p: m.save(p), _load_model("tf_keras")),
        "h5": Container(".h5", lambda m, p: m.save(p), _load_model("tf_keras")),
        "checkpoint": Container("", _write_checkpoint, _read_checkpoint),
        "saved-model": Container("", lambda m, p: m.save(p, save_format="tf"), _load_model("tf_keras")),
    },
    "sonnet": {"checkpoint": Container("", _write_checkpoint, _read_checkpoint)},
    "tf.Module": {"checkpoint": Container("", _write_checkpoint, _read_checkpoint)},
}
