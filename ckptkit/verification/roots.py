"""Under which names a `tf.train.Checkpoint` may have held a model, from the file's own object graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

# Nodes that a `Checkpoint` and a Keras model add for themselves.
_OWN = {"save_counter", "optimizer", "_CHECKPOINTABLE_OBJECT_GRAPH", "signatures", "keras_api", "step", "global_step"}
_USUAL = ("model", "module", "net", "network")


def roots(model: Any, prefix: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(in words, makes a `tf.train.Checkpoint` around `model`), likely ones first.

    Args:
        model: a trackable object.
        prefix: of the checkpoint.
    """
    import tensorflow as tf

    children = _children(prefix)
    own = set(_tracked(model))
    held = [name for name in children if name not in _OWN]
    # What a model keeps for itself, such as `layer-0` and `_self`, nobody calls a model by.
    likely = sorted((n for n in held if n.isidentifier() and n[0] != "_"), key=lambda n: (n in own, n not in _USUAL))
    direct = (("model as root", lambda: tf.train.Checkpoint(model)),)
    named = tuple((f"{name}=model", lambda name=name: tf.train.Checkpoint(**{name: model})) for name in likely)
    yield from (*direct, *named) if own & set(held) else (*named, *direct)


def _tracked(model: Any) -> list[str]:
    from tensorflow.python.trackable.base import Trackable

    if not isinstance(model, Trackable):
        return []
    return list(model._trackable_children())


def _children(prefix: str) -> list[str]:
    """Names of what hangs at the root of a checkpoint's object graph; none in one without."""
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        reader = tf.train.load_checkpoint(prefix)
        if not reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"):
            return []
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    except Exception:  # noqa: BLE001  # a file that TensorFlow cannot read fails again when it is loaded, with its reason
        return []
    return [child.local_name for child in graph.nodes[0].children]
