"""Checkpoints of TensorFlow 1 graphs, as TensorFlow itself writes them."""

from __future__ import annotations

from typing import Any

import numpy as np


def save_graph(path: str, *, version: int = 2, axis: int | None = None, sharded: bool = False) -> dict[str, Any]:
    """A TF1 checkpoint of variables on three devices; the values by name, partitions joined."""
    import tensorflow as tf

    v1 = tf.compat.v1
    partitioner = None if axis is None else v1.fixed_size_partitioner(3, axis=axis)
    with tf.Graph().as_default(), v1.Session(config=v1.ConfigProto(device_count={"CPU": 3})) as session:
        with v1.variable_scope("net", partitioner=partitioner):
            joined = {"net/w": v1.get_variable("w", (7, 5, 4)), "net/x": v1.get_variable("x", (5, 9), tf.float64)}
        with tf.device("/cpu:1"):
            whole = {"on1": v1.get_variable("on1", (3, 4))}
        with tf.device("/cpu:2"):
            whole["on2"] = v1.get_variable("on2", initializer=np.arange(6, dtype=np.int64) - 3, trainable=False)
        whole["names"] = v1.get_variable(
            "names", initializer=np.array([[b"a", b""], [b"c" * 300, b"\xff\x00"]], object)
        )
        session.run(v1.global_variables_initializer())
        v1.train.Saver(write_version=version, sharded=sharded).save(session, path)
        values = {name: session.run(tf.convert_to_tensor(variable)) for name, variable in joined.items()}
        values |= {name: session.run(variable) for name, variable in whole.items()}
    return values
