"""A traced function with its half-precision arithmetic done in float32.

In float16 or bfloat16 rounding is as large as an error of one per cent in a kernel, so that no tolerance on such outputs
tells the two apart. Where both models compute in the same narrow type, both are rewritten to compute in float32 from the
very same stored weights: what then differs is not rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptkit.references import describe

_SMALLEST_JITTERED = 2  # scalars are settings (an epsilon, an axis), not weights


class CannotWiden(Exception):  # noqa: N818  # a result that its only caller turns into a note
    """The graph has ops that exist in half precision only, or that cannot be frozen."""


def widen(function: Any, half: str, *, jitter: int | None = None) -> Callable[..., list[Any]]:
    """`function`, with float32 wherever it has `half`.

    Args:
        function: a `tf.types.experimental.ConcreteFunction`; its variables are frozen at their present values.
        half: `float16` or `bfloat16`.
        jitter: seed by which constants are moved one unit in the last place of float32; None for none.

    Returns:
        A callable on the function's flat inputs, those of `half` widened, that gives the flat list of its outputs.

    Raises:
        CannotWiden: the graph cannot be frozen, or not be computed in float32.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from ckptkit.verification.emulate import rename_functions

    try:
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
        graph = frozen.graph.as_graph_def()
        nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
        for node in nodes:
            _widen_attributes(node, half)
        if jitter is not None:
            _jitter(nodes, jitter)
        for body in graph.library.function:
            for argument in (*body.signature.input_arg, *body.signature.output_arg):
                if argument.type == tf.as_dtype(half).as_datatype_enum:
                    argument.type = tf.float32.as_datatype_enum
        rename_functions(graph, f"ckptkit_float32_{jitter}")
        inputs = [tensor.name for tensor in frozen.inputs]
        outputs = [tensor.name for tensor in frozen.outputs]

        def imported() -> None:
            tf.import_graph_def(graph, name="")

        wrapped = tf.compat.v1.wrap_function(imported, [])
        element = wrapped.graph.as_graph_element
        pruned = wrapped.prune([element(name) for name in inputs], [element(name) for name in outputs])
    except Exception as error:  # unknown types of ops: ValueError, TypeError, OpError …
        raise CannotWiden(describe(error)) from error

    def call(*values: Any) -> list[Any]:
        try:
            result = pruned(*(tf.cast(v, tf.float32) if v.dtype == tf.as_dtype(half) else v for v in values))
        except Exception as error:  # kernels are looked up when they run
            raise CannotWiden(describe(error)) from error
        return list(result) if isinstance(result, list | tuple) else [result]

    return call


def _widen_attributes(node: Any, half: str) -> None:
    import tensorflow as tf

    narrow, wide = tf.as_dtype(half).as_datatype_enum, tf.float32.as_datatype_enum
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type" and value.type == narrow:
            value.type = wide
        elif kind == "list":
            for position, entry in enumerate(value.list.type):
                if entry == narrow:
                    value.list.type[position] = wide
        elif kind == "tensor" and value.tensor.dtype == narrow:
            value.tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(value.tensor).astype("float32")))


def _jitter(nodes: Any, seed: int) -> None:
    import numpy as np
    import tensorflow as tf

    from ckptkit.verification.numbers import jittered

    generator = np.random.default_rng(seed)
    for node in nodes:
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if values.size >= _SMALLEST_JITTERED and np.isfinite(values).all():
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(jittered([values], generator)[0]))
